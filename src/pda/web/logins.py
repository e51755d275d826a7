"""Whether a password or a token is right, and what a wrong one costs.

Owns the hashing (bounded in number, never in the event loop), what is remembered of right
passwords, and the slowing down of those who fail, per address and per account. A right token, and a
password that was right a moment ago, are let in without a wait: they cost nothing, and nobody
else's failures lock their owner out. Knows no page. Times are seconds of Trio's clock.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import secrets

import trio

from pda.store.accounts import UserRow
from pda.store.audit import Author, Deed, Note
from pda.web.errors import Refused
from pda.web.networks import subscriber
from pda.web.passwords import is_password
from pda.web.ports import Service
from pda.web.throttle import Throttle

log = logging.getLogger(__name__)

_PROOF_KEPT_S = 300.0
_MOST_PROOFS = 10_000
_HASHING_AT_ONCE = 2
_HASHING_WAITING = 20
_NOTED_EVERY_S = 60.0
"""Failures go into the audit once a minute at the most, whoever makes them."""


class Logins:
    """Tries passwords, and remembers who failed."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._proofs: dict[bytes, float] = {}
        self._key = secrets.token_bytes(32)
        self._hashing = trio.CapacityLimiter(_HASHING_AT_ONCE)
        self._throttle = Throttle()
        self._noted_at = -math.inf

    async def try_password(self, name: str, password: str, user: UserRow | None, peer: str) -> bool:
        """Whether it is the password of this user; raises `Refused` (429, 503)."""
        stored = user.password_hash if user else ""
        proof = self._proof(name, password, stored)
        if self._is_proven(proof):
            return True
        keys = (f"address {subscriber(peer)}", f"account {name}")
        self._slow_down(keys)
        if self._hashing.statistics().tasks_waiting >= _HASHING_WAITING:
            raise Refused(503, "too many log-ins at once", {"Retry-After": "1"})
        async with self._hashing:
            # While this one waited others may have failed, or proved the same.
            if self._is_proven(proof):
                return True
            self._slow_down(keys)
            right = await trio.to_thread.run_sync(is_password, stored, password)
        if not (right and user):
            log.warning("refused the log-in of %r from %s", name, peer)
            self._failed(keys, peer, name if user else "")
            return False
        self._throttle.forget(keys[1])
        self._remember(proof)
        return True

    def refuse_token(self, peer: str) -> None:
        """Somebody came with a token that there is not; raises `Refused` (429)."""
        keys = (f"address {subscriber(peer)}",)
        self._slow_down(keys)
        log.warning("refused a token from %s", peer)
        self._failed(keys, peer, "")

    def _failed(self, keys: tuple[str, ...], peer: str, account: str) -> None:
        """Counts; names an account only if there is one: a password may stand in its place."""
        now = trio.current_time()
        if self._throttle.failed(keys, now) and now - self._noted_at >= _NOTED_EVERY_S:
            self._noted_at = now
            deed = Deed("failed log-ins", account, "slowed down from now on")
            self._service.soon(Note(deed), Author("nobody", subscriber(peer)))

    def _slow_down(self, keys: tuple[str, ...]) -> None:
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
