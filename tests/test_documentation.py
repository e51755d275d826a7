"""The README and conf/pda.toml name every key, command, route and metric."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import click
import msgspec
import pytest

from pda import config
from pda.cli import main
from pda.metrics import Metrics
from tests.support import RULES, commands
from tests.web.support import RunningService

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def keys(kind: object) -> set[str]:
    """All keys of a settings type and of those inside it."""
    found: set[str] = set()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            found |= {field.name} | keys(field.type)
    for inner in getattr(kind, "__args__", ()):
        found |= keys(inner)
    return found


def test_every_key_is_documented() -> None:
    example = (ROOT / "conf" / "pda.toml").read_text("utf-8")
    for section, kind in get_type_hints(config.Settings).items():
        assert f"[{section}]" in README
        for key in keys(kind) - {"listener", "bindings", "original_api"}:
            assert f"`{key}`" in README, key
            assert re.search(rf"^(# )?{key} = |^# \[{section}\.{key}\]$", example, re.MULTILINE), (
                key
            )


@pytest.mark.parametrize(
    ("name", "command"), [(" ".join(["pda", *way]), command) for way, command in commands(main)]
)
def test_every_command_is_documented(name: str, command: click.Command) -> None:
    assert f"`{name}" in README
    example = (command.help or "").partition("Example: ")[2]
    assert "pda" in example, name


def test_every_metric_is_documented() -> None:
    from pda.ingest import Ingest
    from pda.maillog.pipeline import Pipeline
    from pda.receive import Counters

    ingest = Ingest(Pipeline(RULES), None, config.zone)  # type: ignore[arg-type]  # writes nothing
    ingest.pipeline.tally.kinds["smtp", "delivery"] += 1
    sizes = dict.fromkeys(("database octets", "write-ahead log octets", "open entries",
                           "resident memory octets"), 1)  # fmt: skip
    named = {name.replace("-", " "): size for name, size in sizes.items()}
    rules = RunningService().rules_status()
    text = Metrics({"tcp://127.0.0.1:1": Counters()}, ingest, named, rules).text().decode()
    for metric in re.findall(r"^(pda_\w+)", text, re.MULTILINE):
        assert metric.removesuffix("_created") in README, metric
