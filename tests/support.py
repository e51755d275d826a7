"""What several tests need: invented log lines, and a store fed by the real pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from importlib.resources import files
from pathlib import Path

import click
import pytest

from pda.housekeeping import Kept
from pda.maillog import bounce
from pda.maillog.clients import ClientRules
from pda.maillog.correlate import Correlator, gather
from pda.maillog.events import Event, Told
from pda.maillog.pipeline import Pipeline
from pda.store import retention
from pda.store.audit import Author
from pda.store.database import Connection, find_key, open_reader, open_writer
from pda.store.edits import Edit, T
from pda.store.writer import Writer

NOW = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()) * 1_000_000
TESTS = Author("tests")
ANYBODY = ClientRules()
"""No client id is bound to anybody."""
LONG_ID = "4jXPlN1VQlzJbSD"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="the shared measuring data is not beside this checkout"
)
RULES_XML = files("pda").joinpath("data", "bounce-rules.xml").read_bytes()
RULES = bounce.load(RULES_XML)


def commands(
    group: click.Group, way: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, and the words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*way, name))
        else:
            yield (*way, name), command


def line(
    text: str, *, at: str = "2026-03-10T10:00:00.000000+00:00", program: str = "smtp",
    host: str = "mx1", name: str = "postfix",
) -> bytes:  # fmt: skip
    """One log line."""
    return f"{at} {host} {name}/{program}[42]: {text}".encode()


def attempt(
    status: str = "sent", *, queue_id: str = LONG_ID, to: str = "rcpt@example.org",
    at: str = "2026-03-10T10:00:01.500000+00:00", delay: str = "1.5",
    reason: str = "250 2.0.0 Ok", dsn: str = "2.0.0",
) -> bytes:  # fmt: skip
    """One delivery record."""
    return line(
        f"{queue_id}: to=<{to}>, relay=mx.example.org[192.0.2.1]:25, delay={delay},"
        f" delays=0.1/0/0.4/1, dsn={dsn}, status={status} ({reason})",
        at=at,
    )


def message(
    queue_id: str = LONG_ID,
    *,
    message_id: str = "<98494.7.1@shop>",
    sender: str = "news@example.com",
    deliveries: Sequence[bytes] = (),
) -> list[bytes]:
    """The lines of a message's life, `removed` included."""
    return [
        line(f"{queue_id}: client=app.example.com[192.0.2.9]", program="smtpd"),
        line(f"{queue_id}: message-id={message_id}", program="cleanup"),
        line(f"{queue_id}: from=<{sender}>, size=5, nrcpt=1 (queue active)", program="qmgr"),
        *deliveries,
        line(f"{queue_id}: removed", program="qmgr", at="2026-03-10T10:00:09.000000+00:00"),
    ]


def events(lines: Iterable[bytes], zone: tzinfo = UTC, *, live: bool = True) -> list[Event]:
    """What the pipeline makes of lines."""
    return Pipeline(RULES).source(zone, live=live).read(list(lines), NOW)


class Store:
    """A real encrypted database in a folder of its own."""

    def __init__(self, folder: Path, limit: int = 100_000, clients: ClientRules = ANYBODY) -> None:
        self.path = folder / "pda.db"
        self.key = find_key(self.path, folder / "pda.key")
        self.correlator = Correlator(clients, limit)
        self.connection = open_writer(self.path, self.key)
        self.writer = Writer(self.connection, self.correlator)

    def add(self, lines: Iterable[bytes], zone: tzinfo = UTC, *, live: bool = True) -> None:
        """Lines all the way into the database."""
        self.add_events(events(lines, zone, live=live))

    def add_events(self, new: Sequence[Event]) -> None:
        """Events into the database."""
        self.add_told(gather(new))

    def add_told(self, told: Sequence[Told]) -> None:
        """What events say, into the database."""
        self.writer.commit(self.writer.prepare(self.writer.removal.admit(told)))

    def make(self, edit: Edit[T], by: Author = TESTS, at: int = NOW) -> T:
        """Makes an edit as the running service does."""
        return self.writer.make(edit, by, at)

    def remove_older(self, at: int, entries: int = 30, latest: int = 0) -> Kept:
        """Removes what is too old, so many entries at a time, as the running service does."""
        kept, after = Kept(), retention.FIRST
        while True:
            born = retention.find_older(self.connection, at, after, most=50)
            for begin in range(0, len(born.numbers), entries):
                some = born.numbers[begin : begin + entries]
                bounds = retention.Bounds(at, latest)
                gone = retention.remove_older(self.connection, bounds, some, entries)
                self.writer.forget(gone.entries)
                kept.removed += len(gone.entries)
                kept.unsettled += gone.unsettled
            if born.after is None:
                return kept
            assert born.after > after  # what stays is not looked at again
            after = born.after

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A reading connection."""
        connection = open_reader(self.path, self.key)
        try:
            yield connection
        finally:
            connection.close()

    def everything(self) -> dict[str, list[object]]:
        """All that must not depend on the order of arrival, in an order of its own."""
        asked = {
            "attempts": "SELECT e.queue_id, a.digest, a.recipient, a.status, a.at FROM attempt_told a"
            " JOIN entry e ON e.id = a.entry_id",
            "outcomes": "SELECT e.queue_id, e.born, o.recipient, o.state, o.first_at, o.last_at,"
            " o.attempts FROM outcome o JOIN entry e ON e.id = o.entry_id",
            "entries": "SELECT e.queue_id, e.born, c.name, e.message_id, e.sender, e.expired_at,"
            " e.removed_at FROM entry e JOIN client c ON c.id = e.client_id",
        }
        with self.reading() as connection:
            return {
                name: sorted(connection.execute(sql).fetchall(), key=repr)
                for name, sql in asked.items()
            }

    def close(self) -> None:
        """Closes the database."""
        self.writer.close()
