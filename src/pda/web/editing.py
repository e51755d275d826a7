"""Edits that are asked for over HTTP: handed to the one writer, which keeps who asked.

Owns the way from the current request to `Service.make`, and what the one who asks is told where an
edit is not made. What an edit is, is said in `store.edits`. The gate in `app` has refused requests
from other sites before; who may ask for which edit is for the route to say.
"""

from __future__ import annotations

from quart import g

from pda.store.audit import Author
from pda.store.database import DatabaseError
from pda.store.edits import Edit, NotThereError, T
from pda.web.errors import Refused
from pda.web.ports import Service


class Editor:
    """Makes edits in the name of whoever asks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def make(self, edit: Edit[T]) -> T:
        """What comes of it; it is durable then. Raises `Refused` (404, 503)."""
        return await self.make_as(author(), edit)

    async def make_as(self, by: Author, edit: Edit[T]) -> T:
        """The same for somebody who is not logged in."""
        try:
            return await self._service.make(edit, by)
        except NotThereError as error:
            raise Refused(404, str(error)) from None
        except DatabaseError:
            sentence = "the database cannot be written now: nothing was changed"
            raise Refused(503, sentence, {"Retry-After": "5"}) from None


def author() -> Author:
    """Who asks in the current request."""
    return Author(g.principal.who, g.peer or "")


def require_whole() -> None:
    """Raises `Refused` (403) for who sees one client only."""
    if g.principal.client_id is not None:
        raise Refused(403, "this page is about the whole service; your user sees one client")


def require_admin() -> None:
    """Raises `Refused` (403) for everybody else."""
    if not g.principal.is_admin:
        raise Refused(403, "this needs the role admin")
