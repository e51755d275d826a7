"""Addresses of people who were erased → pseudonyms, in whatever a line or a row says.

Owns the keyed hash by which such an address is known again, and where addresses may stand in a
text: plain, in quotes, in a URL (`%40`), in a variable envelope sender (`bounce+ann=example.org@`),
rewritten by SRS. The domain stays: figures by domain do not change, and it names nobody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import islice, pairwise
from typing import NamedTuple, TypeVar

import msgspec

from pda.maillog.events import (
    Attempt,
    Delivery,
    Fact,
    Facts,
    HeaderAction,
    Life,
    Refusal,
    Told,
    address_key,
    refused_told,
    unpack_facts,
)

_T = TypeVar("_T", bound=msgspec.Struct)

HASH_OCTETS = 8
_PREFIX = "erased-"
_WORD = r"[^\s\x00-\x1f\x7f@<>,;:\"()\[\]\\|=&?/]"
_DOMAIN = r"[^\s\x00-\x1f\x7f@<>,;:\"()\[\]\\|=&?/%!'#*]"
_ADDRESS = re.compile(
    rf"(?:\"[^\"\s]{{1,64}}\"|{_WORD}{{1,128}}(?:={_WORD}{{1,128}}){{0,6}})(?:@|%40){_DOMAIN}{{1,253}}"
    rf"|{_WORD}{{1,128}}={_DOMAIN}{{1,253}}\.[A-Za-z]{{2,63}}",
)
_SEPARATOR = re.compile(r"@|%40")
_TAGS = re.compile(r"[+\-]")
_NAMED = re.compile(rf"[^,:;<>]*<({_PREFIX}[0-9a-f]{{{2 * HASH_OCTETS}}}@)")
_MOST_REMEMBERED, _MOST_TAGS = 20_000, 6
_COMMON = frozenset(
    """abuse account address admin box domain email error host info mail mailbox message name
    postmaster recipient root sender server spam support unknown user""".split()
)
"""Words of replies; as a local part they are no name."""


class Pseudonyms:
    """Knows the hashes of erased addresses, and writes pseudonyms in their place."""

    def __init__(self, secret: bytes, hashes: Collection[bytes]) -> None:
        self._secret = secret
        self._hashes = frozenset(hashes)
        self._token = lru_cache(_MOST_REMEMBERED)(self._replaced)

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def hash(self, address: str) -> bytes:
        """By what an address is known again, in whatever case it is written."""
        octets = address_key(address).lower().encode("utf-8", "surrogatepass")
        return blake2b(octets, key=self._secret, digest_size=HASH_OCTETS).digest()

    def pseudonym(self, address: str) -> str:
        """What stands in the place of an address that is erased."""
        domain = address_key(address).lower().rpartition("@")[2]
        return f"{_PREFIX}{self.hash(address).hex()}@{domain}"

    def text(self, text: str) -> str:
        """The text with pseudonyms in the place of all erased addresses."""
        if "@" not in text and "=" not in text and "%40" not in text:
            return text
        return _ADDRESS.sub(lambda found: self._token(found[0]), text)

    def record(self, record: _T) -> _T:
        """The same record without erased addresses; itself where it names none."""
        if isinstance(record, Delivery):
            return self._delivery(record)  # type: ignore[return-value]  # as it came
        changed = self._strings(record)
        if changed and isinstance(record, HeaderAction) and "content" in changed:
            # A name in front of the address is the person's.
            changed["content"] = _NAMED.sub(r" <\1", changed["content"])
        return msgspec.structs.replace(record, **changed) if changed else record

    def told(self, told: Iterable[Told]) -> list[Told]:
        """What lines say, without erased addresses."""
        return [self._told(one) for one in told]

    def life(self, life: Life) -> Life:
        """What was known of a queue entry, without erased addresses; to be derived anew."""
        changed = self.facts(life.facts.packed())
        if changed is not None:
            life.facts = Facts(life.queue_id)
            for fact in changed:
                life.facts.add(fact)
        life.attempts = {key: self.attempt(one) for key, one in life.attempts.items()}
        return life

    def facts(self, packed: bytes) -> list[Fact] | None:
        """Packed facts without erased addresses; None where they name none."""
        before = unpack_facts(packed)
        now = [self.fact(fact) for fact in before]
        return None if all(a is b for a, b in zip(now, before, strict=True)) else now

    def fact(self, fact: Fact) -> Fact:
        """A fact without erased addresses."""
        record = self.record(fact.record)
        return fact if record is fact.record else msgspec.structs.replace(fact, record=record)

    def attempt(self, attempt: Attempt) -> Attempt:
        """An attempt without erased addresses; it stays the same one: its digest is as it was."""
        delivery = self._delivery(attempt.delivery)
        if delivery is attempt.delivery:
            return attempt
        return msgspec.structs.replace(attempt, delivery=delivery)

    def reply(self, reason: str, addresses: Iterable[str]) -> str:
        """A reply about these addresses, whose local parts may stand there alone."""
        reason = self.text(reason)
        for address in addresses:
            local = address.rpartition("@")[0].strip('"')
            if len(local) < 3 or local.lower() in _COMMON or (now := self.text(address)) == address:
                continue
            mark = now.rpartition("@")[0]
            alone = re.compile(_alone(local), re.IGNORECASE)
            reason = alone.sub(lambda _, mark=mark: mark, reason)  # type: ignore[misc]  # a str
        return reason

    def _told(self, one: Told) -> Told:
        if one.refused:
            (one,) = refused_told([self._refusal(refusal) for refusal in one.refused])
        attempts = [self.attempt(attempt) for attempt in one.attempts]
        facts = [self.fact(fact) for fact in one.facts]
        pairs = zip([*facts, *attempts], one.said, strict=True)
        if all(now is then for now, then in pairs):
            return one
        return Told(one.host, one.queue_id, facts, attempts)

    def _refusal(self, refusal: Refusal) -> Refusal:
        """One that is known again: its digest is as it was."""
        now = self.record(refusal)
        reply = self.reply(now.reply, [refusal.recipient])
        return now if reply == now.reply else msgspec.structs.replace(now, reply=reply)

    def _delivery(self, delivery: Delivery) -> Delivery:
        changed = self._strings(delivery)
        reason = self.reply(delivery.reason, {delivery.recipient, delivery.orig_to})
        if reason != delivery.reason:
            changed["reason"] = reason
        return msgspec.structs.replace(delivery, **changed) if changed else delivery

    def _strings(self, record: msgspec.Struct) -> dict[str, str]:
        """The fields that are others now."""
        changed = {}
        for name in _names_of(type(record)):
            value = getattr(record, name)
            if isinstance(value, str) and (now := self.text(value)) != value:
                changed[name] = now
        return changed

    def _replaced(self, token: str) -> str:
        """A text of the form of an address, in which others may be hidden."""
        for form in _forms(token):
            if self.hash(form.address) in self._hashes:
                mark, _, domain = self.pseudonym(form.address).partition("@")
                now = f"{mark}{form.tag}{form.at}{domain}"
                if form.reversed:
                    now = f"{domain}{form.at}{mark}"
                return token.replace(form.written, now, 1)
        return token


class _Form(NamedTuple):
    """An address that may be meant by a text, and how it is written there."""

    address: str
    written: str
    at: str
    """What stands for the `@`."""
    tag: str = ""
    """What follows the local part: `+news`."""
    reversed: bool = False
    """The domain stands in front (SRS)."""


def _forms(token: str) -> Iterator[_Form]:
    local = token
    if found := _SEPARATOR.search(token):
        at, local = found[0], token[: found.start()]
        domain = token[found.end() :].rstrip(".-_~$^{}")
        for part in _starts(local):
            yield _Form(f"{part}@{domain}", f"{part}{at}{domain}", at)
            name, plus, tag = part.partition("+")
            if name and plus:
                yield _Form(f"{name}@{domain}", f"{part}{at}{domain}", at, plus + tag)
    for left, right in pairwise(local.split("=")):
        if "." in right:  # bounce+ann=example.org
            for part in [*_starts(left), *_behind_tags(left)]:
                yield _Form(f"{part}@{right}", f"{part}={right}", "=")
        if "." in left:  # SRS0=…=example.org=ann
            yield _Form(f"{right}@{left}", f"{left}={right}", "=", reversed=True)


def _starts(local: str) -> Iterator[str]:
    """A local part, and what it may be where something else stands in front of it."""
    yield local
    rest = local.rpartition("=")[2]
    for part in (rest, rest.lstrip("'`*~^{}!#$%.-_")):
        if part and part != local:
            yield part


def _behind_tags(local: str) -> list[str]:
    ends = [found.end() for found in islice(_TAGS.finditer(local), _MOST_TAGS)]
    return [local[end:] for end in ends if end < len(local)]


def _alone(word: str) -> str:
    """A pattern for a word where it is a whole one."""
    return rf"(?<![\w.+-]){re.escape(word)}(?![\w+-]|\.\w|@)"


@lru_cache(64)
def _names_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of a record."""
    return tuple(field.name for field in msgspec.structs.fields(kind))
