"""The real logrotate rotates what the real rsyslogd writes; imports in between miss and double nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.rsyslogd import Rsyslogd, needs_rsyslogd, running_rsyslogd
from tests.running import Running, eventually
from tools.simulator import Plan, generate

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
LOGROTATE = shutil.which("logrotate", path=PATH)
MISSING = [one for one in ("logrotate", "bzip2", "xz", "zstd") if not shutil.which(one, path=PATH)]
pytestmark = [
    pytest.mark.e2e,
    needs_rsyslogd,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

SCHEMES = {
    "gzip": ("RSYSLOG_TraditionalFileFormat", "create\ncompress\ndelaycompress"),
    "bzip2": (
        "RSYSLOG_FileFormat",
        "create\ncompress\ncompresscmd /bin/bzip2\ncompressext .bz2",
    ),
    "xz": (
        "RSYSLOG_TraditionalFileFormat",
        "create\ncompress\ncompresscmd /usr/bin/xz\ncompressext .xz",
    ),
    "zstd": (
        "RSYSLOG_FileFormat",
        "create\ndateext\ndateformat -%Y%m%d-%s\ncompress\ndelaycompress\n"
        "compresscmd /usr/bin/zstd\ncompressext .zst\ncompressoptions --rm -q",
    ),
    "copytruncate": ("RSYSLOG_TraditionalFileFormat", "copytruncate\nnocompress"),
    "copytruncate, packed": ("RSYSLOG_FileFormat", "copytruncate\ncompress"),
}
ROUNDS, LINES = 6, 150


class Scheme:
    """One way of rotating, with a folder and a store of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.template, self.rules = SCHEMES[name]
        self.log = folder / name.replace(", ", "-") / "mail.log"
        self.log.parent.mkdir()
        self.store = Running(self.log.parent)
        self.read = 0
        self.rotated_at = 0

    def action(self) -> str:
        """What rsyslogd does for it."""
        return f'action(type="omfile" file="{self.log}" template="{self.template}")'

    def rotate(self, rsyslogd: Rsyslogd) -> None:
        """What Debian's /etc/logrotate.d/rsyslog does, each time and not each week."""
        # A date of whole seconds: the same one again would be refused.
        eventually(lambda: int(time.time()), lambda now: now > self.rotated_at)
        rules, state = self.log.parent / "rules", self.log.parent / "state"
        again = f"postrotate\nkill -HUP {rsyslogd.pid}\nendscript"
        rules.write_text(f"{self.log} {{\nrotate 100\nmissingok\n{self.rules}\n{again}\n}}\n")
        rules.chmod(0o644)
        command = [str(LOGROTATE), "--force", "--state", str(state), str(rules)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        self.rotated_at = int(time.time())

    def has(self, lines: int) -> bool:
        """Whether so many were written since the last rotation."""
        return self.log.exists() and self.log.read_bytes().count(b"\n") >= lines

    def backfill(self) -> list[dict[str, Any]]:
        """Imports all there is."""
        done = self.store.pda("backfill", "--json", f"{self.log}*")
        assert done.returncode == 0, done.stderr  # it may say how far it is
        files: list[dict[str, Any]] = json.loads(done.stdout)["files"]
        assert not any(one["error"] for one in files)
        self.read += sum(one["lines"] for one in files)
        return files


async def test_every_line_once_however_it_is_rotated(tmp_path: Path) -> None:
    schemes = [Scheme(tmp_path, name) for name in SCHEMES]
    lines = [line.split(" ", 2)[2].partition(": ") for line in generate(Plan(messages=400))]
    texts = [(tag, text) for tag, _, text in lines[: ROUNDS * LINES]]
    rule = "\n".join(["mail.* {", *(one.action() for one in schemes), "}"])
    async with running_rsyslogd(rule) as rsyslogd:
        for number in range(ROUNDS):
            for tag, text in texts[number * LINES : (number + 1) * LINES]:
                await rsyslogd.write(tag, [text])
            with trio.fail_after(30):
                while not all(one.has(LINES) for one in schemes):  # noqa: ASYNC110 no event
                    await trio.sleep(0.02)
            if number % 2:
                for one in schemes:
                    await trio.to_thread.run_sync(one.backfill)
            for one in schemes[: None if number < ROUNDS - 1 else 0]:
                await trio.to_thread.run_sync(one.rotate, rsyslogd)
    wanted = Counter(text.partition(":")[0] for _, text in texts if ": to=<" in text)
    for one in schemes:
        files = await trio.to_thread.run_sync(one.backfill)
        assert len(files) == ROUNDS, one.log
        assert {file["new"] for file in files} == {0}
        assert one.read == len(texts), one.log
        assert Counter(row.queue_id for row in one.store.attempts()) == wanted, one.log
