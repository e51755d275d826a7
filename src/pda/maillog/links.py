"""Finds the entries that are one message, among those remembered and those in the store.

Owns what is expected to come: which entries were named by whom. Bounded as the memory is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from pda.maillog import chain
from pda.maillog.events import Attempt, EntryKey, Life, Wanted
from pda.maillog.outcome import named_queue_id

_MOST_HOSTS = 50


class Touched(msgspec.Struct, frozen=True):
    """A life that was just changed."""

    life: Life
    attempts: list[Attempt]
    named: bool
    """Whether its Message-ID has just become known."""


class Links:
    """Links between the entries that are remembered."""

    def __init__(self, entries: Mapping[EntryKey, list[Life]], limit: int) -> None:
        self._entries = entries
        self._limit = limit
        self._expected: dict[str, set[EntryKey]] = {}
        self._hosts: dict[str, None] = {}

    def wanted(self, touched: Sequence[Touched]) -> Wanted:
        """What the store may know of the messages of these lives."""
        keys, message_ids = set(), set()
        for one in touched:
            life = one.life
            self._hosts.setdefault(life.host)
            for attempt in one.attempts:
                queue_id = named_queue_id(attempt.delivery.reason)
                if queue_id:
                    self._expected.setdefault(queue_id, set()).add((life.host, life.queue_id))
                    if chain.is_internal(attempt.delivery.relay):
                        keys.add((life.host, queue_id))
            if one.named and life.queue_id not in self._expected and chain.came_from_inside(life):
                assert life.summary is not None
                message_ids.add(life.summary.message_id)
                keys |= {(life.host, queue_id) for queue_id, _ in chain.named_as_origin(life)}
        self._bound()
        return Wanted({key for key in keys if key not in self._entries}, message_ids)

    def find(self, touched: Sequence[Life]) -> list[Life]:
        """Links these lives with others; all lives of which that says something new."""
        affected: dict[int, Life] = {}
        for life in touched:
            for parent, child, requeued in [*self._as_parent(life), *self._as_child(life)]:
                if chain.same_message(parent, child):
                    news = chain.link(parent, child, requeued=requeued)
                    for one, is_new in zip((parent, child), news, strict=True):
                        if is_new:
                            affected[id(one)] = one
        return list(affected.values())

    def inherit(self, changed: Sequence[Life]) -> list[Life]:
        """Tells those that go on with the messages of these lives what is known of them now."""
        affected: dict[int, Life] = {}
        for parent in changed:
            for key, requeued in chain.children(parent):
                for child in self._entries.get(key, []):
                    if not chain.same_message(parent, child):
                        continue
                    if chain.link(parent, child, requeued=requeued)[1]:
                        affected[id(child)] = child
        return list(affected.values())

    def forget_all(self) -> None:
        """Expects nothing any more."""
        self._expected.clear()

    def _as_parent(self, life: Life) -> Iterator[tuple[Life, Life, bool]]:
        for queue_id, _ in chain.named_by_replies(life):
            for child in self._anywhere(queue_id):
                yield life, child, False

    def _as_child(self, life: Life) -> Iterator[tuple[Life, Life, bool]]:
        for queue_id, requeued in chain.named_as_origin(life):
            for parent in self._anywhere(queue_id):
                yield parent, life, requeued
        for key in self._expected.get(life.queue_id, ()):
            for parent in self._entries.get(key, []):
                if any(life.queue_id == named for named, _ in chain.named_by_replies(parent)):
                    yield parent, life, False

    def _anywhere(self, queue_id: str) -> Iterator[Life]:
        """An entry of this id, at whichever host."""
        for host in self._hosts:
            yield from self._entries.get((host, queue_id), [])

    def _bound(self) -> None:
        for bounded, limit in ((self._expected, self._limit), (self._hosts, _MOST_HOSTS)):
            for key in list(islice(bounded, max(len(bounded) - limit, 0))):
                del bounded[key]
