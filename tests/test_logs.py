"""The service's own log: its forms, and what never stands in it."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path

import pytest

from pda.config import LogSettings
from pda.logs import formatter
from pda.slow import slow
from tests.running import Running, eventually
from tests.support import attempt

JSON, TEXT = LogSettings(format="json"), LogSettings()


def record(message: str, level: int = logging.INFO, **more: object) -> logging.LogRecord:
    values = {
        "name": "pda.x",
        "levelno": level,
        "levelname": logging.getLevelName(level),
        "msg": message,
    }
    return logging.makeLogRecord(values | more)


def test_an_object_in_one_line() -> None:
    line = formatter(JSON).format(record('two\nlines "quoted" \x1b[1m'))
    assert "\n" not in line
    said = json.loads(line)
    assert said["message"] == 'two\nlines "quoted" \x1b[1m'
    assert (said["level"], said["logger"]) == ("info", "pda.x")
    assert said["time"].endswith("Z")


def test_an_exception_is_in_it() -> None:
    try:
        int("about ann@example.org")
    except ValueError as error:
        one = record("it failed", logging.ERROR, exc_info=(type(error), error, error.__traceback__))
    said = json.loads(formatter(JSON).format(one))
    assert "about …@example.org" in said["exception"]
    assert "about …@example.org" in formatter(TEXT).format(one)


@pytest.mark.parametrize("settings", [TEXT, JSON], ids=["text", "json"])
def test_addresses_stand_at_debug_only(settings: LogSettings) -> None:
    text = "to=<ann.smith@example.org>, 'bob@example.org'"
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        said = formatter(settings).format(record(text, level))
        assert "ann" not in said
        assert "bob" not in said
        assert "…@example.org" in said
    assert "ann.smith@example.org" in formatter(settings).format(record(text, logging.DEBUG))


def test_what_took_long_is_noted_where_that_is_wanted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow("nothing"):
        pass
    assert not caplog.records
    monkeypatch.setattr(slow, "from_s", 1e-9)
    with slow("a thing"):
        pass
    assert "a thing took" in caplog.text


def test_settings_are_read_again_at_sighup(tmp_path: Path) -> None:
    file = tmp_path / "pda.toml"
    file.write_text("[log]\nlevel = 'info'\n")
    with Running(tmp_path, PDA_CONFIG=str(file)) as service:
        assert service.process is not None

        def reload(text: str, said: str) -> None:
            assert service.process is not None
            file.write_text(text)
            service.process.send_signal(signal.SIGHUP)
            eventually(service.log.read_text, lambda log: said in log)

        reload("[log]\nlevel = 'nonsense'\n", "the settings in force stay")
        reload(
            "[log]\nformat = 'json'\nslow_ms = 0.001\n[retention]\ndays = 30.0\n[writer]\nbatch_lines = 7\n",
            "in force now: retention.days, log.format, log.slow_ms; in force after a restart: writer.batch_lines",
        )
        service.send([attempt()])
        last = eventually(service.log.read_text, lambda log: "a transaction took" in log)
        assert json.loads(last.splitlines()[-1])["level"] in {"info", "warning"}
        reload("[log]\nformat = 'json'\n", "in force now: retention.days, log.slow_ms")
        assert service.get("/api/v1/status")["healthy"]
