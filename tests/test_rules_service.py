"""New rules for the running service, and the commands that prove a list."""

from __future__ import annotations

import io
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from pda import config
from pda.cli_rules import classified, lines
from pda.config import ConfigError
from pda.rooms import open_rooms
from pda.service import Service
from pda.store import audit
from tests.running import Running, eventually
from tests.store.test_rejudge import failing
from tests.support import RULES, SHARED, needs_shared
from tests.test_rulebook import AUTHORIZATION, BAD, Handler, serving

FIRST = b"""<bounces>
<regex id="first" category="mailbox-full" on="reply"><or>no such user</or></regex>
</bounces>"""
SECOND = FIRST.replace(b"first", b"second").replace(b"mailbox-full", b"invalid-recipient")
LINES = [line for n in range(1200) for line in failing(f"4jXPlN1VQlz{n:04}")]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.xml"
    path.write_bytes(FIRST)
    return path


@pytest.fixture
def service(tmp_path: Path, rules: Path) -> Iterator[Running]:
    """A service with failures that were judged by the first list."""
    with Running(tmp_path, PDA_RULES_FILE=str(rules), no_proxy="127.0.0.1") as running:
        running.send(failing("4jXPlN1VQlzJbSD"))
        eventually(running.outcomes, lambda rows: len(rows) == 4)
        assert verdicts(running) == {"first"}
        yield running


def verdicts(service: Running) -> set[str]:
    """The rules that decided about attempts or outcomes."""
    found = {row.rule for row in service.attempts()} | {row.rule for row in service.outcomes()}
    return {rule for rule in found if rule}


def judged(service: Running) -> bool:
    found = service.status()["rules"]
    return bool(found["judged_at"]) and found["entries_left"] == 0


def post(service: Running, path: str, data: bytes = b"") -> dict[str, object]:
    request = urllib.request.Request(service.status()["http"][0] + path, data, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def metrics(service: Running) -> dict[str, float]:
    url = service.status()["http"][0] + "/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    pairs = [line.split() for line in text.splitlines() if line.startswith("pda_rules")]
    return {name: float(value) for name, value in pairs}


@pytest.mark.parametrize("way", ["signal", "command", "api"])
def test_a_reload_reaches_history(service: Running, rules: Path, way: str) -> None:
    before = {row.recipient: row.change for row in service.outcomes()}
    rules.write_bytes(SECOND)
    if way == "signal":
        assert service.process is not None
        service.process.send_signal(signal.SIGHUP)
    elif way == "command":
        done = service.pda("rules", "reload")
        assert done.returncode == 0, done.stderr
        assert b"1 rules are in force" in done.stdout
    else:
        post(service, "/api/v1/rules/reload")
    eventually(lambda: verdicts(service), lambda found: found == {"second"})
    after = {row.recipient: row for row in service.outcomes()}
    changed = [name for name in before if after[name].change != before[name]]
    assert [after[name].state for name in changed] == ["hard-bounce"]
    eventually(lambda: judged(service), bool)
    service.send(failing("4jXPlN1VQlzJbSF"))
    eventually(service.outcomes, lambda rows: len(rows) == 8)
    assert verdicts(service) == {"second"}
    assert b"REFUSED" not in service.pda("status").stdout
    who = {"signal": "pda", "command": f"uid {os.getuid()}", "api": "this machine"}[way]
    (told,) = eventually(lambda: service.ask(lambda one, _: audit.rows(one)), bool)
    assert (told.who, told.action, told.detail) == (who, "reload rules", "1 rules")


def test_a_bad_list_changes_nothing_and_shows(service: Running, rules: Path) -> None:
    rules.write_bytes(BAD)
    done = service.pda("rules", "reload")
    assert done.returncode == 1
    assert b"line 2: RE2 refuses" in done.stderr
    with pytest.raises(urllib.error.HTTPError, match="422") as caught:
        post(service, "/api/v1/rules/reload")
    caught.value.close()
    assert b"REFUSED" in service.pda("status").stdout
    assert "line 2: RE2 refuses" in service.get("/api/v1/status")["rules"]["refused"]
    assert metrics(service)["pda_rules_refused"] == 1
    service.send(failing("4jXPlN1VQlzJbSF"))
    eventually(service.outcomes, lambda rows: len(rows) == 8)
    assert verdicts(service) == {"first"}
    rules.write_bytes(SECOND)
    assert service.pda("rules", "reload").returncode == 0
    assert service.get("/api/v1/status")["rules"]["refused"] == ""
    assert metrics(service)["pda_rules_refused"] == 0


def test_a_list_at_an_address(service: Running, tmp_path: Path) -> None:
    service.stop()
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    with serving(SECOND) as address:
        service.environment |= {
            "PDA_RULES_FILE": f"{address}/rules.xml",
            "PDA_RULES_USER": "rules",
            "PDA_RULES_PASSWORD_FILE": str(password),
        }
        service.start()
        # The list is another one than when history was judged last.
        eventually(lambda: verdicts(service), lambda found: found == {"second"})
        assert ("/rules.xml", AUTHORIZATION) in Handler.seen
        assert "secret" not in json.dumps(service.status())
    done = service.pda("rules", "reload")
    assert done.returncode == 1
    assert b"Connection refused" in done.stderr
    assert verdicts(service) == {"second"}
    service.stop()
    service.start()  # nobody is there now: the last good list goes on
    rules = service.status()["rules"]
    assert rules["source"].startswith("the last good list of http://127.0.0.1:")
    assert "Connection refused" in rules["refused"]
    assert verdicts(service) == {"second"}


async def test_an_address_is_asked_until_it_has_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Handler, "seen", [])
    store = config.StoreSettings(path=str(tmp_path / "pda.db"))
    with serving(BAD) as address:
        rules = config.RuleSettings(file=f"{address}/list")
        with open_rooms(config.Settings(store=store, rules=rules)) as rooms:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Service(rooms)._fetch_rules)
                # The start's, and two that did not help.
                while len(Handler.seen) < 3:  # noqa: ASYNC110 a thread of the server counts
                    await trio.sleep(60)
                assert rooms.rulebook.is_substitute
                Handler.xml = SECOND
            assert [rule.id for rule in rooms.rulebook.rules.rules] == ["second"]
            assert rooms.pipeline.rules is rooms.rulebook.rules
            assert not rooms.rulebook.refused


def test_history_goes_on_where_a_killed_service_left_it(service: Running, rules: Path) -> None:
    service.send(LINES)
    eventually(lambda: len(service.outcomes()), lambda n: n == 4 + 4 * 1200)
    rules.write_bytes(SECOND)
    assert service.pda("rules", "reload").returncode == 0
    service.stop(signal.SIGKILL)
    service.start()
    eventually(lambda: judged(service), bool)
    assert verdicts(service) == {"second"}
    assert service.status()["rules"]["changed"] == 1201


def test_lines_that_come_while_history_is_judged(service: Running, rules: Path) -> None:
    service.send(LINES[: len(LINES) // 2])
    rules.write_bytes(SECOND)
    assert service.pda("rules", "reload").returncode == 0
    service.send(LINES[len(LINES) // 2 :])
    eventually(lambda: len(service.outcomes()), lambda n: n == 4 + 4 * 1200)
    eventually(lambda: judged(service), bool)
    assert verdicts(service) == {"second"}


def test_an_import_without_a_service_judges_history_too(
    service: Running, tmp_path: Path, rules: Path
) -> None:
    service.stop()
    rules.write_bytes(SECOND)
    log = tmp_path / "mail.log"
    log.write_bytes(b"\n".join(failing("4jXPlN1VQlzJbSF")) + b"\n")
    assert service.pda("backfill", str(log)).returncode == 0
    assert len(service.outcomes()) == 8
    assert verdicts(service) == {"second"}


# --- Commands that need no service ---------------------------------------------------------------


def test_reload_without_a_service(tmp_path: Path) -> None:
    assert Running(tmp_path).pda("rules", "reload").returncode == 3


def test_check_lists_every_mistake(tmp_path: Path) -> None:
    path = tmp_path / "rules.xml"
    path.write_bytes(BAD.replace(b"</bounces>", b'<regex id="a"/>\n</bounces>'))
    done = Running(tmp_path).pda("rules", "check", str(path))
    assert done.returncode == 1
    told = done.stdout.decode().splitlines()
    assert [line.removeprefix(f"{path}:").partition(":")[0] for line in told] == sorted(
        line.removeprefix(f"{path}:").partition(":")[0] for line in told
    )
    assert any("RE2 refuses" in line for line in told)
    assert any("already used in line 2" in line for line in told)
    path.write_bytes(FIRST)
    assert Running(tmp_path).pda("rules", "check", str(path)).returncode == 0
    missing = Running(tmp_path).pda("rules", "check", "/nonexistent")
    assert missing.returncode == 1
    assert b"/nonexistent cannot be read" in missing.stderr


def test_stats_try_and_unclassified(tmp_path: Path) -> None:
    running = Running(tmp_path)
    log = tmp_path / "mail.log"
    log.write_bytes(b"\n".join(failing("4jXPlN1VQlzJbSF")) + b"\n")
    assert running.pda("backfill", str(log)).returncode == 0
    before = running.outcomes()
    stats = [
        json.loads(line) for line in running.pda("rules", "stats", "--json").stdout.splitlines()
    ]
    assert sum(one["hits"] for one in stats) == 4
    assert stats[0]["last_at"] is None
    assert b"554 gibberish" in running.pda("rules", "stats").stdout
    (one,) = map(json.loads, running.pda("rules", "unclassified", "--json").stdout.splitlines())
    assert (one["text"], one["count"]) == ("gibberish", 1)
    shown = running.pda("rules", "unclassified").stdout.decode()
    assert "<or>^gibberish$</or>" in shown
    (tmp_path / "new.xml").write_bytes(FIRST)
    found = json.loads(running.pda("rules", "try", str(tmp_path / "new.xml"), "--json").stdout)
    assert (found["failures"], found["unchanged"]) == (4, 1)
    shown = running.pda("rules", "try", str(tmp_path / "new.xml")).stdout.decode()
    assert "1: hard invalid-recipient → soft mailbox-full\n    550 5.1.1 No such user" in shown
    assert running.outcomes() == before
    (tmp_path / "new.xml").write_bytes(BAD)
    done = running.pda("rules", "try", str(tmp_path / "new.xml"))
    assert done.returncode == 1
    assert b"line 2: RE2 refuses" in done.stderr


def test_classify_explains(tmp_path: Path) -> None:
    done = Running(tmp_path).pda(
        "classify", "550 5.1.1 <ann@example.org>: No such user", "--command", "RCPT TO"
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "verdict:   hard, invalid-recipient: by rule" in text
    assert "ADDR no such user" in text
    assert "stage RCPT" in text
    assert Running(tmp_path).pda("classify").returncode == 2
    assert Running(tmp_path).pda("classify", "x", "--ndjson").returncode == 2


def test_classify_objects(tmp_path: Path) -> None:
    asked: list[dict[str, object]] = [
        {"id": 7, "reason": "550 5.1.1 No such user", "dsn": "5.1.1", "status": "bounced"},
        {"reason": "550 5.1.1 No such user", "status": "deferred", "relay": None},
        {"reason": "554 gibberish"},
        {},
    ]
    data = b"\n".join(json.dumps(one).encode() for one in asked)
    done = Running(tmp_path).pda("classify", "--ndjson", stdin=data)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    for before, after in zip(asked, found, strict=True):
        assert {name: after[name] for name in before} == before
        assert after.keys() - before.keys() == {"type", "category", "rule"}
    assert [one["type"] for one in found] == ["hard", "soft", "undetermined", "undetermined"]
    assert found[0]["rule"] == found[1]["rule"]


def test_what_comes_before_a_bad_object_is_classified(tmp_path: Path) -> None:
    done = Running(tmp_path).pda(
        "classify", "--ndjson", stdin=b'{"reason": "x"}\n\n{"reason": 1}\n'
    )
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert b"standard input, line 3: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_objects_are_answered_as_they_come() -> None:
    """Nothing is read ahead of what has been answered."""
    read: list[int] = []

    class Slow(io.BytesIO):
        def read1(self, _: int | None = -1, /) -> bytes:
            read.append(len(read))
            return super().read1(18)

    answers = classified(RULES, lines(Slow(b'{"reason": "x1"}\n ' * 3)))
    for n in range(1, 4):
        assert b'"category"' in next(answers)
        assert len(read) == n


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="longer than"):
        list(lines(io.BytesIO(b"x" * (3 << 20))))


@needs_shared
def test_hits_on_the_real_log(tmp_path: Path) -> None:
    running = Running(tmp_path)
    real = SHARED / "original" / "real-mail.log.2.gz"
    assert running.pda("backfill", str(real)).returncode == 0
    stats = [
        json.loads(line) for line in running.pda("rules", "stats", "--json").stdout.splitlines()
    ]
    assert sum(one["hits"] for one in stats) == 8019 + 1225
