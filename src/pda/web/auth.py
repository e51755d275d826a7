"""Who asks: HTTP Basic against argon2 hashes, and what a principal may see.

Owns log-in, its cost and its slowing down. Knows users as rows, no page and no interface. Without
any user only this machine is served. Times are seconds of Trio's clock.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address, ip_address
from typing import Final

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pda.store import accounts
from pda.store.accounts import UserRow
from pda.web.asking import Asker
from pda.web.errors import Refused

log = logging.getLogger(__name__)

ROLES: Final = ("admin", "reader", "client")
MOST_NAME: Final = 256
MOST_PASSWORD: Final = 1024
"""Octets in UTF-8: what is longer is refused before any work is done on it."""

# OWASP's least parameters for argon2id; about 50 ms.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_USERS_FRESH_S = 1.0
_PROOF_KEPT_S = 300.0
_MOST_PROOFS = 10_000
_HASHING_AT_ONCE = 2
_HASHING_WAITING = 20


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may ask."""

    name: str
    role: str
    client_id: str | None = None
    """The only client whose mail may be seen; None for all."""

    @property
    def who(self) -> str:
        """As the audit names it."""
        return f"user {self.name}" if self.name else "this machine"

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def sees(self, client_id: str) -> bool:
        """Whether this client's mail may be seen."""
        return self.client_id is None or self.client_id == client_id


LOCAL: Final = Principal("", "admin")
"""Whoever asks from this machine while there are no users."""


def hash_password(password: str) -> str:
    """An argon2id hash for the store; raises ValueError for a password that cannot be used."""
    if not password:
        raise ValueError("an empty password is no password")
    if len(password.encode()) > MOST_PASSWORD:
        raise ValueError(f"the password is longer than {MOST_PASSWORD} octets")
    return _HASHER.hash(password)


def is_loopback(peer: str | None) -> bool:
    """Whether an address is this machine's own; a peer without address is not known to be."""
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


class Guard:
    """Decides who may come in."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._users: dict[str, UserRow] = {}
        self._users_until = -math.inf
        self._proofs: dict[bytes, float] = {}
        self._key = secrets.token_bytes(32)
        self._hashing = trio.CapacityLimiter(_HASHING_AT_ONCE)
        self._throttle = Throttle()

    async def admit(
        self, peer: str | None, authorization: str | None, *, forwarded: bool = False
    ) -> Principal:
        """Who asks from `peer` with this Authorization header; raises `Refused`.

        `forwarded`: the request says that it was handed on for somebody else.
        """
        users = await self._known_users()
        if not users:
            return _local(peer, forwarded=forwarded)
        name, password = credentials(authorization)
        user = users.get(name)
        if not await self._is_password(name, password, user, peer or "") or user is None:
            log.warning("refused the log-in of %r from %s", name, peer)
            raise unauthorised("user name or password are wrong")
        return principal(user)

    async def _known_users(self) -> dict[str, UserRow]:
        now = trio.current_time()
        if now >= self._users_until:
            self._users = {user.name: user for user in await self._asker.ask(accounts.users)}
            self._users_until = now + _USERS_FRESH_S
        return self._users

    async def _is_password(self, name: str, password: str, user: UserRow | None, peer: str) -> bool:
        stored = user.password_hash if user else ""
        proof = self._proof(name, password, stored)
        if self._is_proven(proof):
            return True
        keys = (f"address {_network(peer)}", f"account {name}")
        self._slow_down(keys)
        if self._hashing.statistics().tasks_waiting >= _HASHING_WAITING:
            raise Refused(503, "too many log-ins at once", {"Retry-After": "1"})
        async with self._hashing:
            # While this one waited others may have failed, or proved the same.
            if self._is_proven(proof):
                return True
            self._slow_down(keys)
            right = await trio.to_thread.run_sync(_verify, stored, password)
        if not (right and user):
            self._throttle.failed(keys, trio.current_time())
            return False
        self._throttle.forget(keys[1])
        self._remember(proof)
        return True

    def _slow_down(self, keys: Iterable[str]) -> None:
        wait = self._throttle.wait(keys, trio.current_time())
        if wait > 0:
            after = {"Retry-After": str(math.ceil(wait))}
            raise Refused(429, "too many failed log-ins: try again later", after)

    def _proof(self, name: str, password: str, stored: str) -> bytes:
        """What can be kept of a right password; it ends with a change of the stored hash."""
        text = "\0".join((name, stored, password))
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _is_proven(self, proof: bytes) -> bool:
        return self._proofs.get(proof, -math.inf) > trio.current_time()

    def _remember(self, proof: bytes) -> None:
        if len(self._proofs) >= _MOST_PROOFS:
            self._proofs.clear()
        self._proofs[proof] = trio.current_time() + _PROOF_KEPT_S


class Throttle:
    """Slows down those who fail: a few tries are free, then the wait doubles."""

    FREE = 5
    LONGEST_S = 60.0
    FORGOTTEN_S = 900.0
    MOST = 10_000

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}

    def wait(self, keys: Iterable[str], now: float) -> float:
        """Seconds until the next try is looked at; 0 where it may be tried now."""
        return max(self._wait(key, now) for key in keys)

    def failed(self, keys: Iterable[str], now: float) -> None:
        """Notes a failure under each key."""
        for key in keys:
            count, at = self._failures.pop(key, (0, now))
            fresh = now - at < self.FORGOTTEN_S
            self._failures[key] = (count + 1 if fresh else 1, now)
        while len(self._failures) > self.MOST:
            del self._failures[next(iter(self._failures))]

    def forget(self, key: str) -> None:
        """A success ends the slowing down."""
        self._failures.pop(key, None)

    def _wait(self, key: str, now: float) -> float:
        count, at = self._failures.get(key, (0, now))
        if count < self.FREE:
            return 0.0
        return max(0.0, at + min(2.0 ** min(count - self.FREE, 10), self.LONGEST_S) - now)


def credentials(authorization: str | None) -> tuple[str, str]:
    """User name and password of a Basic header (RFC 7617); raises `Refused`."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        raise unauthorised("log in with user name and password (HTTP Basic)")
    try:
        raw = b64decode(token.strip(), validate=True)
    except (Base64Error, ValueError):
        raise unauthorised("the Authorization header is damaged") from None
    name, colon, password = raw.partition(b":")
    if not colon or len(name) > MOST_NAME or len(password) > MOST_PASSWORD:
        raise unauthorised("user name or password are wrong")
    return name.decode("utf-8", "replace"), password.decode("utf-8", "replace")


def principal(user: UserRow) -> Principal:
    """What a user may do; raises `Refused` where the row says nothing that can be granted."""
    if user.role not in ROLES:
        raise Refused(403, f"the role of user {user.name!r} is not known")
    if user.role != "client":
        return Principal(user.name, user.role)
    if not user.client_id:
        raise Refused(403, f"user {user.name!r} is bound to no client")
    return Principal(user.name, user.role, user.client_id)


def unauthorised(sentence: str) -> Refused:
    """The answer that makes a browser ask for user name and password."""
    return Refused(401, sentence, {"WWW-Authenticate": 'Basic realm="pda", charset="UTF-8"'})


def _local(peer: str | None, *, forwarded: bool) -> Principal:
    if is_loopback(peer) and not forwarded:
        return LOCAL
    raise Refused(
        403, "no user is configured, so only this machine is served: make one with `pda user add`"
    )


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored or _decoy(), password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _decoy() -> str:
    """An unknown user costs as much as a known one."""
    return _HASHER.hash(secrets.token_hex())


def _network(peer: str) -> str:
    """Who holds one IPv6 address holds a /64 of them."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
