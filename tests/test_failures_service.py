"""What the real service answers over HTTP: where a question takes too long, cannot be answered, or
has no answer.
"""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from pda.store.database import find_key, open_writer
from tests.running import Running, eventually
from tests.test_feed_service import lines_of

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def refused(service: Running, path: str) -> tuple[int, str, Any]:
    """Status, media type and body."""
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(service.status()["http"][0] + path, timeout=30)
    with caught.value as answer:
        body = answer.read()
        assert b"Traceback" not in body
        assert b"outcome" not in body.replace(path.encode(), b"")
        return answer.code, answer.headers.get_content_type(), json.loads(body)


def change(service: Running, *statements: str) -> None:
    """In the database, beside the service."""
    path = service.folder / "pda.db"
    connection = open_writer(path, find_key(path, Path(f"{path}.key")))
    for sql in statements:
        connection.execute(sql)
    connection.close()


def test_what_takes_too_long_and_what_fails(tmp_path: Path) -> None:
    with Running(tmp_path, PDA_HTTP_TIMEOUT_S="1") as service:
        service.send(lines_of(1))
        eventually(service.outcomes, lambda found: len(found) == 1)
        change(
            service,
            "ALTER TABLE outcome RENAME TO kept",
            f"CREATE VIEW outcome AS SELECT entry_id, ({ENDLESS}) AS first_at FROM kept",
        )
        for _ in range(6):  # more than there are connections: each is interrupted, and free again
            status, _, answer = refused(service, "/agent-status/index-age")
            assert (status, answer["result"], answer["status"]["succeeded"]) == (408, None, False)
        change(service, "DROP VIEW outcome")
        status, _, answer = refused(service, "/agent-read/shop")
        assert (status, answer["result"], answer["status"]["succeeded"]) == (500, None, False)
        status, media, answer = refused(service, "/api/v1/outcomes")
        assert (status, media, answer["status"]) == (500, "application/problem+json", 500)
        change(service, "ALTER TABLE kept RENAME TO outcome")
        assert len(service.outcomes()) == 1
        assert len(service.result("/agent-read/shop")) == 2


def test_an_answer_without_content_describes_none(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        connection = HTTPConnection(service.status()["http"][0].removeprefix("http://"))
        said = json.dumps({"address": "ann@example.org", "mail": "never"})
        connection.request(
            "POST", "/api/v1/suppressions", said, {"Content-Type": "application/json"}
        )
        with connection.getresponse() as answer:
            assert (answer.status, answer.read()) == (204, b"")
            assert not {"content-type", "content-length"} & {
                name.lower() for name in answer.headers
            }
        connection.request("GET", "/healthz")  # the connection lasts
        with connection.getresponse() as answer:
            assert answer.read() == b"ok\n"
        connection.close()
