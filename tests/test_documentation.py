"""The README and conf/pda.toml name every key, command, route and metric."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_type_hints

import click
import msgspec
import pytest

from pda import config
from pda.cli import main
from pda.metrics import Metrics
from tests.support import RULES, Store, commands
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


def every_metric(folder: Path) -> set[str]:
    """The names of all metrics, as Prometheus has them."""
    from pda.housekeeping import Kept
    from pda.ingest import Ingest
    from pda.journal import JournalState
    from pda.maillog.pipeline import Pipeline
    from pda.receive import Counters

    ingest = Ingest(Pipeline(RULES), Store(folder).writer, config.zone)
    ingest.pipeline.tally.kinds["smtp", "delivery"] += 1
    ingest.pipeline.tally.note_lost("mx1", 1)
    sizes = dict.fromkeys(("database octets", "write-ahead log octets", "open entries",
                           "resident memory octets"), 1)  # fmt: skip
    named = {name.replace("-", " "): size for name, size in sizes.items()}
    rules = RunningService().rules_status()
    listeners = {"tcp://127.0.0.1:1": Counters()}
    text = Metrics(listeners, ingest, named, rules, Kept(), JournalState()).text().decode()
    return {one.removesuffix("_created") for one in re.findall(r"^(pda_\w+)", text, re.MULTILINE)}


def test_every_metric_is_documented(tmp_path: Path) -> None:
    for metric in every_metric(tmp_path):
        assert metric in README, metric


def test_the_dashboard_asks_for_metrics_that_there_are(tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "conf" / "grafana" / "pda.json").read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [one["query"] for one in dashboard["templating"]["list"]]
    used = set(re.findall(r"pda_\w+", " ".join(asked)))
    assert len(used) > 20
    assert used <= every_metric(tmp_path)
