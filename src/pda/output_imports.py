"""What the command line prints of an import: how it goes, and what came of it.

Owns forms only: a progress bar on a terminal, plain lines elsewhere, tables, JSON.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from pda.output import json_line, printed, visible
from pda.prospects import ImportState, Prospect
from pda.texts import plain

_NUMBERS = ("lines", "attempts", "new", "known", "unknown lines", "seconds")


class Progress:
    """Tells on standard error how an import goes; elsewhere than on a terminal once a second."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._next = time.monotonic() + 1
        self._begun = time.monotonic()
        self._octets = self._lines = 0
        console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(None),
            TaskProgressColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[speed]:,} lines/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=sum(sizes) or None, speed=0)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, state: ImportState) -> None:
        """Says how far an import is."""
        if state.finished:
            self._octets += state.size
            self._lines += state.lines
        if self._bar.disable:
            self._say(state)
            return
        now, lines = time.monotonic(), self._lines + state.lines * (not state.finished)
        self._bar.update(
            self._task,
            description=plain(state.name),
            completed=self._octets + state.octets * (not state.finished),
            speed=round(lines / max(now - self._begun, 0.1)),
        )

    def _say(self, state: ImportState) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1
            click.echo(f"{plain(state.name)}: {state.lines} lines", err=True)


def imported(states: Sequence[ImportState], as_json: bool) -> None:
    """The result for each file, and a sentence for each that could not be read whole."""
    if as_json:
        click.echo(json_line({"files": [_values(state) for state in states]}).decode(), nl=False)
    else:
        table = Table("file", *_NUMBERS, "", header_style="bold")
        for column in table.columns[1:-1]:
            column.justify = "right"
        for state in states:
            table.add_row(visible(state.name), *_numbers(state), state.note)
        if len(states) > 1:
            table.add_section()
            table.add_row("all", *_numbers(_sum(states)), "")
        printed(table)
    errors(states)


def errors(states: Sequence[ImportState]) -> None:
    """A sentence for each file that was not read, or not whole."""
    for state in states:
        if state.error:
            click.echo(plain(state.error), err=True)


def _values(state: ImportState) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(state)
    return {**values, "known": state.known, "seconds": round(state.seconds, 3)}


def _numbers(state: ImportState) -> list[str]:
    counts = (state.lines, state.attempts, state.new, state.known, state.unknown)
    return [*map(str, counts), f"{state.seconds:.1f}"]


def _sum(states: Sequence[ImportState]) -> ImportState:
    whole = ImportState("", 0)
    for state in states:
        for name in ("lines", "attempts", "new", "refused_attempts", "unknown", "seconds"):
            setattr(whole, name, getattr(whole, name) + getattr(state, name))
    return whole


def prospects(found: Sequence[Prospect], as_json: bool) -> None:
    """What would be read, in this order."""
    if as_json:
        click.echo(json_line({"files": found}).decode(), nl=False)
        return
    table = Table("file", "octets", "would be done", header_style="bold")
    table.columns[1].justify = "right"
    for one in found:
        table.add_row(visible(one.name), str(one.size), visible(one.todo))
    printed(table)
