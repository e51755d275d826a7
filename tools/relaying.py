"""A real rsyslogd that reads a file and forwards its lines, and one that receives them.

Owns what `tools/bench` compares over RELP: rsyslog's own receiver writes each line to a file, pda
acknowledges it once it is durable. The sender is the same for both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RSYSLOGD = shutil.which("rsyslogd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
# The queue is between file and forwarding, as in the rules that come with pda. Nothing of it may go
# to the disk: what is measured is the receiver. A batch is half of the window: librelp
# holds it back until its end (TCP_CORK), and where a window ends before, for 200 ms each time.
_SENDER = """\
global(workDirectory="{folder}")
module(load="imfile") module(load="omrelp")
template(name="line" type="string" string="<22>%msg%")
input(type="imfile" File="{log}" Tag="bench" ruleset="forward" freshStartTail="off")
ruleset(name="forward") {{
  action({target} template="line"
    queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="{batch}"
    action.resumeRetryCount="-1" action.resumeInterval="1")
}}
"""
_RECEIVER = """\
global(workDirectory="{folder}")
module(load="imrelp")
template(name="line" type="string" string="%rawmsg%\\n")
input(type="imrelp" port="{port}" address="127.0.0.1" ruleset="keep")
ruleset(name="keep") {{ action(type="omfile" file="{file}" template="line") }}
"""


def relp(port: int, window: int) -> str:
    """Where the sender sends by RELP, with so many lines under way."""
    return f'type="omrelp" target="127.0.0.1" port="{port}" windowSize="{window}"'


def tcp(port: int) -> str:
    """Where the sender sends by plain TCP."""
    return (
        f'type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted"'
    )


@contextmanager
def sending(log: Path, target: str, folder: Path, batch: int = 512) -> Iterator[None]:
    """An rsyslogd that forwards the file from its beginning, in batches of so many lines."""
    text = _SENDER.format(folder=folder, log=log, target=target, batch=batch)
    with _running("sender", text, folder):
        yield


@contextmanager
def receiving(port: int, file: Path, folder: Path) -> Iterator[None]:
    """An rsyslogd that writes what it receives to a file."""
    with _running("receiver", _RECEIVER.format(folder=folder, port=port, file=file), folder):
        yield


@contextmanager
def _running(name: str, configuration: str, folder: Path) -> Iterator[None]:
    if _RSYSLOGD is None:
        raise RuntimeError("rsyslogd is not installed")
    path = folder / f"{name}.conf"
    path.write_text(configuration)
    command = [_RSYSLOGD, "-n", "-f", str(path), "-i", str(folder / f"{name}.pid")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_lines(file: Path, lines: int) -> float:
    """Until a file has so many lines; seconds from its first one on."""
    seen, found, begun = 0, 0, 0.0
    while found < lines:
        time.sleep(0.01)
        if not file.exists():
            continue
        with file.open("rb") as opened:
            opened.seek(seen)
            piece = opened.read()
        if piece and not begun:
            begun = time.perf_counter()
        seen, found = seen + len(piece), found + piece.count(b"\n")
    return time.perf_counter() - begun
