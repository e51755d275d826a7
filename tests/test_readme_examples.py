"""The README's examples with curl and Python, each executed against the real service."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.running import Running
from tests.store.test_suppressions import unknown

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
SECTIONS = ("What changed", "Webhooks", "Rejects", "Addresses")
HOOK = "https://app.example.com/pda"
HERE = "http://127.0.0.1:1523"


def section(name: str) -> str:
    return README.partition(f"\n### {name}\n")[2].partition("\n### ")[0]


def examples(name: str) -> list[str]:
    """Commands; one is a line."""
    blocks = re.findall(r"```sh\n(.*?)```", section(name), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("curl ")]


def run(command: str, service: Running) -> str:
    """What it answers; a stream is cut off."""
    words = shlex.split(command.replace(HERE, service.status()["http"][0]))
    words = [word.replace(HOOK, "https://127.0.0.1:9/pda") for word in words]
    words = [word.replace("after=4711&wait=30", "after=0&wait=30") for word in words]
    words = [word.replace("Last-Event-ID: 4711", "Last-Event-ID: 0") for word in words]
    fail = ["--fail-with-body", "--silent", "--max-time", "3" if "-N" in words else "30"]
    done = subprocess.run([words[0], *fail, *words[1:]], capture_output=True, check=False)
    assert done.returncode == (28 if "-N" in words else 0), (command, done.stdout)
    return done.stdout.decode()


@pytest.mark.parametrize("name", SECTIONS)
def test_every_example_is_answered(tmp_path: Path, name: str) -> None:
    assert examples(name)
    with Running(tmp_path, PDA_WEBHOOKS_ALLOW_PRIVATE="127.0.0.0/8") as service:
        service.send(unknown(1, client="newsletter"))
        service.stop()
        service.start()
        for command in examples(name):
            answer = run(command, service)
            if "-N" in command:
                assert "event: outcome" in answer
            elif answer:
                assert json.loads(answer)


def test_the_python_example_runs(tmp_path: Path) -> None:
    """As it stands there, up to the second change of the feed that has no end."""
    (example,) = re.findall(r"```python\n(.*?)```", section("From Python"), re.DOTALL)
    with Running(tmp_path) as service:
        service.send([*unknown(1, client="newsletter"), *unknown(2, client="newsletter")])
        service.stop()
        service.start()
        example = example.replace(HERE, service.status()["http"][0])
        example = re.sub(r"user=\(.*?\)", "", example)
        example += "        if kept != '0':\n            break\n"
        known = {"message": {}, "kept": "0"}
        exec(compile(example, "README.md", "exec"), known)
    assert known["kept"] != "0"
    assert known["message"]["Message-ID"].endswith("@newsletter>")  # type: ignore[index]
