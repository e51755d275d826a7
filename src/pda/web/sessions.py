"""Log-in with the form, and log-out: `/login` and `/logout`.

Owns both paths. There is no token against forged requests in the forms, because two other things
hold: the cookie is SameSite=Strict, so that no request which another site causes carries it, and
the gate refuses each change whose `Sec-Fetch-Site` or `Origin` is not ours, and one with a cookie
and neither of the two. Both headers are set by the browser, out of reach of any page.
"""

from __future__ import annotations

import re
from typing import Final

from quart import Response, render_template, request
from quart.app import Quart

from pda.store.accounts import UserRow, new_secret, secret_hash
from pda.store.audit import Author
from pda.store.sessions import EndSession, StartSession
from pda.web import cookie
from pda.web.auth import BEARER, Guard
from pda.web.editing import Editor
from pda.web.errors import Refused
from pda.web.gate import LOGIN, peer
from pda.web.ports import Site

_PATH: Final = re.compile(r"/(?!/)[\w.~%!$&'()*+,;=:@/?#-]*", re.ASCII)
_HTML: Final = "text/html; charset=utf-8"
_US: Final = 1_000_000


class Sessions:
    """The form, and what becomes of it."""

    def __init__(self, site: Site, guard: Guard) -> None:
        self._guard = guard
        self._editor = Editor(site.service)
        self._settings = site.settings

    def register(self, app: Quart) -> None:
        """Takes its paths."""
        app.add_url_rule(LOGIN, "login", self.form, methods=["GET"])
        app.add_url_rule(LOGIN, "log_in", self.log_in, methods=["POST"])
        app.add_url_rule("/logout", "log_out", self.log_out, methods=["POST"])

    async def form(self) -> Response:
        """The form; without any user there is nothing to be logged in as."""
        following = local_path(request.args.get("next", ""))
        if not await self._guard.has_users():
            return _to(following)
        return await _page(following)

    async def log_in(self) -> Response:
        """Starts a session for a right password, or says why not."""
        given = await request.form
        following = local_path(given.get("next", ""))
        try:
            user = await self._guard.prove(
                given.get("name", ""), given.get("password", ""), peer() or ""
            )
            session = await self._started(user)
        except Refused as refused:
            return await _page(following, refused, given.get("name", ""))
        response = _to(following)
        cookie.give(response, session, self._settings.session_longest)
        return response

    async def log_out(self) -> Response:
        """Ends the session; it is no mistake if there is none any more."""
        try:
            await self._editor.make(EndSession(secret_hash(cookie.session_id())))
        except Refused as refused:
            if refused.status != 404:
                raise
        response = _to(LOGIN)
        cookie.take(response)
        return response

    async def _started(self, user: UserRow) -> str:
        session = new_secret()
        await self._editor.make_as(
            Author(f"user {user.name}", peer() or ""),
            StartSession(
                secret_hash(session),
                user.name,
                user.password_hash,
                round(self._settings.session_idle * _US),
                round(self._settings.session_longest * _US),
            ),
        )
        return session


async def _page(following: str, refused: Refused | None = None, name: str = "") -> Response:
    """The form. A browser that followed another site's link has kept its cookie back.

    It sends it where a page of ours leads on, so that it is tried once more from here.
    """
    elsewhere = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    again = request.root_path + following if elsewhere and refused is None else ""
    page = await render_template(
        "login.html", following=following, refused=refused, name=name, again=again
    )
    response = Response(page, refused.status if refused else 200, content_type=_HTML)
    response.headers.update(refused.headers if refused else {})
    if refused and refused.status == 401:
        response.headers["WWW-Authenticate"] = BEARER  # no window of the browser's own
    return response


def _to(path: str) -> Response:
    return Response("", 303, {"Location": request.root_path + path})


def local_path(text: str) -> str:
    """A path of ours to go on to; the first page for all that could lead elsewhere."""
    return text if _PATH.fullmatch(text) else "/"
