"""Finds the entries that are one message, among those remembered and those in the store.

Owns what is expected to come: which entries were named by whom. Bounded as the memory is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pda.maillog import chain
from pda.maillog.events import Attempt, EntryKey, Life, Summary, Wanted, Whole
from pda.maillog.memory import Memory

_NONE = frozenset(["", "<>"])
"""What has no Message-ID has that in common with too many to look at them all."""
_MOST_HOSTS = 50
_MOST_NAMED = 10_000
"""Queue ids that are waited for: where one comes later, the store is asked for its message."""
_MOST_NAMING = 100
"""One of them: a server that gives all mail one queue id names none of ours."""


class Touched:
    """A life that was just changed."""

    __slots__ = ("life", "names", "summary", "tied")

    def __init__(self, life: Life, attempts: Iterable[Attempt], before: Summary | None) -> None:
        assert life.summary is not None
        self.life = life
        self.summary = life.summary
        self.tied = before is None or _ties(before) != _ties(life.summary)
        """Whether what links it with others, besides replies, has just become known."""
        self.names = chain.named_by(life.attempts.values() if self.tied else attempts)
        """Queue ids that replies give the message, and whether surely one of our own hosts'."""


def _ties(summary: Summary) -> tuple[object, ...]:
    return summary.message_id, summary.shares_message, summary.origins


class Links:
    """Links between the entries that are remembered."""

    def __init__(self, entries: Memory) -> None:
        self._entries = entries
        self._expected: dict[str, tuple[EntryKey, ...]] = {}
        """Who has named a queue id as that by which its message goes on."""
        self._claimed: dict[str, tuple[EntryKey, ...]] = {}
        """Who has named a queue id as that whose message it continues."""
        self._hosts: dict[str, None] = {}

    def wanted(self, touched: Sequence[Touched]) -> Wanted:
        """What the store may know of the messages of these lives."""
        keys: set[EntryKey] = set()
        names, message_ids = set(), set()
        for one in touched:
            life, summary = one.life, one.summary
            keys |= self._claimants(one) | self._stored(one)
            names |= {queue_id for queue_id, internal in one.names if internal}
            self._note_names(life, one.names)
            if one.tied:
                names |= {queue_id for queue_id, _ in summary.origins}
                if summary.shares_message and life.queue_id not in self._expected:
                    message_ids.add(summary.message_id)
        self._bound()
        lives = [one.life for one in touched]
        keys |= self.beyond(lives + [life for key in keys for life in self._entries.get(key)])
        return Wanted(
            {key for key in keys if key not in self._entries},
            {name for name in names if not any(self._anywhere(name))},
            message_ids - _NONE,
        )

    def beyond(self, lives: Iterable[Life]) -> set[EntryKey]:
        """The entries that go on with their messages, next or later, and are not remembered."""
        found: set[EntryKey] = set()
        rest = list(lives)
        while rest:
            for key, _ in chain.children(rest.pop()):
                if key not in found:
                    found.add(key)
                    rest += self._entries.get(key)
        return {key for key in found if key not in self._entries}

    def asked_of(self, wholes: Sequence[Whole]) -> Wanted:
        """What the store may know of these entries, or of others with their messages."""
        keys = {one.key for one in wholes}
        names = {name for one in wholes for name, internal in one.names if internal}
        message_ids = {one.message_id for one in wholes if one.queue_id not in self._expected}
        return Wanted(
            {key for key in keys if not self._entries.knows(key)}, names, message_ids - _NONE
        )

    def known(self, wholes: Sequence[Whole], stored: Wanted) -> set[int]:
        """Which of these, by their place, are not new or may be linked with something.

        `stored` is what there is of what they were `asked_of`.
        """
        here = {one.queue_id for one in wholes} | {queue_id for _, queue_id in stored.keys}
        hosts = {*self._hosts, *[one.host for one in wholes]}

        def is_linked(one: Whole) -> bool:
            queue_id = one.queue_id
            if queue_id in self._expected or queue_id in self._claimed:
                return True
            for name, _ in one.names:
                if name in here or any(self._entries.knows((host, name)) for host in hosts):
                    return True
            return one.message_id in stored.message_ids

        def is_known(one: Whole) -> bool:
            return self._entries.knows(one.key) or one.key in stored.keys

        return {n for n, one in enumerate(wholes) if is_known(one) or is_linked(one)}

    def note(self, wholes: Iterable[Whole]) -> None:
        """Notes which entries these new ones name."""
        for one in wholes:
            self._hosts.setdefault(one.host)
            for queue_id, _ in one.names:
                _note(self._expected, queue_id, one.key)
        self._bound()

    def expect(self, lives: Iterable[Life]) -> None:
        """Notes which entries these, that are stored, name."""
        for life in lives:
            self._note_names(life, chain.named_by(life.attempts.values()))

    def _note_names(self, life: Life, names: Iterable[tuple[str, bool]]) -> None:
        key = life.host, life.queue_id
        self._hosts.setdefault(life.host)
        for queue_id, _ in names:
            _note(self._expected, queue_id, key)
        for queue_id, _ in life.summary.origins if life.summary else ():
            _note(self._claimed, queue_id, key)

    def _claimants(self, one: Touched) -> set[EntryKey]:
        """The entries that have named it, be they remembered or long forgotten."""
        queue_id = one.life.queue_id
        return {*self._expected.get(queue_id, ()), *self._claimed.get(queue_id, ())}

    def _stored(self, one: Touched) -> set[EntryKey]:
        """Of the entries that it names, those known to be stored."""
        names = [name for name, _ in (*one.names, *one.summary.origins)]
        keys = {(host, name) for name in names for host in self._hosts}
        return {key for key in keys if self._entries.knows(key)}

    def find(self, touched: Sequence[Touched]) -> list[Life]:
        """Links these lives with others; all lives of which that says something new."""
        affected: dict[int, Life] = {}
        for one in touched:
            if not self._may_be_linked(one):
                continue
            for parent, child, requeued in [*self._as_parent(one), *self._as_child(one)]:
                news = chain.link(parent, child, requeued=requeued)
                for life, is_new in zip((parent, child), news, strict=True):
                    if is_new:
                        affected[id(life)] = life
        return list(affected.values())

    def inherit(self, changed: Sequence[Life]) -> list[Life]:
        """Tells those that go on with the messages of these lives what is known of them now."""
        affected: dict[int, Life] = {}
        for parent in changed:
            if parent.summary is None or not parent.summary.goes_on:
                continue
            for key, requeued in chain.children(parent):
                for child in self._entries.get(key):
                    if not chain.same_message(parent, child):
                        continue
                    if chain.link(parent, child, requeued=requeued)[1]:
                        affected[id(child)] = child
        return list(affected.values())

    def forget_all(self) -> None:
        """Expects nothing any more."""
        self._expected.clear()
        self._claimed.clear()

    def _may_be_linked(self, one: Touched) -> bool:
        """Whether it names an entry that is remembered, or was named: of most neither is so."""
        queue_id = one.life.queue_id
        if one.summary.origins or queue_id in self._expected or queue_id in self._claimed:
            return True
        for named, _ in one.names:
            for host in self._hosts:
                if (host, named) in self._entries:
                    return True
        return False

    def _as_parent(self, one: Touched) -> Iterator[tuple[Life, Life, bool]]:
        for queue_id, _ in one.names:
            for child in self._anywhere(queue_id):
                if chain.same_message(one.life, child) and chain.was_handed_over(one.life, child):
                    yield one.life, child, False
        for key in self._claimed.get(one.life.queue_id, ()) if one.tied else ():
            for child in self._entries.get(key):
                yield from self._continued(one.life, child)

    def _as_child(self, one: Touched) -> Iterator[tuple[Life, Life, bool]]:
        life = one.life
        for queue_id, _ in one.summary.origins:
            for parent in self._anywhere(queue_id):
                yield from self._continued(parent, life)
        for key in self._expected.get(life.queue_id, ()):
            for parent in self._entries.get(key):
                if chain.same_message(parent, life) and chain.was_handed_over(parent, life):
                    yield parent, life, False

    def _continued(self, parent: Life, child: Life) -> Iterator[tuple[Life, Life, bool]]:
        """Where a child names its parent."""
        for queue_id, requeued in child.summary.origins if child.summary else ():
            if (
                queue_id == parent.queue_id
                and chain.same_message(parent, child)
                and chain.was_continued(parent, child)
            ):
                yield parent, child, requeued

    def _anywhere(self, queue_id: str) -> Iterator[Life]:
        """An entry of this id, at whichever host."""
        for host in self._hosts:
            yield from self._entries.get((host, queue_id))

    def _bound(self) -> None:
        for bounded, limit in (
            (self._expected, _MOST_NAMED),
            (self._claimed, _MOST_NAMED),
            (self._hosts, _MOST_HOSTS),
        ):
            for key in list(islice(bounded, max(len(bounded) - limit, 0))):
                del bounded[key]


def _note(named: dict[str, tuple[EntryKey, ...]], queue_id: str, by: EntryKey) -> None:
    known = named.get(queue_id, ())
    if by not in known:
        named[queue_id] = (*known, by)[-_MOST_NAMING:]
