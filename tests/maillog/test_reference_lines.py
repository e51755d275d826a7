"""Real lines of many projects, and lines built from Postfix's own format strings, with readings.

The lines are other people's: they are read where they stand and are no part of this project.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from pda.cli import parsed
from pda.maillog.syslog import HeaderReader
from tests.support import NOW, SHARED, needs_shared

pytestmark = needs_shared

FIELDS = {
    "host": "hostname", "service": "program", "instance": "syslog_name", "pid": "procid",
    "queue_id": "queue_id", "to": "recipient", "orig_to": "orig_to", "from": "sender",
    "relay": "relay", "dsn": "dsn", "status": "status", "delay": "delay", "delays": "delays",
    "text": "reason", "size": "size", "nrcpt": "nrcpt", "message_id": "message_id",
    "message_id_raw": "message_id_raw", "header_name": "header_name",
    "header_value": "header_value", "client_host": "client_host", "client_ip": "client_ip",
    "sasl_username": "sasl_username", "orig_queue_id": "orig_queue_id",
    "notification_queue_id": "notification_queue_id",
}  # fmt: skip
OF_HEADER = {"host", "service", "instance", "pid"}
KINDS = {
    "delivery", "message-id", "header-info", "qmgr-from", "removed", "expired", "notification",
    "smtpd-client", "pickup", "reject", "header-action",
}  # fmt: skip
DEVIATIONS = {
    # By smtpd_check.c the attributes begin behind the `;`, whichever of them is the first; the
    # reference takes them for text where from=<…> is missing, as it is at VRFY.
    ("reject", "text"): "VRFY from ",
}


def rows(name: str) -> list[dict[str, Any]]:
    lines = gzip.decompress((SHARED / "lines" / f"{name}.jsonl.gz").read_bytes()).splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] in KINDS]


def readings(row: dict[str, Any]) -> list[tuple[str, object, object]]:
    """Field, expected and found value, for each field that counts."""
    expect, line = row["expect"], row["line"]
    if row.get("bare"):
        line = f"Jan  1 00:00:00 h postfix/{expect.get('service', 'smtp')}[1]: {line}"
    text = line.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    found = parsed(HeaderReader(), text, NOW)
    counted = [
        field for field in expect
        if field in FIELDS and not (row.get("bare") and field in OF_HEADER)
    ]  # fmt: skip
    values = [(field, expect[field], as_json(found.get(FIELDS[field]))) for field in counted]
    return [("kind", row["kind"], found["kind"]), *values]


def as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def deviates(row: dict[str, Any], field: str) -> bool:
    return DEVIATIONS.get((row["kind"], field), "\0") in row["line"]


def test_lines_of_other_projects() -> None:
    total = wrong = 0
    unexplained = []
    for row in rows("dev"):
        for field, expected, found in readings(row):
            total += 1
            if expected != found:
                wrong += 1
                if not deviates(row, field):
                    unexplained.append((row["line"], field, expected, found))
    assert not unexplained
    assert wrong / total <= 0.005


@pytest.mark.parametrize(
    "row", rows("constructed") if SHARED.exists() else [], ids=lambda r: str(r.get("note"))[:60]
)
def test_lines_built_from_the_format_strings(row: dict[str, Any]) -> None:
    for field, expected, found in readings(row):
        assert found == expected, field
