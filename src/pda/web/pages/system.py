"""The service itself: what it receives, writes and keeps, how complete that is, and who may ask.

Owns what is shown of it. Admins see who may ask and who changed what, and can have the rules and
the log files read again; a client sees nothing of this page.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec
from quart import Response, g, request
from quart.app import Quart

from pda.store import accounts, audit, imports, queries
from pda.store.database import Connection
from pda.store.imports import Import
from pda.web.asking import Asker
from pda.web.editing import author, require_admin, require_whole
from pda.web.errors import Refused
from pda.web.pages.layout import Layout
from pda.web.pages.missing import Completeness
from pda.web.ports import Service, Site

_IMPORTS: Final = 20
_DEEDS: Final = 30
_DAY: Final = 86_400_000_000
_IN_QUEUE: Final = frozenset(("pending", "held"))
FATES: Final = {
    "new": "said something new",
    "known": "said what was known already",
    "refused": "older than what is kept",
    "left_out": "an import was not asked for them",
    "lost": "given up at a stop while the disk refused",
    "waiting": "not written yet",
    "at_the_door": "rejects without a queue id",
    "ignored": "known, no matter here",
    "unknown": "of Postfix, and not understood",
    "headerless": "no syslog header",
    "incomplete": "cut",
    "failed": "a mistake of pda's",
}
"""What became of lines, by its name."""


class Access(msgspec.Struct, frozen=True):
    """Who may ask, and who changed what; for admins."""

    users: list[accounts.UserRow]
    tokens: list[accounts.TokenRow]
    deeds: Sequence[audit.AuditRow]
    """The latest first."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    totals: queries.Totals
    since: int
    """When the oldest attempt was made; 0 where there is none."""
    files: list[Import]
    """The last ones that were read, the last one first."""
    waiting: int
    """Recipients in a queue."""
    access: Access | None

    def growth(self, octets: int, now: int) -> float:
        """Octets a day, over all of the time that is stored; 0 where that is less than one."""
        days = (now - self.since) / _DAY if self.since else 0.0
        return octets / days if days >= 1 else 0.0


class SystemPage:
    """Answers `/system`."""

    def __init__(
        self, site: Site, asker: Asker, layout: Layout, completeness: Completeness
    ) -> None:
        self._service: Service = site.service
        self._asker = asker
        self._layout = layout
        self._completeness = completeness

    def register(self, app: Quart) -> None:
        """Takes its paths."""
        app.add_url_rule("/system", "system_page", self.show)
        app.add_url_rule("/system/read-again", "read_again", self.read_again, methods=["POST"])

    async def show(self) -> Response:
        """All of it that one may see."""
        require_whole()
        now, service = time.time_ns() // 1000, self._service
        found = await self._asker.ask(system_of, admin=g.principal.is_admin)
        return await self._layout.page(
            "system.html",
            self._layout.view(),
            found=found,
            coverage=await self._completeness.of(None),
            now=now,
            service=service,
            listeners=service.listeners(),
            imports=service.imports_running(),
            received=service.reception(),
            writing=service.writing(),
            rules=service.rules_status(),
            fates=FATES,
        )

    async def read_again(self) -> Response:
        """Has the rules, or the configured log files as well, read again."""
        require_admin()
        form = await request.form
        if form.get("what") == "rules":
            await self._service.reload_rules(author())
        elif form.get("what") == "logs":
            await self._service.reindex(author())
        else:
            raise Refused(400, "parameter 'what' is rules or logs")
        return Response("", 303, {"Location": f"{request.root_path}/system"})


def system_of(connection: Connection, *, admin: bool) -> System:
    """What there is to show."""
    return System(
        totals=queries.totals(connection, None),
        since=queries.oldest(connection, None) or 0,
        files=imports.all_files(connection)[: -_IMPORTS - 1 : -1],
        waiting=sum(one.recipients for one in queries.states(connection) if one.state in _IN_QUEUE),
        access=_access(connection) if admin else None,
    )


def _access(connection: Connection) -> Access:
    deeds = audit.rows(connection, None, _DEEDS)
    return Access(accounts.users(connection), accounts.tokens(connection), deeds)
