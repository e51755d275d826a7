"""The generator: the same seed gives the same log, and the truth told is the truth of that log."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pda.backfill import oldest_first, open_log, read_lines
from pda.maillog import postfix
from pda.maillog.events import (
    AnyRecord,
    Connected,
    Delivery,
    Expired,
    Failure,
    Header,
    HeaderInfo,
    MessageId,
    Notification,
    QueueActive,
    Removed,
    Unknown,
)
from pda.maillog.syslog import HeaderReader
from tests.support import RULES
from tools.simulator import FORMATS, Plan, RecipientRow, Row, generate
from tools.simulator.hosts import long_id, short_id
from tools.simulator.message import seconds

ROOT = Path(__file__).parents[1]
PLAN = Plan(messages=2_000, hosts=("mx1", "mx2"))
OUTCOMES = {
    "delivered", "finally-ok", "soft-bounce", "hard-bounce", "undetermined-bounce",
    "expired", "pending", "held", "discarded",
}  # fmt: skip


@cache
def played(plan: Plan) -> tuple[list[str], list[Row]]:
    """Log and truth."""
    rows: list[Row] = []
    return list(generate(plan, rows.append)), rows


def record_of(header: Header) -> tuple[str, AnyRecord]:
    return postfix.read(header.text, header.program, header.syslog_name)


@cache
def read(plan: Plan) -> list[tuple[Header, str, AnyRecord]]:
    """The log as `pda` reads it."""
    reader = HeaderReader(plan.zone)
    now = plan.end
    headers = [reader.read(line, now) for line in played(plan)[0]]
    return [(header, *record_of(header)) for header in headers if header is not None]


def recipients(plan: Plan) -> list[tuple[Row, RecipientRow]]:
    """Every recipient of every row."""
    return [(row, one) for row in played(plan)[1] for one in row["recipients"]]


def test_the_same_plan_gives_the_same_log_and_another_seed_another() -> None:
    lines, rows = played(PLAN)
    again: list[Row] = []
    assert list(generate(PLAN, again.append)) == lines
    assert again == rows
    assert next(generate(replace(PLAN, seed=2))) != lines[0]


def test_the_log_of_a_seed_is_the_same_everywhere() -> None:
    """Benchmarks of different machines compare only then; a change on purpose changes this."""
    text = "\n".join(generate(Plan(messages=1_000, seed=7)))
    assert sha256(text.encode()).hexdigest()[:16] == "ab79736d68ef1242"


def test_no_application_gives_a_message_id_twice() -> None:
    """However many messages: else an import would find more and more of them known."""
    text = "\n".join(generate(Plan(messages=1_000, seed=7)))
    numbers = [int(one) for one in re.findall(r"message-id=<98494\.(\d+)\.", text)]
    assert len(numbers) > 100
    assert max(numbers) <= 1_000


def test_lines_are_in_time_order_and_pda_knows_each() -> None:
    lines, _ = played(PLAN)
    pairs = read(PLAN)
    assert len(pairs) == len(lines)
    stamps = [header.at for header, *_ in pairs]
    assert stamps == sorted(stamps)
    assert PLAN.begin <= stamps[0]
    assert [header.text for header, _, record in pairs if isinstance(record, Unknown)] == []


def test_all_messages_and_all_outcomes_occur() -> None:
    _, rows = played(PLAN)
    assert sum(not row["notification_of"] for row in rows) == PLAN.messages
    assert {one["outcome"] for _, one in recipients(PLAN)} == OUTCOMES
    assert {row["client_id"] for row in rows} == {*PLAN.clients, ""}
    assert {row["host"] for row in rows} == set(PLAN.hosts)
    assert any(len(row["recipients"]) > 5 for row in rows)


def test_attempts_and_their_times_are_those_of_the_log() -> None:
    logged = defaultdict(list)
    for header, queue_id, record in read(PLAN):
        if isinstance(record, Delivery):
            logged[header.hostname, queue_id, record.recipient].append(header.at)
    for row, one in recipients(PLAN):
        times = logged.pop((row["host"], row["queue_id"], one["recipient"]), [])
        assert (one["attempts"], [one["first_at"], one["last_at"]]) == (
            len(times),
            [times[0], times[-1]] if times else [None, None],
        )
    hops = {hop for row in played(PLAN)[1] for hop in row["handed_on_by"]}
    assert {f"{host}/{queue_id}" for host, queue_id, _ in logged} == hops
    assert hops


def test_the_last_status_of_the_log_is_the_outcome() -> None:
    last: dict[tuple[str, str, str], Delivery] = {}
    tried: Counter[tuple[str, str, str]] = Counter()
    for header, queue_id, record in read(PLAN):
        if isinstance(record, Delivery):
            key = header.hostname, queue_id, record.recipient
            last[key] = record
            tried[key] += 1
    statuses = {
        "delivered": "sent", "finally-ok": "sent", "soft-bounce": "bounced",
        "hard-bounce": "bounced", "undetermined-bounce": "bounced",
        "expired": "deferred", "pending": "deferred",
    }  # fmt: skip
    for row, one in recipients(PLAN):
        key = row["host"], row["queue_id"], one["recipient"]
        if one["attempts"]:
            assert last[key].status == statuses[one["outcome"]]
            sent_later = last[key].status == "sent" and tried[key] > 1
            assert (one["outcome"] == "finally-ok") == sent_later
        else:
            assert one["outcome"] in {"held", "discarded", "pending"}


def test_the_type_of_a_bounce_is_what_the_shipped_rules_say() -> None:
    final = {
        (header.hostname, queue_id, record.recipient): record
        for header, queue_id, record in read(PLAN)
        if isinstance(record, Delivery) and record.status == "bounced"
    }
    for row, one in recipients(PLAN):
        kind, _, bounce = one["outcome"].partition("-")
        if bounce == "bounce":
            said = final[row["host"], row["queue_id"], one["recipient"]]
            verdict = RULES.classify(Failure(said.reason, said.dsn, said.status, said.relay))
            assert verdict.bounce_type == kind, said.reason


def test_a_message_is_removed_when_nothing_is_left_to_do() -> None:
    removed = {
        (header.hostname, queue_id)
        for header, queue_id, record in read(PLAN)
        if isinstance(record, Removed)
    }
    for row in played(PLAN)[1]:
        over = not {one["outcome"] for one in row["recipients"]} & {"pending", "held", "discarded"}
        assert ((row["host"], row["queue_id"]) in removed) == over


def test_expired_and_bounced_mail_is_reported_to_its_sender() -> None:
    reports, expired = {}, set()
    for header, queue_id, record in read(PLAN):
        if isinstance(record, Notification):
            reports[header.hostname, record.notification_queue_id] = queue_id
        if isinstance(record, Expired):
            expired.add((header.hostname, queue_id))
    told = {
        (row["host"], row["queue_id"]): row["notification_of"]
        for row in played(PLAN)[1]
        if row["notification_of"]
    }
    assert told == reports
    assert expired == {
        (row["host"], row["queue_id"])
        for row, one in recipients(PLAN)
        if one["outcome"] == "expired"
    }


def test_each_client_is_told_in_its_own_way() -> None:
    found: dict[tuple[str, str], str] = {}
    ids: dict[tuple[str, str], str] = {}
    for header, queue_id, record in read(PLAN):
        key = header.hostname, queue_id
        if isinstance(record, MessageId):
            ids[key] = record.message_id
            if by_id := re.fullmatch(r"98494\.\d+\.\d{1,3}@(.+)", record.message_id):
                found[key] = by_id[1]
        if isinstance(record, HeaderInfo):
            found[key] = record.header_value or ""
        if isinstance(record, Connected) and record.sasl_username:
            found[key] = record.sasl_username
    for row in played(PLAN)[1]:
        first = (
            row["handed_on_by"][0] if row["handed_on_by"] else f"{row['host']}/{row['queue_id']}"
        )
        host, _, queue_id = first.partition("/")
        assert found.get((host, queue_id), "") == row["client_id"]
        assert ids[row["host"], row["queue_id"]] == row["message_id"]


def test_a_delay_tells_the_arrival_and_grows_with_every_retry() -> None:
    arrivals, delays = defaultdict(list), defaultdict(list)
    for header, queue_id, record in read(PLAN):
        if isinstance(record, Delivery):
            key = header.hostname, queue_id
            arrivals[key].append(header.at - record.delay * 1e6)
            delays[*key, record.recipient].append(record.delay)
            assert sum(map(float, record.delays.split("/"))) == pytest.approx(record.delay, abs=2)
    assert max(max(times) - min(times) for times in arrivals.values()) < 2e6
    assert all(retries == sorted(retries) for retries in delays.values())
    waits = [
        late - early for retries in delays.values() for early, late in itertools.pairwise(retries)
    ]
    assert min(waits) > 240
    assert 86_400 < max(waits) <= 144_000 + 600


def test_every_activation_names_sender_and_recipients() -> None:
    truth = {(row["host"], row["queue_id"]): row for row in played(PLAN)[1]}
    for header, queue_id, record in read(PLAN):
        row = truth.get((header.hostname, queue_id))
        if row is not None and isinstance(record, QueueActive):
            assert (record.sender, record.nrcpt) == (row["sender"], len(row["recipients"]))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_the_same(form: str) -> None:
    plan = replace(PLAN, messages=200, format=form, zone=ZoneInfo("Europe/Prague"))
    plain = read(replace(plan, format="rfc3339"))
    assert [said for _, *said in read(plan)] == [said for _, *said in plain]
    finest = {"rfc3164": 1_000_000, "traditional-forward": 1_000_000, "maillog": 1_000}.get(form, 1)
    assert [header.at for header, *_ in read(plan)] == [
        header.at // finest * finest for header, *_ in plain
    ]
    assert {header.syslog_name for header, *_ in read(plan)} >= {"postfix", "postfix/submission"}


def test_queue_ids_are_those_of_postfix() -> None:
    at = int(datetime(2018, 11, 21, 15, 18, 43, tzinfo=UTC).timestamp()) * 1_000_000 + 306_148
    assert long_id(at, 3_409_741) == "430R6q29CSzTgvf"
    assert short_id(at, 0x2F) == "4ABE42F"
    short = replace(PLAN, messages=100, short_ids=True)
    assert all(re.fullmatch("[0-9A-F]{10,11}", row["queue_id"]) for row in played(short)[1])
    assert all(re.fullmatch(r"\w{10}z\w{3,4}", row["queue_id"]) for row in played(PLAN)[1])


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "0"), (4_999, "0"), (5_000, "0.01"), (570_000, "0.57"), (994_999, "0.99"),
     (995_000, "1"), (1_249_999, "1.2"), (9_949_999, "9.9"), (9_950_000, "10"),
     (43_400_000, "43"), (428_620_700_000, "428621")],
)  # fmt: skip
def test_delays_are_written_as_postfix_writes_them(microseconds: int, text: str) -> None:
    assert seconds(microseconds) == text


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": -1},
        {"days": 0.0},
        {"hosts": ()},
        {"format": "csv"},
        {"start": PLAN.start.replace(tzinfo=None)},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|needs|needed"):
        replace(PLAN, **wrong)


def genlog(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command."""
    command = [sys.executable, "-m", "tools.simulator", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_writes_log_and_truth(tmp_path: Path) -> None:
    log, truth = tmp_path / "mail.log", tmp_path / "truth.ndjson"
    done = genlog(
        "--messages", "50", "--start", "2025-03-01T00:00:00+02:00", "--clients", "a,b",
        "--output", str(log), "--truth", str(truth),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    plan = Plan(
        messages=50, start=datetime.fromisoformat("2025-03-01T00:00+02:00"), clients=("a", "b")
    )
    lines, rows = played(plan)
    assert log.read_text().splitlines() == lines
    last = datetime.fromisoformat(lines[-1].split(" ")[0])
    assert log.stat().st_mtime == int(last.timestamp())
    assert [json.loads(line) for line in truth.read_text().splitlines()] == rows


@pytest.mark.parametrize(
    "arguments",
    [
        ["--messages", "-5"],
        ["--start", "yesterday"],
        ["--zone", "Mars"],
        ["--output", "/nowhere/x"],
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str]) -> None:
    done = genlog(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(("tools/genlog: ", "usage: "))


# --- Rotated -------------------------------------------------------------------------------------


def rotated(folder: Path, *arguments: str) -> list[Path]:
    """A log in several files, by their names."""
    folder.mkdir()
    done = genlog(
        "--messages", "300", "--output", str(folder / "mail.log"), "--rotate", "500", *arguments
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("pack", ["", "gz", "bz2", "xz"])
@pytest.mark.parametrize("naming", ["numbers", "dates"])
def test_a_log_in_several_files(tmp_path: Path, naming: str, pack: str) -> None:
    """Together they are the log; names and times are those that rotation leaves behind."""
    paths = rotated(tmp_path / "a", "--rotated", naming, *(["--pack", pack] if pack else []))
    again = rotated(tmp_path / "b", "--rotated", naming, *(["--pack", pack] if pack else []))
    assert [one.read_bytes() for one in paths] == [one.read_bytes() for one in again]
    whole = list(generate(Plan(messages=300)))
    assert len(paths) == len(whole) // 500 + 1 > 4
    files = [(path, open_log(path)) for path in oldest_first(paths)]
    lines = [[line for batch in read_lines(file) for line in batch] for _, file in files]
    assert [line.decode() for some in lines for line in some] == whole
    assert [len(some) for some in lines[:-1]] == [500] * (len(paths) - 1)
    for (path, file), some in zip(files, lines, strict=True):
        last = datetime.fromisoformat(some[-1].split(b" ")[0].decode())
        assert path.stat().st_mtime == int(last.timestamp())
        file.close()
    packed = [path.suffix == f".{pack}" for path, _ in files]
    assert packed == [bool(pack)] * (len(paths) - 2) + [False] * 2


def test_rotation_that_makes_no_sense(tmp_path: Path) -> None:
    assert "--rotate needs --output" in genlog("--rotate", "5").stderr
    done = genlog("--rotate", "0", "--output", str(tmp_path / "x"))
    assert (done.returncode, done.stderr) == (2, "tools/genlog: a file needs at least one line\n")
    assert rotated(tmp_path / "none", "--messages", "0") == []
