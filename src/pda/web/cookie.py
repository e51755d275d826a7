"""The cookie that names a session.

Owns its name and attributes. No script reads it (HttpOnly), no other site's page makes a browser
send it (SameSite=Strict), and over TLS it never leaves TLS: the prefix `__Host-` keeps neighbours
under the same domain, and plain HTTP, from putting one of theirs in its place.
"""

from __future__ import annotations

from quart import Response, request


def session_id() -> str:
    """What the current request's cookie says; empty where it has none."""
    return request.cookies.get(_name(), "")


def give(response: Response, session: str, seconds: float) -> None:
    """Lets the browser keep a session's id."""
    response.set_cookie(
        _name(), session, max_age=int(seconds), path="/", secure=_is_secure(), httponly=True,
        samesite="Strict",
    )  # fmt: skip


def take(response: Response) -> None:
    """Lets the browser forget it."""
    response.delete_cookie(_name(), path="/", secure=_is_secure(), httponly=True, samesite="Strict")


def _name() -> str:
    return "__Host-pda" if _is_secure() else "pda"


def _is_secure() -> bool:
    return request.scheme == "https"
