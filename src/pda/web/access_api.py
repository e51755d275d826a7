"""`/api/v1/users`, `tokens` and `audit`: who may ask, and who changed what.

Owns their parameters and members; for admins only. Neither hashes nor secrets are answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pda.store import accounts, audit
from pda.web.asking import Asker
from pda.web.routes import Operation, Who
from pda.web.values import When, publisher, stamp

_CLIENT: Final = Meta(description="The only client id that it sees; empty where it sees all.")
_ROLE: Final = Meta(description="`admin`, `reader` or `client`.")


class User(msgspec.Struct, frozen=True):
    """Who may log in."""

    name: str
    role: Annotated[str, _ROLE]
    client_id: Annotated[str, _CLIENT]


class Users(msgspec.Struct, frozen=True):
    """By name."""

    users: Sequence[User]


class Token(msgspec.Struct, frozen=True):
    """A program's way in."""

    id: Annotated[int, Meta(description="Its number: `pda token remove ID`.")]
    role: Annotated[str, _ROLE]
    client_id: Annotated[str, _CLIENT]
    note: Annotated[str, Meta(description="What it is for.")]
    created_at: When
    expires_at: Annotated[When | None, Meta(description="Null: it does not end.")]
    used_at: Annotated[When | None, Meta(description="The last use, to the hour.")]


class Tokens(msgspec.Struct, frozen=True):
    """Oldest first."""

    tokens: Sequence[Token]


class AuditEntry(msgspec.Struct, frozen=True):
    """One thing that somebody did."""

    id: Annotated[int, Meta(description="Grows with every entry.")]
    at: When
    who: Annotated[
        str,
        Meta(
            description="`user NAME`, `token ID`, `uid NUMBER` (a command), `this machine` (without"
            " log-in), `nobody` (who failed to log in) or `pda`."
        ),
    ]
    address: Annotated[str, Meta(description="Where from; empty for a command.")]
    action: Annotated[str, Meta(description="As `add user`.", examples=["add user"])]
    target: Annotated[str, Meta(description="Whom or what it was done to.")]
    detail: str


class Audit(msgspec.Struct, frozen=True):
    """A page of the audit, latest first."""

    entries: Sequence[AuditEntry]
    next: Annotated[int | None, Meta(description="`before` of the next page; null at the end.")]


class AuditQuery(msgspec.Struct, frozen=True):
    """Which page."""

    before: Annotated[
        int | None,
        Meta(ge=1, le=2**62, description="Entries older than the one with this id."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Entries at the most.")] = 100


_entry: Final = publisher(AuditEntry)


class AccessApi:
    """Who may ask, and who changed what."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @Operation("GET", "/api/v1/users", who=Who.ADMIN)
    async def users(self) -> Users:
        """Who may log in."""
        found = await self._asker.ask(accounts.users)
        return Users([User(one.name, one.role, one.client_id) for one in found])

    @Operation("GET", "/api/v1/tokens", who=Who.ADMIN)
    async def tokens(self) -> Tokens:
        """The tokens there are."""
        return Tokens([_token(one) for one in await self._asker.ask(accounts.tokens)])

    @Operation("GET", "/api/v1/audit", who=Who.ADMIN)
    async def audit(self, query: AuditQuery) -> Audit:
        """Who changed what, and when, latest first.

        Users, tokens, rules, suppressions, webhooks, erasures, log-ins with the form; of those who
        fail to log in, that they were slowed down. The latest 100,000 entries are kept.
        """
        found = await self._asker.ask(audit.rows, query.before, query.limit)
        further = found[-1].id if len(found) == query.limit else None
        return Audit([_entry(one) for one in found], further)


def _token(row: accounts.TokenRow) -> Token:
    at, ends, used = (stamp(when) for when in (row.created_at, row.expires_at, row.used_at))
    return Token(row.id, row.role, row.client_id, row.note, at or "", ends, used)
