"""The operator's files: each is taken by the program it is for, and says what `pda` relies on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from pda.store import database

CONF = Path(__file__).parents[1] / "conf"
README = CONF.parent / "README.md"
UNIT = CONF / "systemd/pda.service"
LOGROTATE = CONF / "logrotate/mail"


def unit_settings() -> dict[str, list[str]]:
    """`Key=value` lines of the unit; a key may occur more than once."""
    settings = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings[key].append(value)
    return settings


def test_the_unit_starts_the_service_as_a_user_that_may_read_the_log() -> None:
    unit = unit_settings()
    assert unit["ExecStart"] == ["/opt/pda/.venv/bin/pda serve --config /etc/pda/pda.toml"]
    assert (unit["User"], unit["SupplementaryGroups"]) == (["pda"], ["adm"])
    assert unit["StateDirectory"] == ["pda"]


def test_the_unit_hands_over_the_key_under_the_name_that_the_store_looks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credential,) = unit_settings()["LoadCredential"]
    name, _, source = credential.partition(":")
    assert source == "/etc/pda/key"
    database.make_key(tmp_path / name)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    nowhere = tmp_path / "nowhere"
    database.find_key(nowhere / "pda.db", nowhere / "key")
    assert not nowhere.exists()


def test_rules_can_be_saved_where_the_readme_puts_them() -> None:
    """The unit leaves nothing else to be written."""
    (file,) = re.findall(r'^\[rules\]\nfile = "(.+)"$', README.read_text(), re.MULTILINE)
    unit = unit_settings()
    assert unit["ProtectSystem"] == ["strict"]
    assert Path(file).parent == Path("/var/lib", *unit["StateDirectory"])


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd what it thinks of a unit; skip where it is not installed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_takes_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # It insists on a program that is there.
    unit.write_text(UNIT.read_text().replace("/opt/pda/.venv/bin/pda", sys.executable))
    done = systemd_analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_the_service_well_shut_in() -> None:
    """`systemd-analyze security`: 0 is sealed, 10 wide open; 2.0 and less is asked for."""
    done = systemd_analyze("security", "--offline=true", "--threshold=20", str(UNIT))
    assert done.returncode == 0, done.stdout[-200:]


def test_rotated_logs_are_kept_long_and_numbered() -> None:
    lines = [line.strip() for line in LOGROTATE.read_text().splitlines()]
    assert "/var/log/mail.log {" in lines
    assert {"rotate 100", "size 100M", "missingok", "notifempty", "compress", "delaycompress",
            "sharedscripts", "postrotate"} <= set(lines)  # fmt: skip


def test_logrotate_rotates_as_the_import_expects(tmp_path: Path) -> None:
    program = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("logrotate is not installed")
    log, reloaded = tmp_path / "mail.log", tmp_path / "reloaded"
    rules = LOGROTATE.read_text().replace("/var/log/mail.log", str(log))
    rules = rules.replace("/usr/lib/rsyslog/rsyslog-rotate", f"echo >> {reloaded}")
    (tmp_path / "rules").write_text(rules)
    for day in ("first", "second"):
        log.write_text(day)
        command = [program, "--force", "--state", str(tmp_path / "state"), str(tmp_path / "rules")]
        subprocess.run(command, check=True)
    assert {path.name for path in tmp_path.glob("mail.log*")} == {"mail.log.1", "mail.log.2.gz"}
    assert (tmp_path / "mail.log.1").read_text() == "second"
    assert reloaded.read_text() == "\n\n"
