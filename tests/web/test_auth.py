"""Who may come in, what a log-in costs, and how those who fail are slowed down."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pda.store import accounts, audit
from pda.store.accounts import (
    AddToken,
    PutUser,
    RemoveToken,
    UserRow,
    new_secret,
    secret_hash,
)
from pda.web.auth import MOST_NAME, Principal, credentials, principal
from pda.web.errors import Refused
from pda.web.networks import is_loopback
from pda.web.passwords import MOST_PASSWORD, hash_password
from pda.web.throttle import Throttle
from tests.web.support import PASSWORD, Web, basic, user, web

ELSEWHERE = "198.51.100.7"
USERS = [user("ann"), user("root", "admin"), user("shop", "client", "shop")]


# --- Pure parts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("198.51.100.7", False),
        ("::ffff:198.51.100.7", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback(peer: str | None, own: bool) -> None:
    assert is_loopback(peer) is own


def test_a_hash_is_argon2id_and_salted() -> None:
    first, second = hash_password("x"), hash_password("x")
    assert first.startswith("$argon2id$")
    assert first != second


@pytest.mark.parametrize("password", ["", "x" * (MOST_PASSWORD + 1), "é" * 600])
def test_a_password_that_cannot_be_used(password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        hash_password(password)


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "x"), ("ann", "a:b:c"), ("änn", "schöön"), ("", "")]
)
def test_credentials(name: str, password: str) -> None:
    assert credentials(basic(name, password)) == (name, password)
    assert credentials(basic(name, password).replace("Basic", "bAsIc ")) == (name, password)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Bearer abc",
        "Basic ***",
        "Basic YQ",
        "Basic " + base64.b64encode(b"no colon").decode(),
    ],
)
def test_credentials_that_are_none(header: str | None) -> None:
    with pytest.raises(Refused) as refused:
        credentials(header)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"].startswith('Basic realm="pda"')


@given(st.text())
def test_a_hostile_header_is_refused_or_read(text: str) -> None:
    for header in (text, f"Basic {text}"):
        try:
            name, password = credentials(header)
        except Refused as refused:
            assert refused.status == 401  # noqa: PT017 it may also be read
        else:
            assert basic(name, password)


def test_principals() -> None:
    assert principal(UserRow("a", "", "admin", "")) == Principal("a", "admin")
    # A client id binds only who has the role for it.
    assert principal(UserRow("a", "", "reader", "shop")) == Principal("a", "reader")
    assert principal(UserRow("a", "", "client", "shop")) == Principal("a", "client", "shop")


@pytest.mark.parametrize("row", [UserRow("a", "", "client", ""), UserRow("a", "", "root", "")])
def test_a_user_that_cannot_be_granted_anything(row: UserRow) -> None:
    with pytest.raises(Refused) as refused:
        principal(row)
    assert refused.value.status == 403


def test_the_first_tries_are_free_and_then_the_wait_doubles() -> None:
    throttle, waits = Throttle(), []
    for _ in range(Throttle.FREE + 3):
        throttle.failed(["a"], 100.0)
        waits.append(throttle.wait(["a", "b"], 100.0))
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8]
    assert throttle.wait(["a"], 106.5) == 1.5
    assert throttle.wait(["a"], 108.0) == 0
    assert throttle.wait(["b"], 100.0) == 0


def test_the_wait_has_an_end() -> None:
    throttle = Throttle()
    for _ in range(5000):
        throttle.failed(["a"], 0.0)
    assert throttle.wait(["a"], 0.0) == Throttle.LONGEST_S
    throttle.failed(["a"], Throttle.FORGOTTEN_S)
    assert throttle.wait(["a"], Throttle.FORGOTTEN_S) == 0
    throttle.forget("a")
    assert throttle.wait(["a"], 0.0) == 0


def test_the_memory_of_failures_is_bounded() -> None:
    throttle = Throttle()
    for number in range(Throttle.MOST + 100):
        throttle.failed([str(number)], 0.0)
    assert len(throttle._failures) == Throttle.MOST


# --- Over HTTP ---------------------------------------------------------------------------------


async def status(app: Web, path: str = "/agent-status", **how: object) -> int:
    response = await app.get(path, **how)  # type: ignore[arg-type]
    return response.status_code


async def test_without_users_only_this_machine_is_served(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        assert await status(app) == 200
        assert await status(app, peer="::1") == 200
        assert await status(app, peer=ELSEWHERE) == 403
        assert await status(app, peer=None) == 403
        assert await status(app, "/", peer=ELSEWHERE) == 403
        # A proxy on this machine asks for somebody else.
        assert await status(app, headers={"X-Forwarded-For": ELSEWHERE}) == 403
        assert "pda user add" in await app.text("/", peer=ELSEWHERE)


async def test_with_users_everybody_logs_in(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        assert await status(app) == 401
        assert await status(app, user="ann", peer=ELSEWHERE) == 200
        assert await status(app, user="ann", password="wrong") == 401
        assert await status(app, user="nobody") == 401
        assert await status(app, user="ANN") == 401
        response = await app.get("/")
        assert response.headers["WWW-Authenticate"] == 'Basic realm="pda", charset="UTF-8"'


async def test_a_refusal_speaks_the_language_of_the_interface(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        original = msgspec.json.decode(await app.text("/agent-status"))
        assert set(original) == {"result", "status"}
        assert original["status"]["succeeded"] is False
        problem = msgspec.json.decode(await app.text("/api/v1/status"))
        assert problem["status"] == 401
        assert "<h1>Unauthorized</h1>" in await app.text("/")


async def test_only_health_is_public_and_metrics_for_this_machine(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        assert await status(app, "/healthz", peer=ELSEWHERE) == 200
        assert await status(app, "/metrics") == 200
        assert await status(app, "/metrics", headers={"X-Forwarded-For": ELSEWHERE}) == 401
        assert await status(app, "/metrics", peer=ELSEWHERE) == 401
        assert await status(app, "/metrics", peer=ELSEWHERE, user="ann") == 200
        assert await status(app, "/metrics", peer=ELSEWHERE, user="shop") == 403
        for path in ("/", "/agent-read", "/api/v1/status", "/nonsense"):
            assert await status(app, path) == 401


async def test_nothing_is_done_for_names_and_passwords_that_are_too_long(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        for _ in range(Throttle.FREE):
            assert await status(app, user="n" * (MOST_NAME + 1)) == 401
            assert await status(app, user="ann", password="ž" * (MOST_PASSWORD // 2 + 1)) == 401
        assert await status(app, user="ann") == 200  # they are no tries


async def test_a_right_password_is_hashed_once(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        assert await status(app, user="ann") == 200
        started = trio.current_time()
        for _ in range(20):
            assert await status(app, user="ann") == 200
        # Twenty argon2 hashes would take a second.
        assert trio.current_time() - started < 0.6


async def test_many_first_requests_at_once_hash_once_or_twice(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        codes: list[int] = []

        async def ask() -> None:
            codes.append(await status(app, user="ann"))

        async with trio.open_nursery() as nursery:
            for _ in range(15):
                nursery.start_soon(ask)
        assert codes == [200] * 15


async def test_those_who_fail_are_slowed_down_but_not_those_who_are_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with web(tmp_path, users=USERS) as app:
        assert await status(app, user="ann", peer=ELSEWHERE) == 200
        with caplog.at_level(logging.WARNING, "pda.web"):
            for _ in range(Throttle.FREE):
                assert await status(app, user="ann", password="wrong\n", peer=ELSEWHERE) == 401
        assert f"refused the log-in of 'ann' from {ELSEWHERE}" in caplog.text
        response = await app.get("/", user="ann", password="wrong", peer=ELSEWHERE)
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1"
        # The account too, wherever it is tried from, and the address, whatever account it tries.
        assert await status(app, user="ann", password="other", peer="192.0.2.1") == 429
        assert await status(app, user="root", peer=ELSEWHERE) == 429
        # Who has proven the password is not locked out by somebody else's failures.
        assert await status(app, user="ann", peer=ELSEWHERE) == 200
        # Nor is another account from another address.
        assert await status(app, user="root", peer="192.0.2.1") == 200


async def test_ipv6_neighbours_are_slowed_down_together(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        for number in range(Throttle.FREE):
            peer = f"2001:db8::{number + 1}"
            assert await status(app, user=f"u{number}", password="wrong", peer=peer) == 401
        assert await status(app, user="x", password="wrong", peer="2001:db8::ffff") == 429
        assert await status(app, user="x", password="wrong", peer="2001:db8:1::1") == 401


async def test_a_changed_password_counts_soon(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        assert await status(app, user="ann") == 200
        app.store.make(PutUser("ann", hash_password("new"), "reader"))
        with trio.fail_after(20):
            while await status(app, user="ann") == 200:
                await trio.lowlevel.checkpoint()
        assert await status(app, user="ann", password="new") == 200


# --- Tokens --------------------------------------------------------------------------------------


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def tokens(app: Web, **expires_at: int) -> dict[str, str]:
    """A token of each role."""
    secrets = {name: new_secret() for name in ("reader", "admin", "client", *expires_at)}
    for role, secret in secrets.items():
        client = "shop" if role == "client" else ""
        granted = role if role not in expires_at else "reader"
        ends = expires_at.get(role, 0)
        app.store.make(AddToken(secret_hash(secret), granted, client, "", ends))
    return secrets


async def test_a_token_lets_in_and_its_use_is_noted(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        known = tokens(app)
        for secret in known.values():
            for _ in range(2):
                assert await status(app, headers=bearer(secret), peer=ELSEWHERE) == 200
        assert await status(app, headers={"Authorization": f"bEARER  {known['reader']}"}) == 200
        assert await status(app, "/api/v1/users", headers=bearer(known["admin"])) == 200
        assert await status(app, "/api/v1/users", headers=bearer(known["reader"])) == 403
        assert await status(app, "/metrics", headers=bearer(known["client"]), peer=ELSEWHERE) == 403
        with app.store.reading() as connection:
            assert all(token.used_at for token in accounts.tokens(connection))


async def test_a_token_that_has_ended_or_was_removed(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        known = tokens(app, past=1, future=4_000_000_000_000_000)
        assert await status(app, headers=bearer(known["past"])) == 401
        assert await status(app, headers=bearer(known["future"])) == 200
        assert await status(app, headers=bearer(known["reader"])) == 200
        app.store.make(RemoveToken(1))
        with trio.fail_after(20):
            while await status(app, headers=bearer(known["reader"])) == 200:
                await trio.lowlevel.checkpoint()


async def test_tokens_are_no_passwords_and_passwords_no_tokens(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        secret = tokens(app)["reader"]
        assert await status(app, headers=bearer(PASSWORD)) == 401
        assert await status(app, user="ann", password=secret) == 401
        assert await status(app, user="1", password=secret) == 401
        assert await status(app, headers=bearer("")) == 401
        assert (
            await status(app, headers=bearer("ü\udcff".encode("utf-8", "replace").decode())) == 401
        )
        response = await app.get("/api/v1/status", headers=bearer("x"), peer=ELSEWHERE)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_guessing_tokens_is_slowed_down_but_a_right_one_is_not(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        secret = tokens(app)["reader"]
        for number in range(Throttle.FREE):
            assert await status(app, headers=bearer(f"x{number}"), peer=ELSEWHERE) == 401
        response = await app.get("/", headers=bearer("y"), peer=ELSEWHERE)
        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
        assert await status(app, user="ann", peer=ELSEWHERE) == 429
        assert await status(app, headers=bearer(secret), peer=ELSEWHERE) == 200


async def test_without_users_a_token_lets_others_in(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        secret = tokens(app)["reader"]
        assert await status(app, peer=ELSEWHERE) == 403
        assert await status(app, peer=ELSEWHERE, headers=bearer(secret)) == 200
        assert await status(app) == 200


async def test_who_is_slowed_down_stands_in_the_audit_once(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        for number in range(Throttle.FREE):
            assert (
                await status(app, user="ann", password="wrong", peer=f"2001:db8::{number}") == 401
            )
        for number in range(Throttle.FREE):
            assert await status(app, user=f"my password {number}", peer=ELSEWHERE) == 401
        with app.store.reading() as connection:
            (row,) = [one for one in audit.rows(connection) if one.action == "failed log-ins"]
    assert (row.who, row.address, row.target) == ("nobody", "2001:db8::", "ann")


async def test_a_damaged_hash_lets_nobody_in(tmp_path: Path) -> None:
    with web(tmp_path, users=[UserRow("ann", "not a hash", "admin", "")]) as app:
        assert await status(app, user="ann") == 401
