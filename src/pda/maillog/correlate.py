"""Lines of one queue id on one host → what is known of its message.

Owns the identity of facts and attempts, the lives of a queue id, and a bounded memory of entries.
What is known is a function of the *set* of what was said: adding is commutative and idempotent.
Knows no store: it names the entries it does not remember, is handed them, and returns changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

import msgspec

from pda.maillog.clients import ClientRules, at_the_door
from pda.maillog.events import (
    SUBSECOND,
    Attempt,
    AttemptKey,
    Change,
    EntryKey,
    Event,
    Fact,
    Facts,
    Life,
    Outcome,
    QueueActive,
    State,
    Summary,
    Told,
    Wanted,
    Whole,
    address_key,
    is_reusable,
)
from pda.maillog.links import Links, Touched
from pda.maillog.lives import Start, life_of, life_starts, settle_zones
from pda.maillog.memory import Memory
from pda.maillog.outcome import (
    all_outcomes,
    arrived,
    fate,
    outcomes,
    summarise,
)
from pda.maillog.rejudge import Classify, rejudge_life

# Zones differ by multiples of a quarter of an hour, here in ms.
_QUARTER = 900_000
_MOST_FACTS = 500

_Outcomes: TypeAlias = list[tuple[str, Outcome]]


class Correlator:
    """Remembers up to `limit` queue entries, the last used ones.

    For each batch of events: `missing`, `add`, `wanted`, `beyond`, `join`, in this order.
    """

    def __init__(self, clients: ClientRules, limit: int = 100_000) -> None:
        self._clients = clients
        self._classify: Classify | None = None
        self._entries = Memory(limit, self.revived)
        self._touched: list[Touched] = []
        self._links = Links(self._entries)
        self.new_lines = 0
        """Lines that said what was not known before."""

    def __len__(self) -> int:
        return len(self._entries)

    def asked_of(self, wholes: Sequence[Whole]) -> Wanted:
        """What the store has to say before it is known whether these are new and by themselves."""
        return self._links.asked_of(wholes)

    def known(self, wholes: Sequence[Whole], stored: Wanted) -> set[int]:
        """Those, by their place, of which it is known, given what is `stored` of what was asked.

        Of these, or of another entry with the same message, something is remembered or stored.
        """
        return self._links.known(wholes, stored)

    def remember(self, wholes: Mapping[int, Whole]) -> None:
        """New ones, by the numbers of their rows."""
        for number, one in wholes.items():
            self._entries.rest(number, one)
            self.new_lines += one.lines
        self._links.note(wholes.values())

    def missing(self, told: Iterable[Told]) -> set[EntryKey]:
        """The entries that this is about and that are not remembered."""
        self._entries.settle()
        keys = {(one.host, one.queue_id) for one in told}
        # Not a difference of sets, which would walk over all that is remembered.
        return {key for key in keys if key not in self._entries}

    def add(self, told: Iterable[Told], stored: Mapping[EntryKey, list[Life]]) -> list[Change]:
        """What this changes, given what is stored of the `missing` entries."""
        changes: list[Change] = []
        self._touched = []
        for one in told:
            key = one.host, one.queue_id
            lives = self._entries.take(key)
            if lives is None:
                lives = self.revived(stored[key]) if key in stored else []
                self._links.expect(lives)
            known = _size(lives)
            lives, changed = self._absorb(one, lives)
            self._entries.put(key, lives)
            self.new_lines += _size(lives) - known
            changes += changed
        return changes

    def wanted(self) -> Wanted:
        """Entries that may be the same message as one just changed, and are not remembered."""
        return self._links.wanted(self._touched)

    def beyond(self, stored: Mapping[EntryKey, list[Life]]) -> set[EntryKey]:
        """What has to be loaded with these: it goes on with their messages."""
        return self._links.beyond([life for lives in stored.values() for life in lives])

    def join(self, stored: Mapping[EntryKey, list[Life]]) -> list[Change]:
        """What it changes that entries are one message, given what is stored of `wanted`."""
        for key, lives in stored.items():
            if key not in self._entries:
                self._entries.put(key, self.revived(lives))
            self._links.expect(self._entries.get(key))
        affected = self._links.find(self._touched)
        affected += self._links.inherit([touched.life for touched in self._touched])
        changes = []
        while affected:
            changed = [self._change(life, facts=True, attempts=[], gone=[]) for life in affected]
            changes += changed
            affected = self._links.inherit([change.life for change in changed])
        self._touched = []
        return changes

    def client_at_the_door(self, client_ip: str, sasl_username: str) -> str:
        """Whose mail was refused there, as far as that is certain."""
        return at_the_door(client_ip, sasl_username, self._clients)

    def judge_by(self, classify: Classify) -> None:
        """Other rules: what is remembered has their verdicts now; the store is not told."""
        self._classify = classify
        for life in self._entries.awake():
            if life.summary is not None and rejudge_life(life, classify):
                _all_outcomes(life, life.summary)

    def forget(self, keys: Iterable[EntryKey]) -> None:
        """Forgets these entries: they are not stored any more."""
        for key in keys:
            self._entries.drop(key)

    def forget_all(self) -> None:
        """Forgets every entry: what is in the store counts."""
        self._entries.clear()
        self._links.forget_all()

    def revived(self, lives: list[Life]) -> list[Life]:
        """A stored life comes with facts and attempts; what follows from them is derived.

        Its verdicts are those of `judge_by`, even where older ones are stored still.
        """
        for life in lives:
            if self._classify is not None:
                rejudge_life(life, self._classify)
            life.summary = summarise(life, self._clients)
            _all_outcomes(life, life.summary)
        return lives

    def _absorb(self, told: Told, lives: list[Life]) -> tuple[list[Life], list[Change]]:
        if is_reusable(told.queue_id):
            return self._regroup((told.host, told.queue_id), lives, told.said)
        if lives:
            return lives, self._take(lives[0], told.said, gone=[])
        return self._begin(told)

    def _begin(self, told: Told) -> tuple[list[Life], list[Change]]:
        """The first that is said of a queue entry."""
        life = begun(told, self._clients)
        attempts = list(life.attempts.values())
        self._touched.append(Touched(life, attempts, None))
        change = Change(
            life=life,
            summary=True,
            attempts=attempts,
            gone=[],
            outcomes=list(life.outcomes.items()),
            gone_outcomes=[],
            added=len(attempts),
            recipients=list(life.outcomes),
            named=True,
        )
        return [life], [change]

    def _take(
        self, life: Life, new: list[Fact | Attempt], gone: list[Attempt], *, lost: bool = False
    ) -> list[Change]:
        """Adds to one life, which may have `lost` facts to another; at most one change."""
        facts, attempts = lost, {}
        had = len(life.attempts) + len(gone)
        for said in new:
            if isinstance(said, Fact):
                facts |= add_fact(life, said)
            elif (attempt := add_attempt(life, said)) is not None:
                attempts[attempt.digest, attempt.copy] = attempt
        if not (facts or attempts or gone):
            return []
        added = len(life.attempts) - had
        change = self._change(life, facts, list(attempts.values()), gone, added)
        self._touched.append(Touched(life, change.attempts, change.before))
        return [change]

    def _change(
        self, life: Life, facts: bool, attempts: list[Attempt], gone: list[Attempt], added: int = 0
    ) -> Change:
        before, known = life.summary, life.outcomes
        if facts or before is None or gone or any(arrived(a) < before.born for a in attempts):
            life.summary = summarise(life, self._clients)
        now = life.summary
        assert now is not None
        fated = now is not before and (before is None or fate(now) != fate(before))
        if facts or fated or gone or _is_untried(known):
            changed, lost = _all_outcomes(life, now)
        else:
            changed, lost = _touched_outcomes(life, attempts, now), []
        client_id = before.client_id if before else now.client_id
        if client_id != now.client_id:
            changed = list(life.outcomes.items())  # to whom they are all news
        return Change(
            life=life,
            summary=facts or now != before,
            attempts=attempts,
            gone=[(attempt.digest, attempt.copy) for attempt in gone],
            outcomes=changed,
            gone_outcomes=lost,
            added=added,
            recipients=[recipient for recipient, _ in changed if recipient not in known],
            named=before is None
            or (before.message_id, before.msg_id) != (now.message_id, now.msg_id),
            withdrawn=_withdrawn(known, life.outcomes, moved=client_id != now.client_id),
            before=before,
            known=known,
        )

    def _regroup(
        self, key: EntryKey, lives: list[Life], new: list[Fact | Attempt]
    ) -> tuple[list[Life], list[Change]]:
        """A short id is used again: tells its lives apart by what all its lines say of time."""
        old = [(said, life) for life in lives for said in _members(life)]
        everything = [said for said, _ in old] + new
        settled = settle_zones(everything)
        starts = life_starts(settled)
        if len(starts) == 1 and len(lives) <= 1 and settled is everything:
            if not lives:
                return self._begin(_told(key, new))
            return lives, self._take(lives[0], new, gone=[])
        homes = _homes(old, starts, lives)
        result = [
            homes.get(n) or Life(*key, facts=Facts(key[1]), attempts={}) for n in range(len(starts))
        ]
        coming: list[list[Fact | Attempt]] = [[] for _ in starts]
        leaving: dict[int, list[Attempt]] = {}
        losing: set[int] = set()
        for (before, life), said in zip(old, settled, strict=False):
            n = life_of(said, starts)
            if result[n] is not life or said is not before:
                _remove(life, before)
                coming[n].append(said)
                if isinstance(before, Attempt):
                    leaving.setdefault(id(life), []).append(before)
                else:
                    losing.add(id(life))
        for said in settled[len(old) :]:
            coming[life_of(said, starts)].append(said)
        changes = [
            change
            for life, said_here in zip(result, coming, strict=True)
            for change in self._take(
                life, said_here, leaving.get(id(life), []), lost=id(life) in losing
            )
        ]
        kept = {id(life) for life in result}
        changes += [
            _vacated(life, -len(leaving.get(id(life), [])))
            for life in lives
            if id(life) not in kept
        ]
        return result, changes


def _size(lives: Iterable[Life]) -> int:
    """How many different lines these lives are made of."""
    return sum(len(life.facts) + len(life.attempts) for life in lives)


def _vacated(life: Life, added: int) -> Change:
    """A life that turned out to be part of another one: all it had is there now."""
    return Change(
        life,
        summary=False,
        attempts=[],
        gone=[],
        outcomes=[],
        gone_outcomes=list(life.outcomes),
        vacated=True,
        added=added,
        withdrawn=_withdrawn(life.outcomes, {}, moved=False),
        before=life.summary,
        known=life.outcomes,
    )


def _withdrawn(
    before: Mapping[str, Outcome], now: Mapping[str, Outcome], *, moved: bool
) -> _Outcomes:
    """Earlier outcomes that are none any more: gone, handed on, or open again.

    All of them where the entry `moved` to another client.
    """
    return [
        (recipient, outcome)
        for recipient, outcome in before.items()
        if outcome.state is not State.HANDED_ON
        and (moved or _is_withdrawn(outcome, now.get(recipient)))
    ]


def _is_withdrawn(before: Outcome, now: Outcome | None) -> bool:
    if now is None or now.state is State.HANDED_ON:
        return True
    return before.state.is_final and not now.state.is_final


def gather(events: Iterable[Event]) -> list[Told]:
    """What these events say, by queue entry."""
    found: dict[EntryKey, Told] = {}
    for event in events:
        key = event.host, event.queue_id
        told = found.get(key)
        if told is None:
            told = found[key] = Told(event.host, event.queue_id, [], [])
        said = event.said
        if isinstance(said, Fact):
            told.facts.append(said)
        else:
            told.attempts.append(said)
    return list(found.values())


def begun(told: Told, clients: ClientRules) -> Life:
    """What this by itself says of a queue entry."""
    life = Life(told.host, told.queue_id, Facts(told.queue_id), attempts={})
    if len({type(fact.record) for fact in told.facts}) == len(told.facts):
        life.facts = Facts(told.queue_id, values=told.facts)  # no two can be the same
    else:
        for fact in told.facts:
            add_fact(life, fact)
    for attempt in told.attempts:
        add_attempt(life, attempt)
    life.summary = summarise(life, clients)
    life.outcomes = all_outcomes(life, life.summary)
    return life


def _told(key: EntryKey, said: Iterable[Fact | Attempt]) -> Told:
    return gather(Event(*key, one) for one in said)[0]


def add_fact(life: Life, fact: Fact) -> bool:
    """Adds a fact to a life; whether that changed what is known."""
    facts = life.facts
    known = facts.like(fact)
    if known is not None and not _finer(fact, known):
        return False
    if known is None and len(facts) >= _MOST_FACTS and isinstance(fact.record, QueueActive):
        return False
    facts.add(fact)
    return True


def add_attempt(life: Life, attempt: Attempt) -> Attempt | None:
    """Adds an attempt under the copy that it is; None if nothing new was learned."""
    attempts = life.attempts
    key = _copy(attempts, attempt)
    known = attempts.get(key)
    if known is not None and not _finer(attempt, known):
        return None
    if key[1] != attempt.copy:
        attempt = msgspec.structs.replace(attempt, copy=key[1])
    attempts[key] = attempt
    return attempt


def _copy(known: Mapping[AttemptKey, Attempt], attempt: Attempt) -> AttemptKey:
    """Which of the equal texts of one entry this one is.

    Stamps of whole seconds only count them; with fractions, an equal stamp is a line sent again
    and another stamp another copy, unless only whole seconds are known of a copy so far.
    """
    digest, copy = attempt.digest, 0
    if not attempt.grade & SUBSECOND:
        return digest, attempt.copy
    unrefined: AttemptKey | None = None
    while (other := known.get((digest, copy))) is not None:
        if not other.grade & SUBSECOND:
            unrefined = unrefined or (digest, copy)
        elif (other.at // 1000 - attempt.at // 1000) % _QUARTER == 0:
            return digest, copy
        copy += 1
    return unrefined or (digest, copy)


def _finer(new: Fact | Attempt, known: Fact | Attempt) -> bool:
    return (new.grade, -new.at) > (known.grade, -known.at)


def _members(life: Life) -> list[Fact | Attempt]:
    return [*life.facts.values(), *life.attempts.values()]


def _homes(
    old: list[tuple[Fact | Attempt, Life]], starts: list[Start], lives: list[Life]
) -> dict[int, Life]:
    """Which known life each life goes on as: the one most of whose lines it has."""
    votes: dict[tuple[int, int], int] = {}
    where = {id(life): n for n, life in enumerate(lives)}
    for said, life in old:
        pair = life_of(said, starts), where[id(life)]
        votes[pair] = votes.get(pair, 0) + 1
    homes: dict[int, Life] = {}
    for n, known in sorted(votes, key=lambda pair: (-votes[pair], pair)):
        if n not in homes and lives[known] not in homes.values():
            homes[n] = lives[known]
    return homes


def _remove(life: Life, said: Fact | Attempt) -> None:
    if isinstance(said, Fact):
        life.facts.remove(said)
    else:
        life.attempts.pop((said.digest, said.copy), None)


def _all_outcomes(life: Life, summary: Summary) -> tuple[_Outcomes, list[str]]:
    """Outcomes that are others than before, and those of recipients that are gone."""
    now, before = all_outcomes(life, summary), life.outcomes
    life.outcomes = now
    if not before:
        return list(now.items()), []
    gone = list(before.keys() - now.keys())
    return [item for item in now.items() if before.get(item[0]) != item[1]], gone


def _is_untried(known: Mapping[str, Outcome]) -> bool:
    """Whether these are outcomes of recipients that give way to those of attempts."""
    return any(not outcome.attempts for outcome in islice(known.values(), 1))


def _touched_outcomes(life: Life, new: list[Attempt], summary: Summary) -> _Outcomes:
    """New outcomes of the recipients of these attempts."""
    touched = {address_key(attempt.delivery.recipient) for attempt in new}
    attempts: Collection[Attempt] = life.attempts.values()
    if len(life.outcomes.keys() | touched) > 1:
        attempts = [a for a in attempts if address_key(a.delivery.recipient) in touched]
    now = outcomes(attempts, summary)
    changed = [item for item in now.items() if life.outcomes.get(item[0]) != item[1]]
    life.outcomes = life.outcomes | now
    return changed
