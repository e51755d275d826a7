"""What every request passes first: host names, other sites, what is open to whom."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from pda.web.ports import Settings
from tests.web.support import PASSWORD, Web, basic, user, web

ELSEWHERE = "198.51.100.7"
RELOAD = "/api/v1/rules/reload"
OWN = "http://localhost"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": OWN}, 403),
        ({"Origin": OWN}, 200),
        ({"Origin": "https://localhost"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_changes_are_not_asked_for_from_other_sites(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    with web(tmp_path) as app:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            response = await app.get(
                RELOAD, method=method, headers={"Host": "localhost", **headers}
            )
            allowed = status if method == "POST" or status == 403 else 405
            assert response.status_code == allowed, method
        assert app.service.asked == (["reload"] if status == 200 else [])


async def test_nothing_changes_by_get(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        changing = [
            rule.rule for rule in app.app.url_map.iter_rules()
            if {"POST", "PUT", "DELETE"} & (rule.methods or set())
            and "GET" in (rule.methods or set()) and not rule.rule.startswith("/agent-")
        ]  # fmt: skip
        assert changing == []
        # The original's actions are the exception, which has to be switched on.
        assert (await app.get("/agent-reindex")).status_code == 403
        assert app.service.asked == []


async def status(app: Web, path: str, peer: str = ELSEWHERE, **headers: str) -> int:
    return (await app.get(path, peer=peer, headers=headers)).status_code


async def test_where_hosts_are_named_no_other_is_served(tmp_path: Path) -> None:
    settings = Settings(allowed_hosts=("pda.example.net",))
    logged_in = {"Authorization": basic("ann", PASSWORD)}
    with web(tmp_path, settings=settings, users=[user("ann")]) as app:
        for host, code in (("pda.example.net", 200), ("192.0.2.1", 200), ("evil.example", 421)):
            assert await status(app, "/agent-status", **logged_in, Host=host) == code
        assert await status(app, "/static/pda.css", Host="evil.example") == 421
        assert await status(app, "/healthz", Host="evil.example") == 200


async def test_who_sees_metrics_and_health_can_be_chosen(tmp_path: Path) -> None:
    settings = Settings(metrics=("198.51.100.0/24",), healthz=("127.0.0.1",))
    with web(tmp_path, settings=settings, users=[user("ann")]) as app:
        assert await status(app, "/metrics") == 200
        assert await status(app, "/metrics", "::ffff:198.51.100.9") == 200
        assert await status(app, "/metrics", "127.0.0.1") == 401
        refused = await app.get("/healthz", peer=ELSEWHERE)
        assert (refused.status_code, refused.mimetype) == (401, "application/problem+json")
        assert await status(app, "/healthz", "127.0.0.1") == 200
        # An unnamed proxy asks for nobody knows whom.
        assert await status(app, "/metrics", **{"X-Forwarded-For": ELSEWHERE}) == 401
        assert await status(app, "/healthz", "127.0.0.1", Via="1.1 x") == 401
        # A stranger's name may point here, and its page may ask as if it were this machine.
        assert await status(app, "/metrics", Host="evil.example") == 401
        assert (await app.get("/healthz", user="ann", peer=ELSEWHERE)).status_code == 200


async def test_a_named_proxy_says_who_sees_the_metrics(tmp_path: Path) -> None:
    settings = Settings(metrics=("198.51.100.0/24",), proxies=("127.0.0.1",))
    with web(tmp_path, settings=settings, users=[user("ann")]) as app:
        for peer, code in ((ELSEWHERE, 200), ("203.0.113.1", 401), ("rubbish", 401)):
            assert await status(app, "/metrics", "127.0.0.1", **{"X-Forwarded-For": peer}) == code


async def test_no_more_requests_at_a_time_than_are_allowed(tmp_path: Path) -> None:
    settings = Settings(most_requests=1)
    with web(tmp_path, settings=settings, users=[user("ann")]) as app:
        codes: list[tuple[int, str | None]] = []

        async def ask() -> None:
            response = await app.get("/api/v1/status", user="ann")
            codes.append((response.status_code, response.headers.get("Retry-After")))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert sorted(codes, key=str) == [(200, None), (503, "1"), (503, "1")]
        await ask()
        assert codes[-1] == (200, None)


async def test_much_to_do_is_no_illness(tmp_path: Path) -> None:
    with web(tmp_path, settings=Settings(most_requests=0)) as app:
        assert await status(app, "/api/v1/status", "127.0.0.1") == 503
        assert await status(app, "/healthz") == 200
