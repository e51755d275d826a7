"""The questions that `tools/bench` asks of a store, each with the time that it may take.

Owns their names and how they are measured: with a reading connection, as the service has them,
while lines come in. What is asked for is drawn from the store itself, the same at every run.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pda.maillog.events import State, address_key
from pda.store import queries
from pda.store.addresses import of_recipients
from pda.store.database import Connection
from pda.store.queries import AttemptRow, Filter, Scope

DAY = 86_400_000_000
TIMES = 40
MOST_SECONDS = 5.0
"""For one question, asked again and again."""
EXPORTED_AT_A_TIME = 5_000


class Asked(NamedTuple):
    """How a question went."""

    name: str
    p95: float
    """Seconds."""
    most: float
    """Seconds that it may take."""


def measure(connection: Connection) -> list[Asked]:
    """The 95th percentile of each question."""
    return [
        Asked(name, _p95(ask), most / 1000) for name, most, ask in _questions(connection)
    ]  # fmt: skip


def export(connection: Connection, most: int) -> int:
    """Reads so many attempts page by page; how many there were."""
    count, after = 0, ""
    while count < most:
        page = queries.attempts_page(
            connection, Filter(), after, EXPORTED_AT_A_TIME, newest_first=False
        )
        count += len(page.rows)
        if page.next is None:
            break
        after = page.next
    return count


@contextmanager
def ingesting(log: Path, port: int, rate: int) -> Iterator[None]:
    """While so many lines of a log come in each second."""
    over = threading.Event()
    sender = threading.Thread(target=_send, args=(log, port, rate, over))
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


def _send(log: Path, port: int, rate: int, over: threading.Event) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock, log.open("rb") as lines:
        begun, sent = time.monotonic(), 0
        while not over.wait(0.05):
            wanted = int((time.monotonic() - begun) * rate)
            some = b"".join(line for line, _ in zip(lines, range(wanted - sent), strict=False))
            if not some:
                lines.seek(0)  # known already, and read all the same
            sock.sendall(some)
            sent = wanted


def _p95(ask: Callable[[], object]) -> float:
    took: list[float] = []
    end = time.perf_counter() + MOST_SECONDS
    while len(took) < TIMES and (len(took) < 3 or time.perf_counter() < end):
        begun = time.perf_counter()
        ask()
        took.append(time.perf_counter() - begun)
    return sorted(took)[len(took) * 95 // 100]


def _questions(c: Connection) -> Iterator[tuple[str, float, Callable[[], object]]]:
    """Name, milliseconds, question."""
    draw = random.Random(1)
    first, last = _row(c, "SELECT min(born), max(born) FROM entry")
    assert isinstance(first, int)
    assert isinstance(last, int)
    clients = [one.name for one in queries.top(c, Scope(), "client", 5) if one.name]
    samples = _spread(c)
    domains = [one.name for one in queries.top(c, Scope(), "domain", 50)]
    categories = [one.name for one in queries.top(c, Scope(), "category", 5)]
    pages: dict[str, Callable[..., Any]] = {
        "attempts": queries.attempts_page,
        "outcomes": queries.outcomes_page,
        "messages": queries.messages_page,
    }

    def days(number: int) -> dict[str, Any]:
        since = draw.randint(first, max(first, last - number * DAY))
        return {"since": since, "until": since + number * DAY}

    def some() -> AttemptRow:
        return draw.choice(samples)

    def whose(page: Callable[..., Any], **when: int) -> Callable[[], object]:
        return lambda: page(c, Filter(client=draw.choice(clients), **(days(7) if when else {})))

    def far(page: Callable[..., Any], wanted: Filter) -> Callable[[], object]:
        after = _cursor_of_the_hundredth(c, page, wanted)
        return lambda: page(c, wanted, after)

    for name, page in pages.items():
        yield f"{name}, client, page 1", 50, whose(page)
        yield f"{name}, client and week", 50, whose(page, days=7)
        yield f"{name}, client, page 100", 50, far(page, Filter(client=draw.choice(clients)))
    outcomes, attempts = queries.outcomes_page, queries.attempts_page
    yield "recipient", 50, lambda: outcomes(c, Filter(recipient=some().recipient))
    yield "recipient's domain", 50, lambda: outcomes(c, Filter(domain=draw.choice(domains)))
    yield "message id", 50, lambda: attempts(c, Filter(message_id=some().message_id))
    yield "queue id", 50, lambda: attempts(c, Filter(queue_id=some().queue_id))
    yield "one message", 5, lambda: queries.story(c, some().id)
    yield "one address", 5, lambda: of_recipients(c, [address_key(some().recipient)], None)
    yield (
        "category and week",
        50,
        lambda: attempts(c, Filter(category=draw.choice(categories), **days(7))),
    )
    yield (
        "client's bounces, week",
        50,
        lambda: outcomes(
            c, Filter(client=draw.choice(clients), state=State.HARD_BOUNCE, **days(7))
        ),
    )
    yield "text of addresses", 300, lambda: outcomes(c, Filter(text=some().recipient[:6]))
    yield "text that is nowhere", 300, lambda: outcomes(c, Filter(text="zqxzqx"))
    yield "by hour, 30 days", 50, lambda: queries.series(c, Scope(**days(30)), "hour")
    yield "by provider, 30 days", 50, lambda: queries.top(c, Scope(**days(30)), "provider")
    yield "by category, 30 days", 50, lambda: queries.top(c, Scope(**days(30)), "category")
    yield "delays, week", 50, lambda: queries.delays(c, Scope(**days(7)))
    yield "20 domains, 30 days", 50, lambda: queries.top(c, Scope(**days(30)), "domain")
    yield "totals and states", 50, lambda: (queries.totals(c), queries.states(c))


def _row(connection: Connection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row


def _spread(connection: Connection) -> list[AttemptRow]:
    """Attempts of all times, of those who were not written to often."""
    (last,) = _row(connection, "SELECT max(id) FROM entry")
    assert isinstance(last, int)
    found = []
    for number in range(1, last, max(1, last // 100)):
        names = connection.execute("SELECT queue_id FROM entry WHERE id = ?", (number,)).fetchone()
        if names:
            page = queries.attempts_page(connection, Filter(queue_id=str(names[0])), limit=1)
            found += [row for row in page.rows if row.message_id]
    return found


def _cursor_of_the_hundredth(
    connection: Connection, page: Callable[..., Any], wanted: Filter
) -> str:
    after = ""
    for _ in range(99):
        following = page(connection, wanted, after).next
        if following is None:
            break
        after = following
    return after
