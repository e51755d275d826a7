"""Rows of queue entries → what is counted of them.

Owns what is counted, in which pieces, and the classes of delays. Pure: rows in, sums out; who takes
away and who adds is `counting`'s business.

- An attempt counts when it was made; an outcome when it came into its state, with the provider of
  its last attempt; a queue entry when it arrived.
- An attempt that hands the message on to a queue entry known here is none, nor is such an outcome.
- Delays are those of accepted attempts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add, itemgetter
from typing import Any, Final, TypeAlias, TypeVar

from pda.maillog.events import State, address_key
from pda.maillog.providers import NONE
from pda.store.batch import Progress, Reached
from pda.store.database import Row, Value
from pda.store.delays import seconds, text_of

HOUR: Final = 3_600_000_000
DAY: Final = 24 * HOUR
"""µs."""

BY_HOUR_AND_CLIENT, BY_HOUR_AND_PROVIDER, BY_DAY, GONE = range(4)
"""The pieces: of each hour by client alone, of each hour by provider alone, of each day by client,
host and provider; and, by client, what is counted still of rows that were removed for their age."""

STATES: Final = tuple(state.name.lower() for state in State)
STATUSES: Final = ("sent", "deferred", "bounced")
OF_DOMAIN: Final = ("attempts", *STATUSES, *STATES)
"""What is counted of each domain; a state counts recipients, the last one those that are none."""
COUNTED: Final = (
    "entries", "messages", "with_message_id", "with_msg_id", "hand_offs", *OF_DOMAIN
)  # fmt: skip
"""And of all; `messages` are entries that do not go on with another one's message, `hand_offs` the
attempts that are none."""
FAILED: Final = (*STATUSES[1:], *STATES)
"""And of each verdict."""

CLASSES_PER_OCTAVE: Final = 4
SHORTEST: Final = 0.001
"""Seconds; what took less took no time."""
PARTS: Final = 5
"""Of a delay: the total and the four `delays`."""
CLASSES: Final = 256
"""Of one part."""

K = TypeVar("K")
V = TypeVar("V")
Cell: TypeAlias = tuple[int, int, int, str]
"""Hour or day, client, host, provider."""
Key: TypeAlias = tuple[int, int, int, int, str]
"""Piece, and a cell of it; empty or 0 for all."""
Entry: TypeAlias = tuple[int, int, int, int, str | None, str | None, str | None]
"""Number, host, client, born, Message-ID, msgId, origin."""
Try: TypeAlias = tuple[int, int, int, int, int, str, int, float, Value]
"""An attempt: entry, digest, copy, at, manner, recipient, relay, delay and delays as in a row."""
Result: TypeAlias = tuple[int, str, int, int, int | None]
"""An outcome: entry, recipient, state, at, verdict."""
Place: TypeAlias = tuple[int, int]
"""Client and host."""
Manner: TypeAlias = tuple[int, int]
"""Column of the status, 0 where it has none, and verdict or 0."""

_MORE: Final = len(COUNTED) - len(OF_DOMAIN)
_HAND_OFFS: Final = _MORE - 1
_STATE, _FAILED_STATE = OF_DOMAIN.index(STATES[0]), FAILED.index(STATES[0])
COLUMN_OF: Final = {name: OF_DOMAIN.index(name) for name in STATUSES}
"""Where a status is counted."""
_SENT: Final = COLUMN_OF["sent"]
_HANDED_ON: Final = int(State.HANDED_ON)
try_of: Callable[[Row], Any] = itemgetter(0, 1, 2, 3, 5, 6, 8, 10, 11)
"""The `Try` of a row of the table."""
_UNTRIED: Final = (0, 0, 0, NONE)


def class_of(delay: str | float) -> int:
    """The class of a delay."""
    try:
        value = float(delay)
    except ValueError:
        return 0
    if not SHORTEST < value < 1e12:
        return 0
    return 1 + int(CLASSES_PER_OCTAVE * math.log2(value / SHORTEST))


def seconds_of(number: int) -> float:
    """The middle of a class."""
    return SHORTEST * 2.0 ** ((number - 0.5) / CLASSES_PER_OCTAVE) if number else 0.0


class Remembered(dict[K, V]):
    """Answers to what was asked, as a mapping; all are forgotten when there are too many."""

    def __init__(self, answer: Callable[[K], V], most: int = 50_000) -> None:
        super().__init__()
        self._answer = answer
        self._most = most

    def __missing__(self, question: K) -> V:
        if len(self) >= self._most:
            self.clear()
        answer = self[question] = self._answer(question)
        return answer


class Tally:
    """What rows count together."""

    def __init__(self, manners: Mapping[int, Manner], providers: Mapping[int, str]) -> None:
        """Manners and providers by the numbers of manners and relays that stand in the rows."""
        self._manners = manners
        self._providers = providers
        self.by_hour: defaultdict[Cell, list[int]] = defaultdict(_ZEROS[COUNTED].copy)
        self.by_domain: defaultdict[tuple[int, int, str], list[int]] = defaultdict(
            _ZEROS[OF_DOMAIN].copy
        )
        """By client, day and domain."""
        self.failed: defaultdict[tuple[Cell, int], list[int]] = defaultdict(_ZEROS[FAILED].copy)
        """By day and verdict."""
        self.delays: dict[int, defaultdict[Cell, list[int]]] = {
            sign: defaultdict(list) for sign in (+1, -1)
        }
        """By sign and hour: the classes that delays fell into."""

    def add(
        self,
        sign: int,
        entries: Iterable[Entry],
        attempts: Iterable[Try],
        outcomes: Sequence[Result],
    ) -> None:
        """Adds these rows, or takes them away; all rows of these entries are needed."""
        places: dict[int, Place] = {}
        for number, host, client, born, message_id, msg_id, origin in entries:
            places[number] = client, host
            cell = self.by_hour[born // HOUR, client, host, ""]
            cell[0] += sign
            cell[1] += sign * (not origin)
            cell[2] += sign * bool(message_id)
            cell[3] += sign * bool(msg_id)
        handed_on = {(row[0], row[1]) for row in outcomes if row[2] == _HANDED_ON}
        last = self._attempts(sign, places, attempts, handed_on)
        for number, recipient, state, at, verdict in outcomes:
            provider = last.get((number, recipient), _UNTRIED)[3]
            self._outcome(sign, places[number], (recipient, state, at, verdict or 0, provider))

    def advance(self, progress: Iterable[Progress]) -> None:
        """Adds what a known entry has come to."""
        for one in progress:
            place = one.client_id, one.host_id
            for row in one.attempts:
                self._attempt(+1, place, try_of(row))
            for reached in one.before:
                self._outcome(-1, place, reached)
            for reached in one.after:
                self._outcome(+1, place, reached)

    def _attempts(
        self,
        sign: int,
        places: Mapping[int, Place],
        attempts: Iterable[Try],
        handed_on: set[tuple[int, str]],
    ) -> dict[tuple[int, str], tuple[int, int, int, str]]:
        """The last attempt at each recipient, with its provider."""
        last: dict[tuple[int, str], tuple[int, int, int, str]] = {}
        for one in attempts:
            number, digest, copy, at, manner, recipient, relay, *_ = one
            whom = number, address_key(recipient)
            this = at, digest, copy, self._providers[relay]
            if whom not in last or this > last[whom]:
                last[whom] = this
            if whom in handed_on and self._manners[manner][0] == _SENT:
                self.by_hour[at // HOUR, *places[number], this[3]][_HAND_OFFS] += sign
            else:
                self._attempt(sign, places[number], one)
        return last

    def _attempt(self, sign: int, place: Place, one: Try) -> None:
        _, _, _, at, manner, recipient, relay, delay, delays = one
        (client, host), hour, provider = place, at // HOUR, self._providers[relay]
        column, verdict = self._manners[manner]
        cell, domain = (hour, client, host, provider), address_key(recipient).rpartition("@")[2]
        sums, of_domain = self.by_hour[cell], self.by_domain[client, hour // 24, domain]
        sums[_MORE] += sign
        of_domain[0] += sign
        if not column:
            return
        sums[_MORE + column] += sign
        of_domain[column] += sign
        if column == _SENT:
            self.delays[sign][cell] += _classes_of(delay, delays)
        elif verdict:
            self.failed[(hour // 24, client, host, provider), verdict][column - 2] += sign

    def _outcome(self, sign: int, place: Place, reached: Reached) -> None:
        recipient, state, at, verdict, provider = reached
        (client, host), hour = place, at // HOUR
        self.by_hour[hour, client, host, provider][_MORE + _STATE + state] += sign
        domain = recipient.rpartition("@")[2]
        self.by_domain[client, hour // 24, domain][_STATE + state] += sign
        if verdict:
            day = hour // 24, client, host, provider
            self.failed[day, verdict][_FAILED_STATE + state] += sign

    def counted(self) -> dict[Key, list[int]]:
        """The sums of every piece."""
        found: defaultdict[Key, list[int]] = defaultdict(_ZEROS[COUNTED].copy)
        for (hour, client, host, provider), sums in self.by_hour.items():
            for key in (
                (BY_HOUR_AND_CLIENT, hour, client, 0, ""),
                (BY_HOUR_AND_PROVIDER, hour, 0, 0, provider),
                (BY_DAY, hour // 24, client, host, provider),
            ):
                found[key] = [*map(add, found[key], sums)]
        return found

    def counted_domains(self) -> dict[tuple[int, int, str], list[int]]:
        """The sums of each client, and of all of them under 0."""
        found = defaultdict(_ZEROS[OF_DOMAIN].copy, self.by_domain)
        for (_, day, domain), sums in self.by_domain.items():
            found[0, day, domain] = [*map(add, found[0, day, domain], sums)]
        return found

    def gone(self) -> dict[Key, list[int]]:
        """The sums of each client, of all the time."""
        found: defaultdict[Key, list[int]] = defaultdict(_ZEROS[COUNTED].copy)
        for (_, client, _, _), sums in self.by_hour.items():
            key = GONE, 0, client, 0, ""
            found[key] = [*map(add, found[key], sums)]
        return found

    def counted_delays(self) -> dict[Key, dict[int, int]]:
        """The delays of the pieces that have any."""
        found: defaultdict[Key, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        for sign, by_cell in self.delays.items():
            for (hour, client, host, provider), classes in by_cell.items():
                by_client = found[BY_HOUR_AND_CLIENT, hour, client, 0, ""]
                by_day = found[BY_DAY, hour // 24, client, host, provider]
                for number, count in Counter(classes).items():
                    by_client[number] += sign * count
                    by_day[number] += sign * count
        return {**found}


_ZEROS: Final = {names: [0] * len(names) for names in (COUNTED, OF_DOMAIN, FAILED)}


# Postfix tells two digits, so there are not many.
_CLASSES: Final[Remembered[str | float, int]] = Remembered(class_of)


def _classes_of(delay: float, delays: Value) -> tuple[int, ...]:
    """The classes of the total and of each part, by their place; out of a row."""
    classes, total = _CLASSES, seconds(delay)
    if not delays:
        return (classes[total],)
    a, b, c, d = (*text_of(delays).split("/"), "", "", "")[:4]
    return (
        classes[total],
        CLASSES + classes[a],
        2 * CLASSES + classes[b],
        3 * CLASSES + classes[c],
        4 * CLASSES + classes[d],
    )
