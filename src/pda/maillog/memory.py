"""The queue entries that are remembered: a few as values, many more as octets.

Owns how many of each, and the octets. The last used ones stay. An entry at rest takes a tenth of
the room; whoever asks for it gets it as it was, with what follows from it derived anew. Of one of
which nothing more is expected only the name is remembered: it has to be loaded from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeAlias

import msgspec
import zstandard

from pda.maillog.events import EntryKey, Facts, Life, Rest, Whole

_AWAKE = 4000

_AtRest: TypeAlias = list[tuple[int, Rest]]
"""Lives, with the numbers of their rows."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_AtRest).decode
_LONG = 512
"""Octets from which on they are packed: the attempts of one entry say nearly the same."""
_STORED = b""
"""Instead of the lives of an entry that is over."""


class Memory:
    """Remembers the lives of up to `limit` queue entries; `derive` works out what is not kept."""

    def __init__(self, limit: int, derive: Callable[[list[Life]], list[Life]]) -> None:
        self._limit = limit
        self._derive = derive
        self._awake: dict[EntryKey, list[Life]] = {}
        self._at_rest: dict[EntryKey, bytes] = {}
        self._over: list[EntryKey] = []
        """At rest, and nothing more is expected of them once they have their rows."""
        self._pack = zstandard.ZstdCompressor(1).compress
        self._unpack = zstandard.ZstdDecompressor().decompress

    def __len__(self) -> int:
        return len(self._awake) + len(self._at_rest)

    def __contains__(self, key: EntryKey) -> bool:
        return key in self._awake or bool(self._at_rest.get(key))

    def knows(self, key: EntryKey) -> bool:
        """Whether there is such an entry, here or in the store, as far as that is remembered."""
        return key in self._awake or key in self._at_rest

    def get(self, key: EntryKey) -> list[Life]:
        """The lives of an entry, as far as it is remembered."""
        lives = self._awake.get(key)
        if lives is None and self._at_rest.get(key):
            lives = self._awake[key] = self._wake(key)
        return lives or []

    def take(self, key: EntryKey) -> list[Life] | None:
        """The lives of an entry, to be put back; None where it is not remembered."""
        lives = self._awake.pop(key, None)
        if lives is None and self._at_rest.get(key):
            return self._wake(key)
        return lives

    def put(self, key: EntryKey, lives: list[Life]) -> None:
        """Remembers an entry as the last used one."""
        self._at_rest.pop(key, None)
        self._awake[key] = lives

    def rest(self, number: int, whole: Whole) -> None:
        """Remembers an entry whose row has this number."""
        octets = _encode([(number, whole.rest)])
        if whole.over:  # `settle` forgets them, before it was worth while to pack them
            self._over.append(whole.key)
        else:
            octets = self._packed(octets)
        self._at_rest[whole.key] = octets

    def drop(self, key: EntryKey) -> None:
        """Forgets an entry."""
        self._awake.pop(key, None)
        self._at_rest.pop(key, None)

    def awake(self) -> Iterator[Life]:
        """All lives that are values now."""
        for lives in self._awake.values():
            yield from lives

    def settle(self) -> None:
        """Puts to rest, or forgets, what is too much. Each life has its row in the store by now."""
        for key in self._over:
            if key in self._at_rest:
                self._at_rest[key] = _STORED
        self._over.clear()
        most_awake = min(_AWAKE, self._limit)
        for key in list(islice(self._awake, max(len(self._awake) - most_awake, 0))):
            lives = self._awake.pop(key)
            over = all(life.summary is not None and life.summary.is_over for life in lives)
            self._at_rest[key] = _STORED if over else self._packed(_encode(_at_rest(lives)))
        surplus = len(self) - self._limit
        for key in list(islice(self._at_rest, max(surplus, 0))):
            del self._at_rest[key]

    def clear(self) -> None:
        """Forgets every entry."""
        for remembered in (self._awake, self._at_rest, self._over):
            remembered.clear()

    def _packed(self, octets: bytes) -> bytes:
        return octets if len(octets) < _LONG else self._pack(octets)

    def _unpacked(self, octets: bytes) -> bytes:
        is_packed = octets.startswith(zstandard.FRAME_HEADER)  # which no list begins with
        return self._unpack(octets) if is_packed else octets

    def _wake(self, key: EntryKey) -> list[Life]:
        lives = []
        for number, rest in _decode(self._unpacked(self._at_rest.pop(key))):
            life = Life(*key, facts=Facts(key[1], rest.facts), attempts={}, entry_id=number)
            life.attempts = {(attempt.digest, attempt.copy): attempt for attempt in rest.attempts}
            lives.append(life)
        return self._derive(lives)


def _at_rest(lives: list[Life]) -> _AtRest:
    return [
        (life.entry_id, Rest(life.facts.packed(), list(life.attempts.values())))
        for life in lives
        if life.entry_id
    ]
