"""`/api/v1/clients`, `hosts` and `imports`: what there is to ask about, and what was read.

Owns their members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from pda.store import imports, queries
from pda.store.database import Connection
from pda.web.api import Imported, Importing, imported, importing
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.ports import Site
from pda.web.routes import Operation, Who


class Clients(msgspec.Struct, frozen=True):
    """Client ids."""

    clients: Annotated[Sequence[str], Meta(description="Of all messages; not the empty one.")]


class Hosts(msgspec.Struct, frozen=True):
    """Mail hosts."""

    hosts: Annotated[Sequence[str], Meta(description="Whose logs were read.")]


class Imports(msgspec.Struct, frozen=True):
    """Log files."""

    running: Annotated[Sequence[Importing], Meta(description="Those that are being imported.")]
    imports: Annotated[Sequence[Imported], Meta(description="In the order of their last reading.")]


class Inventory:
    """What there is."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._service = site.service
        self._asker = asker

    @Operation("GET", "/api/v1/clients")
    async def clients(self, principal: Principal) -> Clients:
        """The client ids that any message has; a client sees its own."""
        return Clients(await self._asker.ask(_clients, principal.client_id))

    @Operation("GET", "/api/v1/hosts", who=Who.WHOLE)
    async def hosts(self) -> Hosts:
        """The mail hosts that were heard of."""
        return Hosts(await self._asker.ask(queries.hosts))

    @Operation("GET", "/api/v1/imports", who=Who.WHOLE)
    async def imports(self) -> Imports:
        """Log files that were imported, and those that are being imported."""
        files = await self._asker.ask(imports.all_files)
        running = self._service.imports_running()
        return Imports([*map(importing, running)], [*map(imported, files)])


def _clients(connection: Connection, own: str | None) -> list[str]:
    return queries.clients(connection) if own is None else [own]
