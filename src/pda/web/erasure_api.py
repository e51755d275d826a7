"""`/api/v1/addresses` and `/api/v1/erasures`: one person erased everywhere.

Owns their members. What is erased and how is the store's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from pda.store import erasure
from pda.store.erasure import EraseAddress
from pda.web.asking import Asker
from pda.web.editing import Editor
from pda.web.routes import Operation, Who
from pda.web.values import When, publisher


class Erasure(msgspec.Struct, frozen=True):
    """How far an erasure is."""

    hash: Annotated[str, Meta(description="Keyed; it stands in the pseudonym.")]
    erased_at: When
    finished_at: Annotated[When | None, Meta(description="None while stored rows are rewritten.")]
    rows: Annotated[int, Meta(description="Rows that named the address.")]
    entries_left: Annotated[int, Meta(description="Queue entries still to be looked at.")]


class Erasures(msgspec.Struct, frozen=True):
    """All erasures, the latest first."""

    erasures: Sequence[Erasure]


class Erased(msgspec.Struct, frozen=True):
    """An address is erased from now on; what is stored is being rewritten."""

    pseudonym: Annotated[str, Meta(description="What stands in the place of the address.")]


_Address: TypeAlias = Annotated[str, Meta(description="`LOCAL@DOMAIN`, in whatever case.")]
_erasure: Final = publisher(Erasure)


class ErasureApi:
    """Erases people, and tells how far that is."""

    def __init__(self, asker: Asker, editor: Editor) -> None:
        self._asker = asker
        self._editor = editor

    @Operation(
        "DELETE",
        "/api/v1/addresses/{address}",
        who=Who.ADMIN,
        status=202,
        errors={404: "This is no address."},
    )
    async def erase_address(self, address: _Address) -> Erased:
        """Erase a person

        Writes a pseudonym in the place of the address everywhere: in attempts, outcomes, senders,
        replies, headers, suppressions, webhooks that wait, audit. Lines that come later are stored
        with the pseudonym too. Backups keep what they had.
        """
        return Erased(await self._editor.make(EraseAddress(address)))

    @Operation("GET", "/api/v1/erasures", who=Who.ADMIN)
    async def erasures(self) -> Erasures:
        """How far erasures are"""
        rows = await self._asker.ask(erasure.erasures)
        return Erasures([_erasure(one) for one in rows])
