"""The command line: what an operator types.

Owns arguments, output and exit statuses; sees every room, does nothing that a room could do.
Errors are one sentence on standard error and status 1 (2 for wrong arguments).

What takes long to load (Trio, Quart, the rules, argon2) is imported by the commands that need it:
`pda parse` and `pda query` begin within a fraction of the second that all of it would take.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import click
import msgspec

from pda import config, orders, output
from pda.cli_shared import key_of, moment_option, one_sentence, replies
from pda.orders import GetStatus
from pda.store import queries
from pda.store.database import make_key, open_reader
from pda.store.queries import Filter
from pda.times import rfc3339

if TYPE_CHECKING:
    from pda.maillog.syslog import HeaderReader


class Commands(click.Group):
    """The commands; those of other modules are loaded when they are asked for."""

    ELSEWHERE: ClassVar = {
        "alerts": "pda.cli_alerts",
        "backfill": "pda.cli_backfill",
        "classify": "pda.cli_rules",
        "db": "pda.cli_db",
        "erase": "pda.cli_db",
        "rules": "pda.cli_rules",
        "token": "pda.cli_access",
        "user": "pda.cli_access",
    }

    def list_commands(self, context: click.Context) -> list[str]:
        """All names."""
        return sorted([*super().list_commands(context), *self.ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of this name, if there is one."""
        if name not in self.ELSEWHERE:
            return super().get_command(context, name)
        command: click.Command = getattr(import_module(self.ELSEWHERE[name]), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pda")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PDA_CONFIG",
    help="Settings, instead of /etc/pda/pda.toml.",
)
@click.pass_context
def main(context: click.Context, config_file: Path | None) -> None:
    """Postfix Deliverability Analytics: what became of every mail.

    Example: pda --config conf/pda.toml serve
    """
    # What is loaded stays until the end: to look for what of it is needed no more, also at the
    # very end, would take as long as many a command.
    gc.set_threshold(100_000, 20, 50)
    atexit.register(gc.freeze)
    context.obj = config_file


@main.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
@one_sentence
def serve(outer: Path | None, config_file: Path | None) -> None:
    """Receive syslog, store what it says, answer over HTTP, until SIGTERM or SIGINT.

    Example: pda serve --config /etc/pda/pda.toml
    """
    from pda import logs, service

    read = partial(config.load, config_file or outer)
    settings = read()
    logs.begin(settings.log)
    sys.exit(service.run(settings, read))


@main.command()
@click.option("--zone", default="local", help="Of stamps without a zone, as Europe/Prague.")
@click.option("--hostname", default="", help="Of lines without one.")
@click.option("--counts", is_flag=True, help="Only how many lines, by program and kind.")
@click.argument("source", type=click.File("rb"), default="-")
@one_sentence
def parse(zone: str, hostname: str, counts: bool, source: BinaryIO) -> None:
    """Read log lines and print one JSON object for each: what pda understands.

    Example: tail -n 100 /var/log/mail.log | pda parse
    """
    from pda.maillog.syslog import HeaderReader

    try:
        reader = HeaderReader(config.zone(zone), hostname)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--zone") from None
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    found = (parsed(reader, line, now) for line in _texts(source))
    for one in _counted(found) if counts else found:
        sys.stdout.buffer.write(output.json_line(one))


def _texts(source: BinaryIO) -> Iterator[str]:
    """The lines, cut as those of an import are."""
    for line in source:
        if b"\0" not in line:
            yield line.decode("utf-8", "backslashreplace").removesuffix("\n")
            continue
        from pda.backfill import parted

        for part in parted(line):
            yield part.decode("utf-8", "backslashreplace")


def _counted(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many lines, most of one kind first; those of no program have no header."""
    counts = Counter((one.get("program", ""), one["kind"]) for one in found)
    return [
        {"program": program, "kind": kind, "lines": count}
        for (program, kind), count in counts.most_common()
    ]


def parsed(reader: HeaderReader, line: str, now: int) -> dict[str, Any]:
    """What `pda parse` prints of a line."""
    from pda.maillog import postfix
    from pda.maillog.events.shown import fields

    header = reader.read(line, now)
    if header is None:
        return {"kind": "unknown", "line": line}
    queue_id, record = postfix.read(header.text, header.program, header.syslog_name)
    found: dict[str, Any] = {
        "timestamp": rfc3339(header.at),
        "hostname": header.hostname,
        "syslog_name": header.syslog_name,
        "program": header.program,
        "procid": header.procid,
        "kind": record.kind(),
        "queue_id": queue_id,
        **fields(record),
    }
    if header.repeat:
        found["repeat"] = header.repeat
    return found


@main.command()
@click.argument("what", type=click.Choice(["attempts", "outcomes", "messages"]))
@click.option("--client", help="Client id.")
@click.option("--recipient", help="Address as logged.")
@click.option("--queue-id")
@click.option("--message-id", help="As logged, or the original's msgId.")
@click.option("--from", "since", callback=moment_option, help="Time or date, inclusive.")
@click.option("--to", "until", callback=moment_option, help="Time or date, inclusive.")
@click.option("--limit", type=click.IntRange(1), help="Rows at the most.")
@click.option("--format", "form", type=click.Choice(["table", "ndjson", "csv"]), default="table")
@click.pass_obj
@one_sentence
def query(config_file: Path | None, /, what: str, form: str, **wanted: Any) -> None:
    """Print what is stored: delivery attempts, outcomes of recipients, or messages.

    Example: pda query outcomes --client newsletter --from 2026-11-01 --format csv
    """
    settings = config.load(config_file)
    connection = open_reader(settings.database, key_of(settings))
    questions: dict[str, Callable[..., list[Any]]] = {
        "attempts": queries.attempts,
        "outcomes": queries.outcomes,
        "messages": queries.messages,
    }
    try:
        rows = questions[what](connection, Filter(**wanted))
    finally:
        connection.close()
    output.rows(rows, form)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--unknown", is_flag=True, help="The last shapes of lines that are not known.")
@click.pass_obj
@one_sentence
def status(config_file: Path | None, *, as_json: bool, unknown: bool) -> None:
    """How the running service is: listeners, lines, sizes. Status 3 if none runs.

    Example: pda status
    """
    settings = config.load(config_file)
    if (sock := orders.running(settings.control_socket)) is None:
        click.echo(f"no service runs on {settings.database}", err=True)
        sys.exit(3)
    sock.close()
    (body,) = replies(settings, GetStatus())
    if as_json:
        click.echo(bytes(body).decode())
    elif unknown:
        output.shapes(msgspec.json.decode(body)["unknown_shapes"])
    else:
        output.status(msgspec.json.decode(body))


@main.group()
def key() -> None:
    """The database's key."""


@key.command("new")
@click.argument("path", type=click.Path(path_type=Path))
@one_sentence
def new_key(path: Path) -> None:
    """Make a key in a new file of mode 0600. Keep a copy: nobody can read the database without.

    Example: pda key new /etc/pda/pda.key
    """
    make_key(path)
    click.echo(f"a new key is in {path}")
