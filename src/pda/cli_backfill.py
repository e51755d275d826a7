"""The command line's import: which files are meant, who does the work, and what came of it.

Owns arguments and exit statuses of `pda backfill`. A running service does the writing: it is
handed the opened files. All are opened before the first is read, so that a rotation meanwhile
changes nothing.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click
import msgspec

from pda import backfill as edge
from pda import config, logs, orders
from pda.apart import Process, is_worth_a_process, likely_job
from pda.backfill import BackfillError, LogFile
from pda.cli_shared import key_of, moment_option, one_sentence, replies
from pda.config import BackfillSettings, Settings
from pda.orders import ImportFile
from pda.prospects import Find, ImportState, Prospect, Report, interrupted, prospect
from pda.reading import Wanted
from pda.store import imports
from pda.store.database import StoreError, open_reader

_STDIN = Path("-")
_Chosen: TypeAlias = "list[LogFile | ImportState]"
"""Files in their order: opened, or with what is wrong with them."""


def _zone_option(_: click.Context, option: click.Parameter, text: str | None) -> str | None:
    if text is not None:
        try:
            config.zone(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param=option) from None
    return text


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--zone", callback=_zone_option, help="Of stamps without one, as Europe/Prague.")
@click.option("--host", help="The mail host of lines without one.")
@click.option("--since", callback=moment_option, help="Nothing before this time or date.")
@click.option("--until", callback=moment_option, help="Nothing after this time or date.")
@click.option("--max-bytes", type=click.IntRange(1), help="The newest files, up to so many bytes.")
@click.option("--again", is_flag=True, help="Also what is known already.")
@click.option("--dry-run", is_flag=True, help="Only say what would be read, in which order.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@one_sentence
def backfill(config_file: Path | None, /, files: tuple[Path, ...], **options: Any) -> None:
    """Import rotated logs, oldest first; without FILES those of [backfill].

    FILES are files (plain, .gz, .bz2, .xz, .zst), directories, patterns, or - for standard input.
    It may be interrupted and repeated at any time: only what is new is read, and what is known
    already changes nothing. A running service does the writing.

    Example: pda backfill /var/log/mail.log*
    """
    settings = config.load(config_file)
    logs.begin(settings.log)
    zone, host = options["zone"] or settings.receive.zone, options["host"]
    hostname = settings.receive.hostname if host is None else host
    wanted = Wanted(zone, hostname, options["since"], options["until"], options["again"])
    with _opened(_chosen(files, settings.backfill, options["max_bytes"])) as chosen:
        if options["dry_run"]:
            from pda import output_imports

            states = [one for one in chosen if isinstance(one, ImportState)]
            output_imports.prospects(_prospects(settings, chosen, wanted), options["as_json"])
            output_imports.errors(states)
        else:
            states = _import(settings, chosen, wanted)
            from pda import output_imports

            output_imports.imported(states, options["as_json"])
    if any(state.error for state in states):
        sys.exit(1)


def _chosen(
    files: tuple[Path, ...], settings: BackfillSettings, max_bytes: int | None
) -> list[Path]:
    """In their order, within the budget; raises `BackfillError` where there is none."""
    if max_bytes is not None:
        settings = msgspec.structs.replace(settings, max_bytes=max_bytes)
    if not files:
        from pda.catchup import configured_logs

        if paths := configured_logs(settings):
            return paths
        where = f"no file in {settings.directory} is named {settings.pattern}"
        raise BackfillError(f"there is no log to import: {where}")
    streams = [path for path in files if path == _STDIN]
    paths = edge.oldest_first(edge.expanded(set(files) - {_STDIN}, settings.pattern))
    if settings.max_bytes:
        within = edge.newest_within(paths, settings.max_bytes)
        if left_out := len(paths) - len(within):
            click.echo(f"{left_out} older files are left out: backfill.max_bytes", err=True)
        paths = within
    if not paths and not streams:
        raise BackfillError("there is no log to import")
    return paths + streams[:1]


@contextmanager
def _opened(paths: Sequence[Path]) -> Iterator[_Chosen]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened: _Chosen = []
    try:
        for path in paths:
            try:
                opened.append(edge.open_stream(0) if path == _STDIN else edge.open_log(path))
            except BackfillError as error:
                opened.append(ImportState(str(path), 0, finished=True, error=str(error)))
        yield opened
    finally:
        for file in opened:
            if isinstance(file, LogFile):
                file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _prospects(settings: Settings, chosen: _Chosen, wanted: Wanted) -> list[Prospect]:
    """What would be done with each file; there may be no database yet."""
    find: Find = lambda _: []  # noqa: E731
    if settings.database.exists():
        find = partial(imports.find, open_reader(settings.database, key_of(settings)))
    return [
        prospect(one, wanted, find)
        if isinstance(one, LogFile)
        else Prospect(one.name, 0, one.error)
        for one in chosen
    ]


def _import(settings: Settings, chosen: _Chosen, wanted: Wanted) -> list[ImportState]:
    """Imports what could be opened; a state for each of them all."""
    files = [one for one in chosen if isinstance(one, LogFile)]
    process = None
    if (sock := orders.running(settings.control_socket)) is not None:
        sock.close()
    elif (large := next(filter(is_worth_a_process, files), None)) is not None:
        # It begins while this one still loads what it needs.
        process = Process.forked(likely_job(settings, large, wanted))
    from pda.alone import import_alone
    from pda.output_imports import Progress

    with Progress([file.size for file in files]) as progress:
        if sock is None:
            states = import_alone(settings, files, wanted, progress.report, process)
        else:
            states = _hand_over(settings, files, wanted, progress.report)
    rest = iter(states)
    return [next(rest) if isinstance(one, LogFile) else one for one in chosen]


def _hand_over(
    settings: Settings, files: Sequence[LogFile], wanted: Wanted, report: Report
) -> list[ImportState]:
    """Lets the running service import files that this process has opened, until interrupted."""
    states: list[ImportState] = []
    for file in files:
        if states and states[-1].interrupted:
            states.append(interrupted(file))
            continue
        state = ImportState(file.name, file.size)
        order = ImportFile(
            file.name, wanted.zone, wanted.hostname, wanted.since, wanted.until, wanted.again
        )
        try:
            for reply in replies(settings, order, [file.descriptor]):
                state = msgspec.json.decode(reply, type=ImportState)
                report(state)
        except StoreError as error:
            state.error = f"{file.name}: {error}"
        states.append(state)
    return states
