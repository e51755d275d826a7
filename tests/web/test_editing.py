"""Edits over HTTP: who asked is kept, and what cannot be changed is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from quart import g

from pda.store import accounts, audit
from pda.store.accounts import PutUser, RemoveUser
from pda.web.auth import LOCAL, Principal
from pda.web.editing import Editor, author, require_admin
from pda.web.errors import Refused
from tests.web.support import web

PUT = PutUser("bob", "hash", "reader")


async def test_who_asks_is_kept(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        async with app.app.test_request_context("/"):
            g.principal, g.peer = Principal("ann", "admin"), "192.0.2.1"
            await Editor(app.service).make(PUT)
            g.principal, g.peer = LOCAL, None
            assert author() == audit.Author("this machine", "")
        with app.store.reading() as connection:
            assert [user.name for user in accounts.users(connection)] == ["bob"]
            (row,) = audit.rows(connection)
    assert (row.who, row.address, row.target) == ("user ann", "192.0.2.1", "bob")


async def test_what_cannot_be_edited(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        async with app.app.test_request_context("/"):
            g.principal, g.peer = Principal("ann", "reader"), "192.0.2.1"
            with pytest.raises(Refused) as absent:
                await Editor(app.service).make(RemoveUser("bob"))
            app.service.trouble = "disk is full"
            with pytest.raises(Refused) as full:
                await Editor(app.service).make(PUT)
            with pytest.raises(Refused) as forbidden:
                require_admin()
    assert (absent.value.status, absent.value.sentence) == (404, "there is no user 'bob'")
    assert (full.value.status, full.value.headers["Retry-After"]) == (503, "5")
    assert forbidden.value.status == 403
