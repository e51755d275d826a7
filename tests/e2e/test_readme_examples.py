"""Every curl command of the README, and its Python, run against a running service."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.running import Running
from tests.store.test_suppressions import unknown
from tests.support import RULES_XML, attempt, message

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
README = (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```(?:\n\n```json\n(.*?)```)?", README, re.DOTALL)
EXAMPLES = [
    (command, answer)
    for block, answer in BLOCKS
    for command in block.replace("\\\n", " ").splitlines()
    if command.startswith("curl ")
]
ADDRESS = "http://127.0.0.1:1523"
CUT = 28
"""What curl says when its time is up: a stream does not end."""
PASSWORD = "correct horse"
LINES = message(message_id="<98494.17.3@newsletter>", deliveries=[
    attempt("bounced", to="ann@example.org", at="2026-11-02T08:15:30.120000+00:00",
            reason="550 5.1.1 <ann@example.org>: User unknown", dsn="5.1.1"),
    attempt(to="bob@example.org", at="2026-11-02T08:15:31.000000+00:00"),
])  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("readme")
    with Running(folder, PDA_WEBHOOKS_ALLOW_PRIVATE="127.0.0.0/8") as service:
        service.send(LINES)
        add = ("user", "add", "alice", "--role", "admin", "--password-stdin")
        assert service.pda(*add, stdin=PASSWORD.encode()).returncode == 0
        (folder / ".curlrc").write_text(f'user = "alice:{PASSWORD}"\n')
        (folder / "my-rules.xml").write_bytes(RULES_XML)
        made = service.pda("token", "new", "--client", "newsletter")
        token = re.findall(r"pda_\S+", made.stdout.decode())
        (folder / "token").write_text(token[0])
        yield service


def run(service: Running, command: str) -> subprocess.CompletedProcess[bytes]:
    """A command as somebody would type it, in the service's folder and logged in."""
    address = service.status()["http"][0]
    assert ADDRESS in command
    command = command.replace("https://app.example.com/", "http://127.0.0.1:9/")
    command = command.replace("4711", "0").replace("curl -N", "curl -N --max-time 2")
    environment = {
        **os.environ,
        "CURL_HOME": str(service.folder),
        "PDA_TOKEN": (service.folder / "token").read_text(),
    }
    return subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, address).replace("curl ", "curl -sS --fail-with-body ", 1)],
        cwd=service.folder, env=environment, capture_output=True, check=False, timeout=30,
    )  # fmt: skip


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=[one for one, _ in EXAMPLES])
def test_example(service: Running, command: str, answer: str) -> None:
    done = run(service, command)
    assert done.returncode == (CUT if "curl -N" in command else 0), done.stdout + done.stderr
    if "curl -N" in command:
        assert b"event: outcome" in done.stdout
    if answer:
        compare(msgspec.json.decode(done.stdout), msgspec.json.decode(answer))
    if "ndjson" in command:
        assert [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    if " -o " in command:
        text = (service.folder / "bounced.csv").read_text("utf-8")
        head, *rows = csv.reader(io.StringIO(text, newline=""))
        assert (head, len(rows)) == (["recipient", "category", "last_at"], 1)


def compare(found: Any, shown: Any) -> None:
    """Whether an answer has the members that are shown, and no others unless `…` stands for them."""
    if isinstance(shown, dict):
        assert found.keys() == shown.keys() or (
            "…" in shown and found.keys() > shown.keys() - {"…"}
        )
        for name in shown.keys() - {"…"}:
            compare(found[name], shown[name])
    elif isinstance(shown, list):
        compare(found[0], shown[0])


def test_the_python_example_runs(tmp_path: Path) -> None:
    """As it stands there, up to the second change of the feed that has no end."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with Running(tmp_path) as service:
        service.send([*unknown(1, client="newsletter"), *unknown(2, client="newsletter")])
        service.stop()
        service.start()
        example = example.replace(ADDRESS, service.status()["http"][0])
        example = re.sub(r"user=\(.*?\)", "", example)
        example += "        if kept != '0':\n            break\n"
        known = {"message": {}, "kept": "0"}
        exec(compile(example, "README.md", "exec"), known)
    assert known["kept"] != "0"
    assert known["message"]["Message-ID"].endswith("@newsletter>")  # type: ignore[index]
