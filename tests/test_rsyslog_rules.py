"""The forwarding rules that we ship are valid for the real rsyslogd, alone and together."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.e2e.rsyslogd import (
    RSYSLOGD,
    RULES,
    Protocol,
    by_tls,
    needs_omrelp,
    needs_rsyslogd,
    shipped_rule,
)

pytestmark = needs_rsyslogd


def check(configuration: Path) -> tuple[int, str]:
    """Exit status and complaints of `rsyslogd -N1`."""
    assert RSYSLOGD
    command = [RSYSLOGD, "-N1", "-f", str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, "\n".join(line for line in lines if "config validation run" not in line)


def test_there_is_a_rule_for_each_protocol() -> None:
    assert {rule.name for rule in RULES.glob("*.conf")} >= {
        "pda-udp.conf",
        "pda-tcp.conf",
        "pda-relp.conf",
    }


@pytest.mark.parametrize("rule", sorted(RULES.glob("*.conf")), ids=lambda rule: rule.name)
def test_a_rule_alone_is_valid(rule: Path) -> None:
    assert check(rule) == (0, "")


def test_all_rules_together_are_valid(tmp_path: Path) -> None:
    """As in /etc/rsyslog.d: names of templates and queues must not collide."""
    main = tmp_path / "rsyslog.conf"
    main.write_text(
        f'global(workDirectory="{tmp_path}")\n'
        'module(load="imuxsock" SysSock.Use="off")\n'
        f'include(file="{RULES}/*.conf")\n'
    )
    assert check(main) == (0, "")


@needs_omrelp
@pytest.mark.parametrize("protocol", ["tcp", "relp"])
def test_a_rule_is_valid_with_its_lines_for_tls(protocol: Protocol, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    rule = by_tls(shipped_rule(protocol, 1), authority.file, *authority.issue("mx1"))
    main = tmp_path / "rsyslog.conf"
    main.write_text(rule)
    assert check(main) == (0, "")


def test_a_wrong_rule_is_found(tmp_path: Path) -> None:
    """The check itself can fail."""
    wrong = tmp_path / "wrong.conf"
    rule = (RULES / "pda-tcp.conf").read_text()
    wrong.write_text(rule.replace("TCP_Framing", "TCP_Farming"))
    status, complaints = check(wrong)
    assert status != 0
    assert "TCP_Farming" in complaints
