"""What proxies say is believed of named ones only, and the prefix under which one serves us."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypercorn.typing import HTTPScope
from hypothesis import given
from hypothesis import strategies as st

from pda.web.networks import address_of, networks_of, subscriber
from pda.web.ports import Settings
from pda.web.proxies import BELIEVED, Proxies, asker, below, is_prefix
from tests.support import attempt, message
from tests.web.support import user, web

PROXY = "192.0.2.9"
ELSEWHERE = "198.51.100.7"
NETWORKS = networks_of(["192.0.2.0/24", "2001:db8:9::/48"])


def scope(peer: str = PROXY, path: str = "/", **headers: str) -> HTTPScope:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    made: Any = {
        "type": "http", "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
        "headers": [(b"host", b"inner:1523"), *sent], "client": (peer, 4000),
    }  # fmt: skip
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], None),
        (["203.0.113.5"], "203.0.113.5"),
        (["127.0.0.1", "203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5", "192.0.2.7"], "203.0.113.5"),
        (["192.0.2.8", "192.0.2.7"], "192.0.2.8"),
        (["rubbish", "203.0.113.5", "192.0.2.7"], "203.0.113.5"),
        (["203.0.113.5", "rubbish"], None),
        (["203.0.113.5", "rubbish", "192.0.2.7"], None),
        (["203.0.113.5:4711"], "203.0.113.5"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["::ffff:203.0.113.5", "2001:db8:9::1"], "203.0.113.5"),
        (["unknown"], None),
        ([""], None),
    ],
)
def test_for_whom_is_asked(texts: list[str], found: str | None) -> None:
    assert asker(texts, NETWORKS) == address_of(found)


def test_a_named_proxy_is_believed() -> None:
    seen = Proxies(["192.0.2.0/24"]).seen(
        scope(
            x_forwarded_for="127.0.0.1, 203.0.113.5", x_forwarded_proto="https",
            x_forwarded_host="pda.example.net", x_forwarded_prefix="/mail/pda/",
        )
    )  # fmt: skip
    assert seen["client"] == ("203.0.113.5", 0)
    assert seen["scheme"] == "https"
    assert dict(seen["headers"])[b"host"] == b"pda.example.net"
    assert (seen["root_path"], seen["path"], seen["raw_path"]) == ("/mail/pda", "/mail/pda/", b"/")
    assert BELIEVED in seen


def test_nobody_else_is() -> None:
    said = {
        "x_forwarded_for": "127.0.0.1", "x_forwarded_proto": "https", "x_forwarded_host": "evil",
        "x_forwarded_prefix": "/evil",
    }  # fmt: skip
    asked = scope(ELSEWHERE, **said)
    for proxies in (Proxies(), Proxies(["192.0.2.0/24"])):
        assert proxies.seen(asked) is asked


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/pda", ("/pda", "/pda/", b"/")),
        ("/pda/", ("/pda", "/pda/", b"/")),
        ("/pda/api/v1/status", ("/pda", "/pda/api/v1/status", b"/api/v1/status")),
        ("/pda/pda/x", ("/pda", "/pda/pda/x", b"/pda/x")),
        ("/pdax", ("", "/pdax", b"/pdax")),
        ("/", ("", "/", b"/")),
    ],
)
def test_a_prefix_of_the_settings(path: str, seen: tuple[str, str, bytes]) -> None:
    found = Proxies(prefix="/pda").seen(scope(ELSEWHERE, path))
    assert (found["root_path"], found["path"], found["raw_path"]) == seen


def test_a_proxy_may_take_the_prefix_away() -> None:
    found = Proxies([PROXY], "/pda").seen(scope(path="/agent-read/x"))
    assert (found["root_path"], found["path"]) == ("/pda", "/pda/agent-read/x")
    assert found["raw_path"] == b"/agent-read/x"


@pytest.mark.parametrize("text", ["/a", "/a/b.c", "/~a/_b-c", ""])
def test_prefixes(text: str) -> None:
    assert is_prefix(text)


@pytest.mark.parametrize(
    "text", ["a", "//a", "/a/", "/", "/..", "/a/../b", '/a"', "/a b", "/ä", "/a\n"]
)
def test_what_is_no_prefix(text: str) -> None:
    assert not is_prefix(text)
    seen = Proxies([PROXY]).seen(scope(x_forwarded_prefix=text))
    assert is_prefix(seen["root_path"])


@given(
    st.dictionaries(
        st.sampled_from(["for", "proto", "host", "prefix"]),
        st.text(st.characters(max_codepoint=255), max_size=40)
        | st.sampled_from(["https", "203.0.113.5", "/a", "[::1]:80", "a,b", " , ,"]),
    ),
    st.text(max_size=20),
)
def test_hostile_headers(said: dict[str, str], path: str) -> None:
    asked = scope(path="/" + path.encode("utf-8", "replace").decode("latin-1"))
    asked["headers"] = [
        *asked["headers"],
        *((f"x-forwarded-{k}".encode(), v.encode("latin-1")) for k, v in said.items()),
    ]
    seen = Proxies([PROXY]).seen(asked)
    assert seen["scheme"] in ("http", "https")
    assert address_of((seen["client"] or ("", 0))[0]) is not None
    assert is_prefix(seen["root_path"])
    assert seen["path"] == seen["root_path"] + asked["path"]
    assert re.fullmatch(rb"[A-Za-z0-9.:\[\]_-]+", dict(seen["headers"])[b"host"])


def test_links_begin_at_the_prefix() -> None:
    page = '<a href="/x?y=/">/x</a> <form action="/"> <i data-from="/api"> <a href="//h"> "/x"'
    assert below("", page) == page
    assert below("/p", page) == (
        '<a href="/p/x?y=/">/x</a> <form action="/p/"> <i data-from="/p/api"> <a href="//h"> "/x"'
    )


def test_subscribers() -> None:
    assert subscriber("2001:db8::1:2:3:4") == "2001:db8::"
    assert subscriber("::ffff:192.0.2.1") == subscriber("192.0.2.1") == "192.0.2.1"
    assert subscriber("") == ""


# --- Over HTTP ---------------------------------------------------------------------------------

BEHIND = Settings(proxies=("127.0.0.1",), prefix="/pda")


async def test_a_page_under_a_prefix(tmp_path: Path) -> None:
    said = {"X-Forwarded-For": ELSEWHERE, "X-Forwarded-Proto": "https", "Host": "mail.example.net"}
    lines = message(deliveries=[attempt(to='"</a href="/x@example.org')])
    with web(tmp_path, lines, settings=BEHIND, users=[user("ann")]) as app:
        response = await app.get("/pda/", user="ann", headers=said)
        page = await response.get_data(as_text=True)
        assert response.status_code == 200
        assert response.headers["Strict-Transport-Security"]
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page)
        assert links
        assert all(link.startswith("/pda/") for link in links)
        file = next(link for link in links if "pda.css" in link)
        assert (await app.get(file, headers=said)).status_code == 200
        original = await app.get("/pda/agent-read/a%2Fb", user="ann", headers=said)
        assert original.status_code == 200
        served = msgspec.json.decode(await app.text("/pda/openapi.json", user="ann", headers=said))
        assert served["servers"] == [{"url": "/pda"}]


async def test_who_fails_is_slowed_down_not_the_proxy(tmp_path: Path) -> None:
    with web(tmp_path, settings=BEHIND, users=[user("ann")]) as app:

        async def status(peer: str, password: str = "wrong") -> int:
            said = {"X-Forwarded-For": peer}
            answer = await app.get("/agent-status", user="ann", password=password, headers=said)
            return answer.status_code

        assert [await status(ELSEWHERE) for _ in range(6)] == [401] * 5 + [429]


async def test_behind_a_proxy_nobody_is_this_machine(tmp_path: Path) -> None:
    with web(tmp_path, settings=BEHIND) as app:
        for peer in (ELSEWHERE, "127.0.0.1", "rubbish"):
            said = {"X-Forwarded-For": peer}
            assert (await app.get("/agent-status", headers=said)).status_code == 403
        assert (await app.get("/agent-status")).status_code == 200
