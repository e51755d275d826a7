"""`tools/run` of this checkout: the demonstration, and other commands on the same state."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pda.web.pages.outcomes import KINDS
from tests.running import eventually

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tools" / "run"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        Path(sys.prefix) != ROOT / ".venv", reason="these are not the tests of tools/check"
    ),
]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Without settings of pda's but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PDA_")}
    return {**kept, "TMPDIR": str(folder), **more}


def free_ports(number: int) -> list[int]:
    """Of loopback."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def test_the_demonstration_shows_something_and_leaves_nothing(tmp_path: Path) -> None:
    syslog, http = free_ports(2)
    told = tmp_path / "told"
    settings = environment(
        tmp_path,
        PDA_RECEIVE_LISTEN=f"tcp://127.0.0.1:{syslog}",
        PDA_HTTP_BIND=f"127.0.0.1:{http}",
    )
    with (
        told.open("wb") as output,
        subprocess.Popen([RUN, "--demo"], env=settings, stderr=output) as process,
    ):
        try:
            eventually(told.read_text, lambda text: "look at http" in text, 60)
            shown = eventually(lambda: _home(http), _shows_all)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    for client in ("shop", "newsletter", "billing"):
        assert f">{client}</a>" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["told"]


def _shows_all(page: str) -> bool:
    """Whether there are recipients of every kind."""
    return page.count('class="value">') == len(KINDS) and 'class="value">0<' not in page


def _home(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/?range=30d", timeout=30) as answer:
        return str(answer.read().decode())


def test_other_commands_use_the_same_state(tmp_path: Path) -> None:
    settings = environment(tmp_path, PDA_STORE_PATH=str(tmp_path / "pda.db"))
    done = subprocess.run(
        [RUN, "status"], env=settings, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"no service runs on {tmp_path}/pda.db\n"


def test_a_command_may_stand_behind_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "pda.toml"
    settings.write_text(f'[store]\npath = "{tmp_path}/other.db"\n')
    for given in (["--config", str(settings)], [f"--config={settings}"]):
        done = subprocess.run(
            [RUN, *given, "status"],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == f"no service runs on {tmp_path}/other.db\n"
