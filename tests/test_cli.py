"""The command line: what each command prints, refuses and ends with."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import pytest
from click.testing import CliRunner, Result

from pda.cli import main
from pda.store import accounts, audit
from pda.store.accounts import UserRow
from pda.store.database import Connection, find_key, open_reader
from tests.running import PDA, SOURCE, Running
from tests.support import Store, attempt, commands, line, message

Pda = Callable[..., Result]
_T = TypeVar("_T")


@pytest.fixture
def pda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pda:
    """Runs a command in this process, on a database of the test's own."""
    for name in [name for name in os.environ if name.startswith(("PDA_", "CREDENTIALS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PDA_STORE_PATH", str(tmp_path / "pda.db"))
    monkeypatch.setenv("PDA_STORE_KEY_FILE", str(tmp_path / "pda.key"))
    monkeypatch.setattr("pda.config.reading.DEFAULT_FILE", tmp_path / "no.toml")
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)

    def run(*arguments: str, given: bytes = b"", status: int = 0) -> Result:
        done = CliRunner().invoke(main, arguments, input=given)
        assert done.exit_code == status, (done.output, done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        if status and status != 2:
            assert done.stderr.strip()
            assert "Traceback" not in done.stderr
        return done

    return run


COMMANDS = dict(commands(main))


@pytest.mark.parametrize("way", [(), *COMMANDS], ids=" ".join)
def test_help_says_what_it_does_with_an_example(pda: Pda, way: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        text = pda(*way, option).stdout
        example = text.partition("Example: ")[2].partition("\n")[0]
        assert " ".join(["pda", *way]) in example


@pytest.mark.parametrize("way", COMMANDS, ids=" ".join)
def test_every_example_is_understood(way: tuple[str, ...]) -> None:
    """By click, up to where the command would begin its work."""
    command = COMMANDS[way]
    example = (command.help or "").partition("Example: ")[2].partition("\n")[0]
    arguments = shlex.split(example.rpartition("pda ")[2])[len(way) :]
    with click.Context(command) as context:
        command.parse_args(context, arguments)


def test_wrong_arguments(pda: Pda) -> None:
    for arguments in (["x"], ["query"], ["query", "x"], ["query", "attempts", "--limit", "0"]):
        assert "Usage: " in pda(*arguments, status=2).stderr


def test_settings_that_cannot_be_used(pda: Pda, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[store]\nreaders = 0\n[log]\nlevel = 'x'\n")
    for command in (["serve"], ["backfill"], ["query", "attempts"], ["status"]):
        told = pda("--config", str(tmp_path / "bad.toml"), *command, status=1).stderr
        assert "store.readers: must be" in told
        assert "log.level: Invalid" in told
    assert "cannot be read" in pda("--config", "/nonexistent", "status", status=1).stderr
    assert "cannot be read" in pda("serve", "--config", "/nonexistent", status=1).stderr


# --- pda parse -----------------------------------------------------------------------------------

PARSED: list[tuple[bytes, dict[str, object]]] = [
    (
        b"2026-03-10T10:00:00.123456+01:00 mx1 postfix/submission/smtp[42]: 4jXPlN1VQlzJbSD:"
        b" to=<a@x.example>, orig_to=<b>, relay=mx.x.example[192.0.2.1]:25, conn_use=2,"
        b" delay=1.5, delays=0.1/0/0.4/1, dsn=4.7.1, status=deferred (host said: \xff 450)",
        {
            "timestamp": "2026-03-10T09:00:00.123456Z", "hostname": "mx1",
            "syslog_name": "postfix/submission", "program": "smtp", "procid": 42,
            "kind": "delivery", "queue_id": "4jXPlN1VQlzJbSD", "recipient": "a@x.example",
            "orig_to": "b", "relay": "mx.x.example[192.0.2.1]:25", "conn_use": 2, "delay": 1.5,
            "delays": [0.1, 0, 0.4, 1], "dsn": "4.7.1", "status": "deferred",
            "reason": "host said: \\xff 450",
        },
    ),
    (line("ABCDEF12: message-id=<1@x>"), {"kind": "message-id", "message_id": "1@x", "message_id_raw": "<1@x>"}),
    (line("ABCDEF12: info: header client-id: shop from x[192.0.2.9]; from=<a@b>"),
     {"kind": "header-info", "header_name": "client-id", "header_value": "shop",
      "client_host": "x", "client_ip": "192.0.2.9", "sender": "a@b"}),
    (line("ABCDEF12: from=<a@b>, size=5, nrcpt=2 (queue active)", program="qmgr"),
     {"kind": "qmgr-from", "sender": "a@b", "size": 5, "nrcpt": 2}),
    (line("ABCDEF12: removed", program="qmgr"), {"kind": "removed", "queue_id": "ABCDEF12"}),
    (line("ABCDEF12: from=<>, status=expired, returned to sender", program="qmgr"),
     {"kind": "expired", "sender": "", "status": "expired"}),
    (line("ABCDEF12: sender non-delivery notification: 123456AB", program="bounce"),
     {"kind": "notification", "notification_queue_id": "123456AB"}),
    (line("ABCDEF12: client=x[192.0.2.9], sasl_username=u, orig_queue_id=AAAAAAA1", program="smtpd"),
     {"kind": "smtpd-client", "client_host": "x", "client_ip": "192.0.2.9",
      "sasl_username": "u", "orig_queue_id": "AAAAAAA1"}),
    (line("connect from x[192.0.2.9]", program="smtpd"), {"kind": "ignored"}),
    (line("something new"), {"kind": "unknown"}),
    (b"2026-03-10T10:00:00Z mx1 sshd[1]: hello", {"kind": "ignored", "program": "sshd"}),
    (b"2026-03-10T10:00:00Z mx1 postfix/smtp[1]: message repeated 3 times: [ ABCDEF12: removed]",
     {"kind": "removed", "repeat": 3}),
    (b"", {"kind": "unknown", "line": ""}),
    (b"junk", {"kind": "unknown", "line": "junk"}),
    (b"\r", {"kind": "unknown"}),
    (b"a\0b\xff\xfe\xed\xa0\x80", {"kind": "unknown", "line": "a\0b\\xff\\xfe\\xed\\xa0\\x80"}),
    (b"\x1b[2J\xc2\x9b2J\xe2\x80\xa8", {"kind": "unknown", "line": "\x1b[2J\x9b2J\u2028"}),
    (b"9999-12-31T23:59:59-14:00 mx postfix/smtp[1]: x", {"kind": "unknown"}),
    (b"0001-01-01T00:00:00+14:00 mx postfix/smtp[1]: x", {"kind": "unknown"}),
    (b"x" * 100_000, {"kind": "unknown"}),
]  # fmt: skip


def test_parse_prints_one_object_for_each_line(pda: Pda) -> None:
    done = pda("parse", given=b"\n".join(text for text, _ in PARSED) + b"\n")
    printed = done.stdout_bytes.split(b"\n")
    assert printed.pop() == b""
    assert len(printed) == len(PARSED)
    for found, (text, expected) in zip(map(json.loads, printed), PARSED, strict=True):
        assert expected.items() <= found.items(), text
    assert json.loads(printed[0]) == PARSED[0][1]
    assert not any(mark in done.stdout_bytes for mark in (b"\x1b", b"\0", b"\xc2\x9b", b"\r"))


def test_parse_the_last_line_needs_no_line_end(pda: Pda) -> None:
    assert pda("parse", given=b"a\nb").stdout.count("\n") == 2
    assert pda("parse", given=b"").stdout == ""


def test_parse_cuts_lines_as_an_import_does(pda: Pda) -> None:
    """What a crash leaves between half a line and a whole one is no part of either."""
    nul = b"\0" * 4096
    given = line("ABCDEF12: to=<a@b>, rel") + nul + line("ABCDEF12: removed", program="qmgr")
    found = [json.loads(one) for one in pda("parse", given=nul + b"\n" + given).stdout.splitlines()]
    assert [(one["program"], one["kind"]) for one in found] == [
        ("smtp", "unknown"), ("qmgr", "removed"),
    ]  # fmt: skip


def test_parse_counts_by_program_and_kind(pda: Pda) -> None:
    header = "Sep  1 10:00:00 mx1 postfix"
    lines = [f"{header}/qmgr[1]: 4F5C61A2: removed"] * 3 + [
        f"{header}/smtp[1]: brand new thing"
    ] * 2
    done = pda("parse", "--counts", given="\n".join([*lines, "no header"]).encode())
    assert [json.loads(one) for one in done.stdout.splitlines()] == [
        {"program": "qmgr", "kind": "removed", "lines": 3},
        {"program": "smtp", "kind": "unknown", "lines": 2},
        {"program": "", "kind": "unknown", "lines": 1},
    ]


def test_parse_with_zone_hostname_and_file(pda: Pda, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"2026 Mar 10 10:00:00 postfix/qmgr[1]: ABCDEF12: removed\n")
    done = pda("parse", "--zone", "Asia/Tokyo", "--hostname", "mx9", str(tmp_path / "log"))
    found = json.loads(done.stdout)
    assert (found["timestamp"], found["hostname"]) == ("2026-03-10T01:00:00Z", "mx9")
    assert "'Mars' is no time zone" in pda("parse", "--zone", "Mars", status=2).stderr


# --- pda query -----------------------------------------------------------------------------------

LINES = [
    *message("4jXPlN1VQlzAAAA", message_id="<98494.1@shop>", deliveries=[
        attempt(queue_id="4jXPlN1VQlzAAAA", to="=cmd|x@example.org"),
        attempt("bounced", queue_id="4jXPlN1VQlzAAAA", to="b@example.org", dsn="5.1.1",
                reason="550 5.1.1 \x1b[2J\x9b [red]no such user"),
    ]),
    *message("4jXPlN1VQlzBBBB", message_id="<98494.2@news>", deliveries=[
        attempt(queue_id="4jXPlN1VQlzBBBB", to="b@example.org", at="2026-03-12T10:00:01.5+00:00"),
    ]),
]  # fmt: skip


@pytest.fixture
def stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(LINES)
    store.close()


FILTERS: list[tuple[list[str], int]] = [
    ([], 3),
    (["--client", "shop"], 2),
    (["--client", "nobody"], 0),
    (["--recipient", "b@example.org"], 2),
    (["--queue-id", "4jXPlN1VQlzBBBB"], 1),
    (["--message-id", "<98494.2@news>"], 1),
    (["--message-id", "98494.1"], 2),
    (["--from", "2026-03-11"], 1),
    (["--to", "2026-03-11T00:00:00Z"], 2),
    (["--from", "2026-03-10T10:00:01.5Z", "--to", "2026-03-10T10:00:01.5Z"], 2),
    (["--limit", "1"], 1),
    (["--client", "shop", "--recipient", "b@example.org"], 1),
    (["--client", "' OR 1=1 --"], 0),
]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("options", "count"), FILTERS)
def test_query_filters(pda: Pda, options: list[str], count: int) -> None:
    done = pda("query", "attempts", *options, "--format", "ndjson")
    assert len(done.stdout.splitlines()) == count


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("what", "count"), [("attempts", 3), ("outcomes", 3), ("messages", 2)])
def test_query_says_the_same_in_every_form(pda: Pda, what: str, count: int) -> None:
    ndjson = [
        json.loads(row) for row in pda("query", what, "--format", "ndjson").stdout.splitlines()
    ]
    rows = list(csv.DictReader(io.StringIO(pda("query", what, "--format", "csv").stdout)))
    table = pda("query", what)
    assert len(ndjson) == len(rows) == count
    assert table.stderr == f"{count} rows\n"
    for one, row in zip(ndjson, rows, strict=True):
        assert list(one) == list(row)
        assert one["queue_id"] == row["queue_id"]
        assert one["queue_id"] in table.stdout
        assert one["client_id"] == row["client_id"]


@pytest.mark.usefixtures("stored")
def test_what_stood_in_the_log_is_harmless(pda: Pda) -> None:
    for form in ("table", "csv", "ndjson"):
        out = pda("query", "attempts", "--format", form).stdout
        assert "\x1b" not in out
        assert "\x9b" not in out
        assert "[red]no such user" in out
    rows = csv.DictReader(io.StringIO(pda("query", "attempts", "--format", "csv").stdout))
    assert {row["recipient"] for row in rows} == {"'=cmd|x@example.org", "b@example.org"}


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "9" * 30, "0001-01-01T00:00+14:00"])
def test_query_times_that_are_none(pda: Pda, text: str) -> None:
    assert "is no time" in pda("query", "attempts", "--from", text, status=2).stderr


def test_query_without_a_database(pda: Pda, tmp_path: Path) -> None:
    done = pda("query", "attempts", status=1)
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("stored")
def test_query_with_a_wrong_key(pda: Pda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDA_STORE_KEY", "00" * 32)
    assert "made with another key" in pda("query", "attempts", status=1).stderr
    monkeypatch.setenv("PDA_STORE_KEY", "x")
    assert "holds no database key" in pda("query", "attempts", status=1).stderr


# --- pda key, pda user, pda status ---------------------------------------------------------------


def test_key_new(pda: Pda, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "new.key"
    assert pda("key", "new", str(path)).stdout == f"a new key is in {path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_text()
    assert len(bytes.fromhex(content.strip())) == 32
    assert "is never overwritten" in pda("key", "new", str(path), status=1).stderr
    assert path.read_text() == content
    assert "cannot be written" in pda("key", "new", "/proc/x/key", status=1).stderr
    pda("key", "new", status=2)


def asked_of(folder: Path, question: Callable[[Connection], list[_T]]) -> list[_T]:
    database = folder / "pda.db"
    connection = open_reader(database, find_key(database, folder / "pda.key"))
    try:
        return question(connection)
    finally:
        connection.close()


def users(folder: Path) -> list[UserRow]:
    return asked_of(folder, accounts.users)


def test_user_add(pda: Pda, tmp_path: Path) -> None:
    add = ("user", "add", "--password-stdin")
    assert pda(*add, "ann", given="žluť\n".encode()).stdout == "ann may log in as reader\n"
    pda(*add, "bob", "--role", "client", "--client", "shop", given=b"x")
    pda(*add, "ann", "--role", "admin", given=b"y\n")
    ann, bob = users(tmp_path)
    assert (ann.name, ann.role, ann.client_id) == ("ann", "admin", "")
    assert (bob.name, bob.role, bob.client_id) == ("bob", "client", "shop")
    assert ann.password_hash.startswith("$argon2id$")


def test_user_remove(pda: Pda, tmp_path: Path) -> None:
    pda("user", "add", "ann", "--password-stdin", given=b"x\n")
    done = pda("user", "remove", "ann")
    assert done.stdout == "ann may not log in any more\n"
    assert "served without log-in" in done.stderr
    assert users(tmp_path) == []
    assert "there is no user 'ann'" in pda("user", "remove", "ann", status=1).stderr


def test_lists_of_users_and_tokens(pda: Pda, tmp_path: Path) -> None:
    pda(
        "user", "add", "ann", "--role", "client", "--client", "shop", "--password-stdin", given=b"x"
    )
    out = pda("user", "list").stdout
    assert "ann" in out
    assert "shop" in out
    assert "argon2" not in out
    secret = pda("token", "new", "--client", "shop", "--note", "bounces", "--days", "9").stdout
    assert secret.startswith("pda_")
    assert len(secret) == 48
    pda("token", "new", "--role", "admin")
    (one, two) = asked_of(tmp_path, accounts.tokens)
    assert one.hash == accounts.secret_hash(secret.strip())
    assert (one.role, one.client_id, one.note) == ("client", "shop", "bounces")
    assert one.expires_at - one.created_at == pytest.approx(9 * 86_400e6, abs=60e6)
    assert (two.role, two.client_id, two.expires_at) == ("admin", "", 0)
    out = pda("token", "list").stdout
    assert "bounces" in out
    assert secret.strip() not in out
    assert pda("token", "remove", "1").stdout == "token 1 is of no use any more\n"
    assert "there is no token 1" in pda("token", "remove", "1", status=1).stderr
    assert [one.id for one in asked_of(tmp_path, accounts.tokens)] == [2]
    pda("token", "new", status=2)
    pda("token", "new", "--client", "shop", "--role", "reader", status=2)


def test_user_add_asks_for_the_password_twice(pda: Pda, tmp_path: Path) -> None:
    done = pda("user", "add", "ann", given=b"secret\nsecret\n")
    assert "secret" not in done.output
    assert [one.name for one in users(tmp_path)] == ["ann"]
    pda("user", "add", "bob", given=b"secret\nother\n", status=1)
    assert [one.name for one in users(tmp_path)] == ["ann"]


@pytest.mark.parametrize(
    ("arguments", "given", "sentence"),
    [
        (["ann", "--role", "client"], b"x\n", "role client needs --client"),
        (["ann", "--client", "shop"], b"x\n", "role client needs --client"),
        (["ann", "--role", "admin", "--client", "shop"], b"x\n", "role client needs --client"),
        (["ann", "--role", "root"], b"x\n", "Invalid value for '--role'"),
        (["a:b"], b"x\n", "has neither colons nor"),
        ([""], b"x\n", "has neither colons nor"),
        (["a\n"], b"x\n", "has neither colons nor"),
        (["ann"], b"\n", "the password is empty"),
        (["ann"], b"", "the password is empty"),
        (["ann"], b"\xff\n", "the password is not UTF-8"),
    ],
)
def test_users_that_cannot_be(
    pda: Pda, tmp_path: Path, arguments: list[str], given: bytes, sentence: str
) -> None:
    done = pda("user", "add", "--password-stdin", *arguments, given=given, status=2)
    assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_status_without_a_service(pda: Pda, tmp_path: Path) -> None:
    told = f"no service runs on {tmp_path}/pda.db\n"
    assert pda("status", status=3).stderr == told
    assert pda("status", "--json", status=3).stderr == told


def test_with_a_service(pda: Pda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same commands, whose work the service does now."""
    (tmp_path / "mail.log").write_bytes(b"\n".join(LINES))
    (tmp_path / "cut.gz").write_bytes(b"\x1f\x8b\x08")
    monkeypatch.delenv("PDA_STORE_KEY_FILE")
    with Running(tmp_path) as service:
        files = [str(tmp_path / name) for name in ("absent", "cut.gz", "mail.log")]
        done = pda("backfill", *files, status=1)
        assert "absent cannot be read" in done.stderr
        assert "cut.gz is damaged or incomplete" in done.stderr
        assert len(service.attempts()) == 3
        out = pda("status").stdout
        assert "running since" in out
        assert "tcp 127.0.0.1:" in out
        values = json.loads(pda("status", "--json").stdout)
        assert sorted(one["lines"] for one in values["imports"]) == [0, len(LINES)]
        pda("user", "add", "ann", "--password-stdin", given=b"x\n")
        assert [one.name for one in service.ask(lambda one, _: accounts.users(one))] == ["ann"]
        pda("user", "remove", "ann")
        assert "there is no user 'ann'" in pda("user", "remove", "ann", status=1).stderr
        told = service.ask(lambda one, _: audit.rows(one))
        assert [(row.action, row.who) for row in told] == [
            ("remove user", f"uid {os.getuid()}"),
            ("add user", f"uid {os.getuid()}"),
        ]
        assert "another process writes" in pda("serve", status=1).stderr
        assert service.stop() == 0
    pda("status", status=3)


# --- What is loaded --------------------------------------------------------------------------------

SLOW = {
    "trio",
    "quart",
    "hypercorn",
    "prometheus_client",
    "argon2",
    "lxml",
    "re2",
    "rich",
    "sqlite_utils",
}
MAY_LOAD = {"pda.cli": set[str](), "pda.rooms": {"trio", "lxml", "re2"}}


@pytest.mark.parametrize(("module", "needed"), MAY_LOAD.items())
def test_a_command_loads_only_what_it_needs(module: str, needed: set[str]) -> None:
    """`pda.cli` is what `parse`, `query` and `status` begin with, `pda.rooms` an import."""
    shown = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", shown], env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) & SLOW <= needed


# --- As a process --------------------------------------------------------------------------------


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"junk\n" * 100_000)
    with (
        (tmp_path / "log").open("rb") as log,
        (tmp_path / "told").open("wb") as told,
        subprocess.Popen(
            [*PDA, "parse"], env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdin=log, stdout=subprocess.PIPE, stderr=told,
        ) as process,
    ):  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == b'{"kind":"unknown","line":"junk"}\n'
        process.stdout.close()
    assert (tmp_path / "told").read_bytes() == b""
