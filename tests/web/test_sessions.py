"""Log-in with the form: the cookie, what ends a session, and who else could make use of it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Response

from pda.store import audit, sessions
from pda.store.accounts import PutUser, RemoveUser, secret_hash
from pda.store.edits import NotThereError
from pda.store.sessions import SeeSession, StartSession
from pda.web.passwords import hash_password
from pda.web.ports import Settings
from pda.web.sessions import local_path
from pda.web.throttle import Throttle
from tests.support import Store
from tests.web.support import PASSWORD, Web, user, web

USERS = [user("ann"), user("root", "admin"), user("shop", "client", "shop")]
OWN = {"Host": "localhost", "Origin": "http://localhost"}
FORM = {**OWN, "Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
PAGE = {"Host": "localhost", "Accept": "text/html,*/*"}
HOUR = 3_600_000_000


def now() -> int:
    return time.time_ns() // 1000


async def log_in(
    app: Web, name: str = "ann", password: str = PASSWORD, following: str = "", **headers: str
) -> Response:
    given = urlencode({"name": name, "password": password, "next": following}).encode()
    return await app.get("/login", method="POST", headers={**FORM, **headers}, data=given)


async def cookie(app: Web, name: str = "ann") -> str:
    """`pda=…` of a new session."""
    response = await log_in(app, name)
    assert response.status_code == 303, await response.get_data(as_text=True)
    return response.headers["Set-Cookie"].partition(";")[0]


async def status(app: Web, cookie: str, path: str = "/api/v1/status", **headers: str) -> int:
    return (
        await app.get(path, headers={"Host": "localhost", "Cookie": cookie, **headers})
    ).status_code


def ended(app: Web, cookie: str) -> bool:
    with app.store.reading() as connection:
        return sessions.session(connection, secret_hash(cookie.partition("=")[2])) is None


async def test_log_in_and_out(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        asked = await app.get("/?range=7d", headers=PAGE)
        assert asked.status_code == 303
        to = urlsplit(asked.headers["Location"])
        assert (to.path, parse_qs(to.query)) == ("/login", {"next": ["/?range=7d"]})
        page = await app.text(asked.headers["Location"], headers=PAGE)
        assert 'name="next" value="/?range=7d"' in page
        assert "http-equiv" not in page
        assert "Log out" not in page
        done = await log_in(app, following="/?range=7d")
        assert (done.status_code, done.headers["Location"]) == (303, "/?range=7d")
        (name, value), *attributes = (
            part.strip().split("=", 1) if "=" in part else (part.strip(), "")
            for part in done.headers["Set-Cookie"].split(";")
        )
        assert (name, len(value)) == ("pda", 47)
        assert {(k, v) for k, v in map(tuple, attributes) if k != "Expires"} == {
            ("HttpOnly", ""), ("SameSite", "Strict"), ("Path", "/"), ("Max-Age", "604800"),
        }  # fmt: skip
        given = f"pda={value}"
        home = await app.text("/", headers={**PAGE, "Cookie": given})
        assert 'action="/logout"' in home
        assert "Logged in as ann" in home
        out = await app.get("/logout", method="POST", headers={**OWN, "Cookie": given})
        assert (out.status_code, out.headers["Location"]) == (303, "/login")
        assert "pda=;" in out.headers["Set-Cookie"]
        assert ended(app, given)
        assert await status(app, given) == 401
        with app.store.reading() as connection:
            told = [(row.who, row.action, row.target) for row in audit.rows(connection, limit=2)]
        assert told == [("user ann", "log out", "ann"), ("user ann", "log in", "ann")]


async def test_over_tls_the_cookie_stays_there(tmp_path: Path) -> None:
    settings = Settings(proxies=("127.0.0.1",), prefix="/pda")
    through = {
        "X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https", "Accept": "text/html",
        "Host": "pda.example.net", "Origin": "https://pda.example.net",
    }  # fmt: skip
    with web(tmp_path, settings=settings, users=USERS) as app:
        asked = await app.get("/pda/?range=7d", headers=through)
        assert asked.headers["Location"] == "/pda/login?next=/%3Frange%3D7d"
        done = await log_in(app, following="/x", **through)
        assert done.headers["Location"] == "/pda/x"
        given = done.headers["Set-Cookie"]
        assert given.startswith("__Host-pda=")
        assert "; Secure" in given
        assert "; Path=/" in given
        pair = given.partition(";")[0]
        assert await status(app, pair, **through) == 200
        # The same over plain HTTP is another cookie, which a neighbour may have set.
        assert await status(app, pair) == 401
        assert await status(app, pair.removeprefix("__Host-"), **through) == 401


async def test_a_session_is_good_for_every_interface_within_its_role(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        shop, root = await cookie(app, "shop"), await cookie(app, "root")
        for path in ("/", "/agent-status", "/api/v1/status", "/openapi.json"):
            assert await status(app, shop, path) == 200
        assert await status(app, shop, "/metrics", Via="x") == 403
        assert await status(app, shop, "/api/v1/audit") == 403
        assert await status(app, root, "/api/v1/audit") == 200
        assert await status(app, shop, Authorization="Basic x") == 401


async def test_it_outlasts_a_restart(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        given = await cookie(app)
    with web(tmp_path) as app:
        assert await status(app, given) == 200


@pytest.mark.parametrize(
    "edit",
    [
        PutUser("ann", hash_password("new"), "reader"),
        RemoveUser("ann"),
        PutUser("ann", "", "admin"),
    ],
    ids=["password", "removed", "role"],
)
async def test_a_change_of_the_user_ends_it_at_once(
    tmp_path: Path, edit: PutUser | RemoveUser
) -> None:
    with web(tmp_path, users=USERS) as app:
        ann, root = await cookie(app), await cookie(app, "root")
        assert await status(app, ann) == 200
        app.store.make(edit)
        assert await status(app, ann) == 401
        assert await status(app, root) == 200


async def test_it_ends_by_itself(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        given = await cookie(app)
        hashed = secret_hash(given.partition("=")[2])
        for hours, code in ((11, 200), (13, 401)):
            app.store.make(SeeSession(hashed), at=now() - hours * HOUR)
            assert await status(app, given) == code
        app.store.make(SeeSession(hashed), at=now())
        assert await status(app, given) == 200
    with web(tmp_path, settings=Settings(session_longest=0.0)) as app:
        assert await status(app, given) == 401


async def test_its_use_is_noted_now_and_then(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        given = await cookie(app)
        hashed = secret_hash(given.partition("=")[2])

        def seen() -> int:
            with app.store.reading() as connection:
                found = sessions.session(connection, hashed)
            assert found is not None
            return found.seen_at

        app.store.make(SeeSession(hashed), at=now() - HOUR)
        first = seen()
        assert await status(app, given) == 200
        second = seen()
        assert second > first
        assert await status(app, given) == 200
        assert seen() == second


async def test_who_fails_is_slowed_down_and_told(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        for _ in range(Throttle.FREE):
            response = await log_in(app, 'ann"><b>', "wrong", "/x")
            assert response.status_code == 401
            page = await response.get_data(as_text=True)
            assert "User name or password are wrong." in page
            assert 'value="ann&#34;&gt;&lt;b&gt;"' in page
            assert 'value="/x"' in page
            assert "Set-Cookie" not in response.headers
            assert not response.headers["WWW-Authenticate"].startswith("Basic")
        response = await log_in(app)
        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
        assert "too many failed" in (await response.get_data(as_text=True)).lower()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"name=ann",
        b"name=%ff&password=%00",
        b"name=" + b"x" * 300,
        b"name=a&password=" + b"x" * 2000,
    ],
)
async def test_forms_that_are_none(tmp_path: Path, data: bytes) -> None:
    with web(tmp_path, users=USERS) as app:
        response = await app.get("/login", method="POST", headers=FORM, data=data)
        assert response.status_code == 401


async def test_while_the_disk_refuses_nobody_is_told_to_be_in(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        app.service.trouble = "disk is full"
        response = await log_in(app)
        assert response.status_code == 503
        assert "Set-Cookie" not in response.headers


async def test_without_users_there_is_nothing_to_log_in_to(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        response = await app.get("/login?next=/x", headers=PAGE)
        assert (response.status_code, response.headers["Location"]) == (303, "/x")
        assert "Log out" not in await app.text("/", headers=PAGE)


# --- Other sites -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 403),  # a browser says where it asks; only browsers have cookies
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_a_cookie_changes_nothing_for_another_site(
    tmp_path: Path, headers: dict[str, str], code: int
) -> None:
    """As if the browser had sent the cookie all the same."""
    with web(tmp_path, users=USERS) as app:
        given = {"Host": "localhost", "Cookie": await cookie(app, "root")}
        reload = await app.get("/api/v1/rules/reload", method="POST", headers={**given, **headers})
        assert reload.status_code == code
        assert app.service.asked == (["reload"] if code == 200 else [])
        out = await app.get("/logout", method="POST", headers={**given, **headers})
        assert out.status_code == (303 if code == 200 else 403)
        assert ended(app, given["Cookie"]) is (code == 200)


async def test_another_site_logs_nobody_in(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            response = await log_in(app, **foreign)
            assert response.status_code == 403
            assert "Set-Cookie" not in response.headers
        assert (await app.get("/logout", headers=PAGE)).status_code in (303, 405)


async def test_who_follows_a_link_from_elsewhere_is_tried_once_more_from_here(
    tmp_path: Path,
) -> None:
    with web(tmp_path, users=USERS) as app:
        page = await app.text(
            "/login?next=/m%22x", headers={**PAGE, "Sec-Fetch-Site": "cross-site"}
        )
        assert 'http-equiv="refresh" content="0; url=/"' in page
        page = await app.text(
            "/login?next=/m?q=1", headers={**PAGE, "Sec-Fetch-Site": "cross-site"}
        )
        assert 'http-equiv="refresh" content="0; url=/m?q=1"' in page


async def test_no_window_of_the_browsers_own_opens_over_a_page(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        for headers in ({"Cookie": "pda=x"}, {"Sec-Fetch-Mode": "cors"}):
            response = await app.get("/api/v1/status", headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="pda"'
        response = await app.get("/api/v1/status", headers=PAGE)
        assert response.headers["WWW-Authenticate"].startswith("Basic")
        # A form of a page that was open for too long.
        sent = {**FORM, "Cookie": "pda=x"}
        response = await app.get("/logout", method="POST", headers=sent)
        assert response.headers["Location"] == "/login?next=/"


@pytest.mark.parametrize(
    "text", ["/", "/x?y=/z&q=a%20b", "/agent-read/a%2Fb", "/messages/4jX?range=7d#x"]
)
def test_paths_of_ours(text: str) -> None:
    assert local_path(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "x", "//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil", "/a\r\nb", "/ä"]
)  # fmt: skip
def test_paths_of_others(text: str) -> None:
    assert local_path(text) == "/"


@given(st.text(st.sampled_from("/\\.:@?#%\t\n aé"), max_size=12))
def test_no_path_leads_elsewhere(text: str) -> None:
    found = urlsplit(local_path("/" + text))
    assert (found.scheme, found.netloc) == ("", "")
    assert re.fullmatch(r"/[!-~]*", local_path(text))


# --- The store ---------------------------------------------------------------------------------


def test_sessions_are_bounded_and_those_that_have_ended_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make(PutUser("ann", "h", "reader"))

    def start(number: int, at: int) -> None:
        store.make(StartSession(b"%d" % number, "ann", "h", 12 * HOUR, 100 * HOUR), at=at)

    def there() -> list[int]:
        return [n for n in range(40) if sessions.session(store.connection, b"%d" % n)]

    for number in range(sessions.MOST + 3):
        start(number, number)
    assert there() == list(range(3, sessions.MOST + 3))
    store.make(SeeSession(b"5"), at=20 * HOUR)
    start(30, 21 * HOUR)
    assert there() == [5, 30]
    store.make(SeeSession(b"5"), at=100 * HOUR)
    start(31, 101 * HOUR)
    assert there() == [31]
    with pytest.raises(NotThereError, match="log in again"):
        store.make(StartSession(b"x", "ann", "old hash", HOUR, HOUR))
    store.close()
