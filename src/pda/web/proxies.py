"""What a reverse proxy says of the one for whom it asks; believed of named proxies only.

Owns the forwarded headers and the prefix under which a proxy serves us. Pure: takes the scope of an
ASGI request as it came, gives it as the browser sees the service. Of several values of a header the
last one counts, which the nearest proxy has written; of addresses the last one that is no proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from hypercorn.typing import HTTPScope
from werkzeug.datastructures import Headers

from pda.web.networks import Address, Network, address_of, networks_of, within

BELIEVED: Final = "pda.proxied"
"""Set in the scope where a named proxy has said for whom it asks."""
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "Via")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_LINKS: Final = re.compile(r'(\s(?:href|src|action|formaction|data-[a-z-]+)=")(?=/(?!/))')


def is_prefix(text: str) -> bool:
    """Whether a path prefix has the form `/name/name`."""
    return _PREFIX.fullmatch(text) is not None


class Proxies:
    """The proxies that are believed."""

    def __init__(self, networks: Iterable[str] = (), prefix: str = "") -> None:
        self._networks = networks_of(networks)
        self._prefix = prefix

    def seen(self, scope: HTTPScope) -> HTTPScope:
        """The request as it was made to the proxy."""
        client = scope.get("client")
        named = within(address_of(client[0] if client else None), self._networks)
        texts = _texts(scope["headers"]) if named else {}
        changed: dict[str, Any] = _path(scope, self._named_prefix(texts), named=named)
        if named:
            changed |= self._origin(scope, texts)
        return cast(HTTPScope, {**scope, **changed}) if changed else scope

    def _named_prefix(self, texts: Mapping[str, Sequence[str]]) -> str:
        told = _last(texts, "x-forwarded-prefix").rstrip("/")
        return told if told and is_prefix(told) else self._prefix

    def _origin(self, scope: HTTPScope, texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        address = asker(texts.get("x-forwarded-for", ()), self._networks)
        if address is not None:
            changed |= {"client": (str(address), 0), BELIEVED: True}
        if (scheme := _last(texts, "x-forwarded-proto").lower()) in ("http", "https"):
            changed["scheme"] = scheme
        if _HOST.fullmatch(host := _last(texts, "x-forwarded-host")):
            others = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
            changed["headers"] = [*others, (b"host", host.encode("ascii"))]
        return changed


def asker(texts: Sequence[str], proxies: Sequence[Network]) -> Address | None:
    """For whom is asked: the last address that is no proxy; None where that cannot be read."""
    found = None
    for text in reversed(texts):
        found = address_of(_without_port(text))
        if found is None or not within(found, proxies):
            break
    return found


def is_forwarded(headers: Headers) -> bool:
    """Whether a request says that it was handed on, by whomever."""
    return any(name in headers for name in _FORWARDED)


def below(prefix: str, page: str) -> str:
    """A page whose links begin at the prefix.

    Pages speak of paths from the root. Text from elsewhere is escaped in them, so a quotation mark
    stands in markup only.
    """
    return _LINKS.sub(lambda found: found[1] + prefix, page) if prefix else page


def _path(scope: HTTPScope, prefix: str, *, named: bool) -> dict[str, Any]:
    """The path below the prefix, whether or not the proxy has taken that away."""
    if not prefix:
        return {}
    raw, path = bytes(scope["raw_path"]), scope["path"]
    cut = raw.removeprefix(prefix.encode("ascii"))
    inside = len(cut) < len(raw) and cut[:1] in (b"", b"/")
    if not (inside or named):
        return {}
    path = (path[len(prefix) :] if inside else path) or "/"
    return {
        "root_path": prefix,
        "path": prefix + path,
        "raw_path": (cut if inside else raw) or b"/",
    }


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """The values of headers, in their order: several headers of a name are one with commas."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        values = [part.strip() for part in value.decode("latin-1").split(",")]
        found.setdefault(name.decode("latin-1").lower(), []).extend(values)
    return found


def _last(texts: Mapping[str, Sequence[str]], name: str) -> str:
    return texts.get(name, ("",))[-1]


def _without_port(text: str) -> str:
    """Some proxies write `192.0.2.1:1234` or `[2001:db8::1]:1234`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
