"""`pda backfill`: what it takes, prints and ends with; alone and beside the service."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pda.store.database import DatabaseError, StoreError
from tests.running import PDA, Running, eventually
from tests.support import attempt, line, message
from tests.test_cli import LINES, Pda, pda
from tools.simulator import Plan, Row, batches
from tools.simulator.rotation import Rotation

__all__ = ["pda"]  # the fixture


def test_backfill_imports_what_it_can(pda: Pda, tmp_path: Path) -> None:
    good = tmp_path / "mail.log"
    good.write_bytes(b"\n".join(LINES))
    (tmp_path / "folder").mkdir()
    done = pda("backfill", str(tmp_path / "absent"), str(good), str(tmp_path / "folder"), status=1)
    assert "absent cannot be read: No such file" in done.stderr
    assert f"{tmp_path}/folder is not a file" in done.stderr
    assert len(pda("query", "attempts", "--format", "ndjson").stdout.splitlines()) == 3
    assert str(len(LINES)) in done.stdout
    pda("backfill", str(good))
    assert len(pda("query", "attempts", "--format", "ndjson").stdout.splitlines()) == 3


def test_backfill_of_the_configured_files(
    pda: Pda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDA_BACKFILL_DIRECTORY", str(tmp_path))
    told = pda("backfill", status=1).stderr
    assert told == f"Error: there is no log to import: no file in {tmp_path} is named mail.log*\n"
    (tmp_path / "mail.log.1").write_bytes(b"\n".join(LINES))
    (tmp_path / "mail.log").write_bytes(LINES[0])
    out = pda("backfill").stdout
    assert out.index("mail.log.1") < out.rindex("mail.log ")


def test_backfill_within_a_budget_says_what_it_leaves_out(
    pda: Pda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDA_BACKFILL_MAX_BYTES", "10")  # two files of five
    paths = [tmp_path / f"mail.log.{n}" for n in (3, 2, 1)]
    for path in paths:
        path.write_bytes(LINES[0][:4] + b"\n")
    done = pda("backfill", *map(str, paths), status=1)
    assert "1 older files are left out: backfill.max_bytes" in done.stderr
    assert "mail.log.3" not in done.stdout


def stored(pda: Pda) -> list[dict[str, Any]]:
    out = pda("query", "attempts", "--format", "ndjson", "--limit", "100000").stdout
    return [json.loads(one) for one in out.splitlines()]


def told(out: str) -> list[dict[str, Any]]:
    """What `--json` printed."""
    files: list[dict[str, Any]] = json.loads(out)["files"]
    return files


def test_what_is_printed(pda: Pda, tmp_path: Path) -> None:
    unknown = line("4jXPlN1VQlzJbSD: something new", program="smtp")
    (tmp_path / "mail.log").write_bytes(b"\n".join([*LINES, unknown]) + b"\n")
    (row,) = [
        one for one in pda("backfill", str(tmp_path)).stdout.splitlines() if "/mail.log" in one
    ]
    attempts = len(stored(pda))
    numbers = [int(one) for one in row.split("│")[2:7]]
    assert numbers == [len(LINES) + 1, attempts, attempts, 0, 1]
    with (tmp_path / "mail.log").open("ab") as log:
        log.write(b"\n".join(LINES) + b"\n")
    (state,) = told(pda("backfill", "--json", str(tmp_path)).stdout)
    assert (state["lines"], state["attempts"], state["new"]) == (len(LINES), attempts, 0)
    assert (state["known"], state["error"], state["finished"]) == (attempts, "", True)
    assert "known already" in pda("backfill", str(tmp_path)).stdout
    (state,) = told(pda("backfill", "--again", "--json", str(tmp_path)).stdout)
    assert (state["lines"], state["new"]) == (2 * len(LINES) + 1, 0)


def test_standard_input(pda: Pda, tmp_path: Path) -> None:
    packed = gzip.compress(b"\n".join(LINES))
    log = tmp_path / "mail.log.1"
    log.write_bytes(attempt(queue_id="4jXPlN1VQl00001"))
    read, write = os.pipe()
    os.write(write, packed)
    os.close(write)
    stdin = os.dup(0)
    os.dup2(read, 0)
    try:
        files = told(pda("backfill", "--json", "-", str(log)).stdout)
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
        os.close(read)
    assert [(one["name"], one["lines"]) for one in files] == [
        (str(log), 1), ("standard input", len(LINES))
    ]  # fmt: skip
    assert len(stored(pda)) == 4


def test_zone_and_host(pda: Pda, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(attempt(at="Mar 10 10:00:01").replace(b" mx1 ", b" "))
    pda("backfill", "--zone", "Asia/Tokyo", "--host", "mx7.example", str(log))
    (row,) = stored(pda)
    assert row["host"] == "mx7"
    assert row["at"].endswith("-03-10T01:00:01Z")
    assert "no time zone" in pda("backfill", "--zone", "Mars", str(log), status=2).stderr


def test_years_old_logs(pda: Pda, tmp_path: Path) -> None:
    """The date in the name counts, then the time of the file; over New Year the order of lines."""
    for name, stamps, at in (
        ("mail.log-20190105.gz", ["Dec 30 10:00:00", "Jan  4 10:00:00"], "2026-01-01"),
        ("mail.log.3", ["Dec 31 10:00:00", "Jan  1 10:00:00"], "2022-01-02"),
    ):
        content = b"".join(
            attempt(queue_id=f"4jXPlN1VQl{len(name):03}{n:02}", at=stamp) + b"\n"
            for n, stamp in enumerate(stamps)
        )
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        seconds = datetime.fromisoformat(at).timestamp()
        os.utime(path, (seconds, seconds))
    pda("backfill", "--zone", "UTC", str(tmp_path / "mail.log*"))
    assert sorted(row["at"] for row in stored(pda)) == [
        "2018-12-30T10:00:00Z", "2019-01-04T10:00:00Z",
        "2021-12-31T10:00:00Z", "2022-01-01T10:00:00Z",
    ]  # fmt: skip


def test_rotated_logs_tell_the_truth(pda: Pda, tmp_path: Path) -> None:
    """Without years and zones, in several files, packed: every outcome as it was."""
    logs = tmp_path / "logs"
    logs.mkdir()
    rows: list[Row] = []
    begin = datetime(2024, 12, 28, tzinfo=UTC)
    plan = Plan(messages=400, format="rfc3164", hosts=("mx1", "mx2"), start=begin)
    rotation = Rotation(logs / "mail.log", 700, packing="xz")
    for moments, some in batches(plan, rows.append):
        rotation.write(moments, some)
    rotation.close()
    files = told(pda("backfill", "--zone", "UTC", "--json", str(logs)).stdout)
    assert len(files) > 4
    truth = {
        (row["host"], row["queue_id"], one["recipient"]): (one["outcome"], one["first_at"] // 10**6)
        for row in rows
        for one in row["recipients"]
        if one["first_at"] is not None
    }
    out = pda("query", "outcomes", "--format", "ndjson", "--limit", "100000").stdout
    found = {
        (one["host"], one["queue_id"], one["recipient"]): (one["state"], seconds(one["first_at"]))
        for one in map(json.loads, out.splitlines())
    }
    assert {key: found.get(key) for key in truth} == truth


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_since_and_until(pda: Pda, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        path = tmp_path / f"mail.log.{4 - n}"
        at = f"2026-03-0{n}T10:00:00+00:00"
        path.write_bytes(attempt(queue_id=f"4jXPlN1VQl0000{n}", at=at) + b"\n")
        seconds = datetime.fromisoformat(at).timestamp()
        os.utime(path, (seconds, seconds))
    everything = str(tmp_path / "mail.log*")
    limits = ("--since", "2026-03-02T00:00:00Z", "--until", "2026-03-02T23:00:00Z")
    files = told(pda("backfill", "--json", *limits, everything).stdout)
    assert [(one["note"], one["new"]) for one in files] == [("older", 0), ("", 1), ("", 0)]
    assert [row["at"][:10] for row in stored(pda)] == ["2026-03-02"]
    files = told(pda("backfill", "--json", everything).stdout)
    assert [(one["note"], one["new"]) for one in files] == [("", 1), ("known already", 0), ("", 1)]
    assert "no time such as" in pda("backfill", "--since", "soon", status=2).stderr


def test_the_newest_within_a_budget(pda: Pda, tmp_path: Path) -> None:
    for n in (3, 2, 1):
        (tmp_path / f"mail.log.{n}").write_bytes(attempt(queue_id=f"4jXPlN1VQl0000{n}") + b"\n")
    size = str((tmp_path / "mail.log.1").stat().st_size * 2)
    done = pda("backfill", "--json", "--max-bytes", size, str(tmp_path))
    assert [one["name"][-1] for one in told(done.stdout)] == ["2", "1"]
    assert "1 older files are left out" in done.stderr
    assert [one["new"] for one in told(pda("backfill", "--json", str(tmp_path)).stdout)] == [
        1,
        0,
        0,
    ]


def test_a_dry_run_says_what_is_done_already(pda: Pda, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "mail.log.1").write_bytes(b"\n".join(LINES) + b"\n")
    names = [str(logs / "absent"), str(logs)]
    out = pda("backfill", "--dry-run", "--json", *names, status=1).stdout
    assert [(one["name"].rpartition("/")[2], one["todo"]) for one in told(out)] == [
        ("absent", f"{logs}/absent cannot be read: No such file or directory"),
        ("mail.log.1", "read"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]  # no database was made
    pda("backfill", str(logs))
    (logs / "mail.log.3.gz").write_bytes(gzip.compress(b"\n".join(LINES) + b"\n"))
    (logs / "mail.log.2").write_bytes((logs / "mail.log.1").read_bytes() + b"more\n")
    (logs / "mail.log").write_bytes(b"other\n")
    files = told(pda("backfill", "--dry-run", "--json", str(logs)).stdout)
    behind = f"read what follows octet {(logs / 'mail.log.1').stat().st_size}, unpacked"
    assert [one["todo"] for one in files] == [
        behind,
        "read its last 5 octets",
        "known already",
        "read",
    ]
    table = pda("backfill", "--dry-run", str(logs)).stdout
    assert table.index("mail.log.3.gz") < table.index("mail.log.2") < table.index("known already")


DAMAGED = {
    "cut.gz": gzip.compress(b"\n".join(LINES) * 50)[:-20],
    "junk.gz": gzip.compress(b"\n".join(LINES)) + b"junk" * 9,
    "bomb.gz": gzip.compress(b"\0" * 40_000_000),
    "image": b"\x89PNG\r\n" + bytes(range(256)) * 40,
    "long": b"x" * 1_000_000 + b"\n" + b"\n".join(LINES),
}


def test_each_damaged_file_has_its_sentence_and_the_others_are_read(
    pda: Pda, tmp_path: Path
) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    for name, content in DAMAGED.items():
        (folder / name).write_bytes(content)
    (folder / "whole").write_bytes(attempt(queue_id="4jXPlN1VQl00009"))
    done = pda("backfill", "--json", str(folder / "*"), status=1)
    errors = {one["name"].rpartition("/")[2]: one["error"] for one in told(done.stdout)}
    assert errors.pop("whole") == errors.pop("long") == ""
    assert "is damaged or incomplete (it ends in the middle)" in errors["cut.gz"]
    assert "is damaged or incomplete" in errors["junk.gz"]
    assert "unpacks to more than 200 times its size" in errors["bomb.gz"]
    assert "is no log: none of" in errors["image"]
    sentences = re.sub(r".*: \d+ lines\n", "", done.stderr)  # how it goes, where that took long
    assert sentences.count("\n") == len(errors)
    assert "4jXPlN1VQl00009" in {row["queue_id"] for row in stored(pda)}


# --- As a process --------------------------------------------------------------------------------

MANY = [attempt(queue_id=f"4jXPlN1VQl{n:05}") for n in range(95_000)]


def count(service: Running) -> int:
    """Attempts that are stored; none where the tables have still to be made."""
    try:
        (found,) = service.ask(lambda connection, _: connection.execute(_COUNT).fetchall())
    except (StoreError, DatabaseError):
        return 0
    return int(found[0])


_COUNT = "SELECT count(*) FROM attempt"


def interrupted(service: Running, log: Path, number: signal.Signals) -> tuple[int, str, str]:
    """Interrupts an import as soon as some of it is stored; exit status and what was said."""
    process = subprocess.Popen(
        [*PDA, "backfill", "--json", str(log)], env=service.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        eventually(lambda: count(service), bool)
        process.send_signal(number)
        out, said = process.communicate(timeout=30)
    return process.returncode, out, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_ends_at_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    """What was imported stays, one sentence says so, and the next run reads the rest only."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"\n".join(MANY) + b"\n")
    service = Running(tmp_path)
    status, out, said = interrupted(service, log, number)
    (state,) = told(out)
    assert status == 1
    assert said.endswith(
        "imported in part only: it was interrupted; import it again for the rest\n"
    )
    assert "Traceback" not in said
    assert count(service) == state["lines"] < len(MANY)
    (rest,) = told(service.pda("backfill", "--json", str(log)).stdout.decode())
    assert rest["lines"] == len(MANY) - state["lines"]
    assert count(service) == len(MANY)


def test_ctrl_c_beside_the_service_ends_that_import_only(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(b"\n".join(MANY) + b"\n")
    with Running(tmp_path) as service:
        status, out, said = interrupted(service, log, signal.SIGINT)
        (state,) = told(out)
        assert status == 1
        assert "it was interrupted; import it again for the rest" in said
        assert count(service) == state["lines"] < len(MANY)
        assert service.status()["imports"][0]["finished"]
        (rest,) = told(service.pda("backfill", "--json", str(log)).stdout.decode())
        assert rest["lines"] == len(MANY) - state["lines"]
        assert service.stop() == 0


def test_standard_input_beside_the_service(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        done = service.pda("backfill", "--json", "-", stdin=b"\n".join(LINES))
        (state,) = told(done.stdout.decode())
        assert (done.returncode, state["name"], state["lines"]) == (0, "standard input", len(LINES))
        assert len(service.attempts()) == 3


def test_a_silent_standard_input_can_be_interrupted_and_what_came_is_stored(tmp_path: Path) -> None:
    service = Running(tmp_path)
    with subprocess.Popen(
        [*PDA, "backfill", "-"], env=service.environment, stdin=subprocess.PIPE,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"\n".join(LINES) + b"\n")
        process.stdin.flush()
        eventually(lambda: count(service), lambda n: n == 3)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
        assert b"it was interrupted" in process.stderr.read()


# --- By the service itself -----------------------------------------------------------------------


def log_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "log.d"
    folder.mkdir()
    for n, name in enumerate(["mail.log.10.gz", "mail.log.2.gz", "mail.log.1", "mail.log"]):
        content = message(f"4jXPlN1VQl0000{n}", deliveries=[attempt(queue_id=f"4jXPlN1VQl0000{n}")])
        text = b"\n".join(content) + b"\n"
        (folder / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    return folder


def test_the_service_imports_rotated_logs_before_it_listens(tmp_path: Path) -> None:
    folder = log_folder(tmp_path)
    with Running(
        tmp_path, PDA_BACKFILL_DIRECTORY=str(folder), PDA_BACKFILL_ON_START="true"
    ) as service:
        assert len(service.attempts()) >= 3  # it is ready now
        eventually(service.attempts, lambda found: len(found) == 4)
        names = [Path(one["name"]).name for one in service.status()["imports"]]
        assert names == ["mail.log.10.gz", "mail.log.2.gz", "mail.log.1", "mail.log"]
        assert service.stop() == 0
        service.start()
        eventually(
            lambda: [one["finished"] for one in service.status()["imports"]],
            lambda finished: finished == [True] * 4,
        )
        assert {one["note"] for one in service.status()["imports"]} == {"known already"}
        assert service.stop() == 0


def test_a_stop_while_it_imports_at_its_start(tmp_path: Path) -> None:
    folder = tmp_path / "log.d"
    folder.mkdir()
    for name in ("mail.log.1", "mail.log"):
        (folder / name).write_bytes(b"\n".join(MANY) + b"\n")
    service = Running(tmp_path, PDA_BACKFILL_DIRECTORY=str(folder), PDA_BACKFILL_ON_START="true")
    with service.log.open("ab") as log:
        process = subprocess.Popen([*PDA, "serve"], env=service.environment, stderr=log)
    with process:
        eventually(lambda: count(service), bool)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert b"Traceback" not in service.log.read_bytes()
    assert 0 < count(service) < len(MANY)


def test_what_was_written_and_not_sent_is_caught_up(tmp_path: Path) -> None:
    folder = log_folder(tmp_path)
    environment = {"PDA_BACKFILL_DIRECTORY": str(folder), "PDA_BACKFILL_CATCH_UP_S": "0.2"}
    with Running(tmp_path, **environment) as service:
        lost = message("4jXPlN1VQl00007", deliveries=[attempt(queue_id="4jXPlN1VQl00007")])
        sent = message("4jXPlN1VQl00008", deliveries=[attempt(queue_id="4jXPlN1VQl00008")])
        service.send(sent)
        with (folder / "mail.log").open("ab") as log:
            log.write(b"\n".join(lost + sent) + b"\n" + attempt(queue_id="4jXPlN1VQl00009"))
        # The last line has no end yet: it may not be all of it.
        ids = {f"4jXPlN1VQl0000{n}" for n in (2, 3, 7, 8)}
        eventually(service.attempts, lambda found: {row.queue_id for row in found} == ids)
        # Rotated in between, with a line at the end that nobody has read yet.
        with (folder / "mail.log").open("ab") as log:
            log.write(b"\n")
        (folder / "mail.log").rename(folder / "mail.log.0")
        (folder / "mail.log").write_bytes(attempt(queue_id="4jXPlN1VQl00006") + b"\n")
        ids |= {"4jXPlN1VQl00006", "4jXPlN1VQl00009"}
        eventually(service.attempts, lambda found: {row.queue_id for row in found} == ids)
        assert service.stop() == 0
        assert len(service.attempts()) == len(ids)


def test_a_running_import_is_shown_and_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    with (
        Running(tmp_path) as service,
        subprocess.Popen(
            [*PDA, "backfill", "--json", "-"], env=service.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as process,
    ):  # fmt: skip
        assert process.stdin
        process.stdin.write(b"\n".join(LINES) + b"\n")
        process.stdin.flush()
        running = {"name": "standard input", "octets": len(b"\n".join(LINES)) + 1, "size": 0,
                   "lines": len(LINES)}  # fmt: skip
        (shown,) = eventually(
            lambda: service.get("/api/v1/status")["imports_running"],
            lambda found: len(found) == 1 and found[0].items() >= running.items(),
        )
        assert shown.keys() - running.keys() == {"pace"}
        assert shown["pace"].keys() == {"now", "lately", "line"}
        with urllib.request.urlopen(service.status()["http"][0], timeout=30) as page:
            assert "Importing <code>standard input</code>" in page.read().decode()
        assert (
            f"importing standard input: {len(LINES)} lines" in service.pda("status").stdout.decode()
        )
        assert service.stop() == 0
        (state,) = told(process.communicate(timeout=30)[0].decode())
        assert "imported in part only: the service is stopping" in state["error"]
        assert process.returncode == 1
        assert count(service) == 3
