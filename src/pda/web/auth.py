"""Who asks: HTTP Basic, bearer tokens, sessions, and what a principal may see.

Owns who is let in as whom. Without any user only this machine is served without log-in. Knows no
page and no interface; what a wrong password costs is in `logins`.
"""

from __future__ import annotations

import math
import time
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from pda.store import accounts, sessions
from pda.store.accounts import TokenRow, UserRow, UseToken, secret_hash
from pda.store.audit import Author
from pda.store.database import Connection
from pda.store.sessions import SeeSession, SessionRow
from pda.web.asking import Asker
from pda.web.errors import Refused
from pda.web.logins import Logins
from pda.web.networks import is_loopback
from pda.web.passwords import MOST_PASSWORD
from pda.web.ports import Site

ROLES: Final = ("admin", "reader", "client")
MOST_NAME: Final = 256
"""Octets in UTF-8."""
_FRESH_S = 1.0
_USE_NOTED_S = 3600.0
_SEEN_NOTED_S = 300.0
_WRONG: Final = "user name or password are wrong"
BEARER: Final = 'Bearer realm="pda"'
"""A challenge at which no browser opens a window of its own."""


NOBODY: Final = "\0"
"""No client has this id."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may ask."""

    name: str
    role: str
    client_id: str | None = None
    """The only client whose mail may be seen; None for all."""
    kind: Literal["user", "token", "machine"] = "user"

    @property
    def who(self) -> str:
        """As the audit names it."""
        return "this machine" if self.kind == "machine" else f"{self.kind} {self.name}"

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def sees(self, client_id: str) -> bool:
        """Whether this client's mail may be seen."""
        return self.client_id is None or self.client_id == client_id

    def client_of(self, asked: str | None) -> str | None:
        """The client that is asked about, None for all: others than its own are not there."""
        if self.client_id is None:
            return asked
        return self.client_id if asked in (None, self.client_id) else NOBODY


LOCAL: Final = Principal("", "admin", kind="machine")
"""Whoever asks from this machine while there are no users."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a request says of who asks."""

    peer: str | None
    """The address it comes from."""
    forwarded: bool = False
    """Whether it was handed on for somebody else."""
    authorization: str | None = None
    """The header."""
    session: str = ""
    """What the cookie says."""
    again: bool = False
    """Whether it was let in before and goes on: that is no use of a session."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Who may ask, as the store had it a moment ago."""

    users: dict[str, UserRow] = field(default_factory=dict)
    tokens: dict[bytes, TokenRow] = field(default_factory=dict)


class Guard:
    """Decides who may come in."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._asker = asker
        self._service = site.service
        self._settings = site.settings
        self._logins = Logins(site.service)
        self._known = _Known()
        self._known_until = -math.inf
        self._use_noted: dict[int, float] = {}

    async def admit(self, asking: Asking) -> Principal:
        """Who asks; raises `Refused`."""
        known, authorization = await self._accounts(), asking.authorization
        if authorization and authorization[:7].lower() == "bearer ":
            return self._bearer(known, authorization[7:].strip(), asking.peer or "")
        if not known.users:
            return _local(asking)
        if asking.session and authorization is None:
            return principal(await self._of_session(known, asking))
        return principal(await self.prove(*credentials(authorization), asking.peer or ""))

    async def has_users(self) -> bool:
        """Whether there is anybody to log in as."""
        return bool((await self._accounts()).users)

    async def prove(self, name: str, password: str, peer: str) -> UserRow:
        """The user whose password this is; raises `Refused`."""
        if len(name.encode("utf-8", "replace")) > MOST_NAME:
            raise unauthorised(_WRONG)
        if len(password.encode("utf-8", "replace")) > MOST_PASSWORD:
            raise unauthorised(_WRONG)
        user = (await self._accounts()).users.get(name)
        if not await self._logins.try_password(name, password, user, peer) or user is None:
            raise unauthorised(_WRONG)
        return user

    async def _of_session(self, known: _Known, asking: Asking) -> UserRow:
        hashed, now = secret_hash(asking.session), time.time_ns() // 1000
        found = await self._asker.ask(sessions.session, hashed)
        user = known.users.get(found.user_name) if found else None
        if found is None or user is None or self._has_ended(found, now):
            raise unauthorised("your session has ended: log in again")
        noted_s = min(_SEEN_NOTED_S, self._settings.session_idle / 10)
        if not asking.again and now - found.seen_at >= noted_s * 1e6:
            self._service.soon(SeeSession(hashed), Author("pda"))
        return user

    def _has_ended(self, found: SessionRow, now: int) -> bool:
        idle, longest = self._settings.session_idle, self._settings.session_longest
        return now - found.seen_at > idle * 1e6 or now - found.created_at > longest * 1e6

    def _bearer(self, known: _Known, secret: str, peer: str) -> Principal:
        token = known.tokens.get(secret_hash(secret))
        if token is None or 0 < token.expires_at <= time.time_ns() // 1000:
            self._logins.refuse_token(peer)
            challenge = f'{BEARER}, error="invalid_token"'
            raise Refused(
                401, "there is no such token, or it has ended", {"WWW-Authenticate": challenge}
            )
        self._note_use(token)
        return principal(token)

    def _note_use(self, token: TokenRow) -> None:
        """To the hour: each is a transaction."""
        now = trio.current_time()
        if now - self._use_noted.get(token.id, -math.inf) >= _USE_NOTED_S:
            self._use_noted[token.id] = now
            self._service.soon(UseToken(token.id), Author("pda"))

    async def _accounts(self) -> _Known:
        now = trio.current_time()
        if now >= self._known_until:
            self._known = await self._asker.ask(_read)
            self._known_until = now + _FRESH_S
        return self._known


def credentials(authorization: str | None) -> tuple[str, str]:
    """User name and password of a Basic header (RFC 7617); raises `Refused`."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        raise unauthorised("log in with user name and password (HTTP Basic), or with a token")
    try:
        raw = b64decode(token.strip(), validate=True)
    except (Base64Error, ValueError):
        raise unauthorised("the Authorization header is damaged") from None
    name, colon, password = raw.partition(b":")
    if not colon:
        raise unauthorised(_WRONG)
    return name.decode("utf-8", "replace"), password.decode("utf-8", "replace")


def principal(row: UserRow | TokenRow) -> Principal:
    """What a user or token may do; raises `Refused` for a row by which nothing can be granted."""
    kind: Literal["user", "token"] = "user" if isinstance(row, UserRow) else "token"
    name = row.name if isinstance(row, UserRow) else str(row.id)
    if row.role not in ROLES:
        raise Refused(403, f"the role of {kind} {name!r} is not known")
    if row.role != "client":
        return Principal(name, row.role, kind=kind)
    if not row.client_id:
        raise Refused(403, f"{kind} {name!r} is bound to no client")
    return Principal(name, row.role, row.client_id, kind)


_BASIC: Final = {"WWW-Authenticate": 'Basic realm="pda", charset="UTF-8"'}


def unauthorised(sentence: str) -> Refused:
    """The answer that makes a browser ask for user name and password."""
    return Refused(401, sentence, _BASIC)


def _local(asking: Asking) -> Principal:
    if is_loopback(asking.peer) and not asking.forwarded:
        return LOCAL
    raise Refused(
        403, "no user is configured, so only this machine is served: make one with `pda user add`"
    )


def _read(connection: Connection) -> _Known:
    return _Known(
        {user.name: user for user in accounts.users(connection)},
        {token.hash: token for token in accounts.tokens(connection)},
    )
