"""An independent client's view: schemathesis against the served description of a running service.

It sends what the description allows and what it does not, and holds every answer against it: no
server error, no status and no content type that is not described, no answer of another shape.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Running
from tests.support import attempt, message
from tests.web.described import STREAMS

pytestmark = pytest.mark.e2e
SECONDS = 45
"""For all routes together; each one has its turn."""
LINES = [
    *message(message_id="<98494.1.1@shop>", deliveries=[
        attempt("deferred", reason="450 4.2.0 later", dsn="4.2.0"),
        attempt("sent", to="b@example.org"),
        attempt("bounced", to="c@example.org", reason="550 5.1.1 who?", dsn="5.1.1"),
    ]),
]  # fmt: skip
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


def test_the_service_is_as_it_describes_itself(tmp_path: Path) -> None:
    streams = [
        part for name in STREAMS for part in ("--exclude-path", name.partition(" ")[2])
    ]  # their answers do not end
    # It would wait as long as it may, for changes that do not come.
    (tmp_path / "schemathesis.toml").write_text("[parameters]\nwait = 0\n", "ascii")
    with Running(tmp_path) as service:
        service.send(LINES)
        found = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")), "run",
                service.status()["http"][0] + "/openapi.json",
                "--checks", ",".join(CHECKS), "--max-time", str(SECONDS), "--seed", "1",
                "--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--no-shrink",
                "--continue-on-failure", "--request-timeout", "20", *streams,
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            timeout=SECONDS + 60,
        )  # fmt: skip
        assert found.returncode == 0, found.stdout[-20_000:] + found.stderr
        (selected,) = re.findall(r"Selected: (\d+)/", found.stdout)
        (tested,) = re.findall(r"Tested: (\d+)", found.stdout)
        assert selected == tested, found.stdout  # none was left out for want of time
        assert int(tested) > 30
        assert "Traceback" not in service.log.read_text()
