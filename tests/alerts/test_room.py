"""Alerts found in a real store and sent to a real mail server and a real HTTP receiver."""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trustme

from pda import config, outbox
from pda.alerts import Alerts
from pda.outbox import PDA
from pda.outgoing import Outgoing
from pda.store import alerts as stored
from pda.store.audit import Author
from pda.store.database import DatabaseError
from pda.store.edits import Edit, T
from pda.store.outbox import heads
from pda.store.readers import Readers
from pda.store.tally import DAY, HOUR
from pda.times import rfc3339
from tests.mailserver import Sink, free_port, taking_mail
from tests.receiver import receiving
from tests.support import NOW, Store, attempt, message
from tests.web.support import RunningService

SECRET = "the secret of the hook"
USER_UNKNOWN = "host mx.example.org[192.0.2.1] said: 550 5.1.1 <{}>: no such user"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(outbox, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with taking_mail() as found:
        yield found


def settings(folder: Path, sink: Sink | None = None, **others: Any) -> config.Settings:
    """Alerts to one mail server; without what depends on the machine that tests."""
    (folder / "secret").write_text(SECRET)
    usual = {"disk_free_percent": 0, "silence_h": 0, "sender": "pda@example.net"}
    if sink is not None:
        usual |= {"recipients": ["ops@example.org"], "smtp": f"smtp://127.0.0.1:{sink.port}"}
    found = {"store": {"path": str(folder / "pda.db")}, "alerts": usual | others}
    return msgspec.convert(found, config.Settings)


@dataclass
class Alarmed:
    """The alerts of a service that stands still, over a real store."""

    alerts: Alerts
    store: Store
    service: RunningService
    nursery: trio.Nursery
    made: trio.Event
    """Set when the store was written, and then another one."""

    async def failed(self) -> None:
        """Until something has not arrived."""
        while not self.store.connection.execute("SELECT 1 FROM outbox WHERE tries > 0").fetchall():
            await self.made.wait()

    def told(self) -> list[tuple[str, str, bool]]:
        """Kind, name, and whether it is open, of all alerts."""
        with self.store.reading() as connection:
            found = stored.alerts(connection)
        return [(one.finding.kind, one.finding.name, not one.cleared_at) for one in found]


@asynccontextmanager
async def alarmed(
    folder: Path, of: config.Settings, store: Store | None = None
) -> AsyncIterator[Alarmed]:
    """As the service connects them; ended without a farewell, as by kill -9."""
    opened = store or Store(folder)
    service, readers = RunningService(store=opened), Readers(opened.path, opened.key, 2)

    async def make(edit: Edit[T], by: Author) -> T:
        result = await service.make(edit, by)
        here.made.set()
        here.made = trio.Event()
        return result

    outgoing = Outgoing(readers, make, of)
    alerts = Alerts(outgoing, service, lambda: of)
    async with trio.open_nursery() as nursery:
        here = Alarmed(alerts, opened, service, nursery, trio.Event())
        nursery.start_soon(outgoing.outbox.run)
        with trio.fail_after(30):
            yield here
        nursery.cancel_scope.cancel()
    readers.close()
    if store is None:
        opened.close()


async def came(event: threading.Event) -> None:
    """Until something has come."""
    assert await trio.to_thread.run_sync(event.wait, 20)
    event.clear()


def mails(number: int, status: str = "bounced", *, at: int = NOW, first: int = 0) -> list[bytes]:
    """So many messages of client shop, each with one attempt."""
    found = []
    for n in range(first, first + number):
        queue_id = f"4jXPlN1VQlz{n:04}"
        to = f"user{n}@example.org"
        said = USER_UNKNOWN.format(to) if status == "bounced" else "250 2.0.0 Ok"
        dsn = {"bounced": "5.1.1", "deferred": "4.0.0", "sent": "2.0.0"}[status]
        one = attempt(
            status, queue_id=queue_id, to=to, at=rfc3339(at), delay="0.1", reason=said, dsn=dsn
        )
        found += [
            line.replace(b"2026-03-10T10:00:00.000000+00:00", rfc3339(at - 200_000).encode())
            .replace(b"2026-03-10T10:00:09.000000+00:00", rfc3339(at + 1000).encode())
            for line in message(queue_id, message_id=f"<98494.{n}.1@shop>", deliveries=[one])
        ]  # fmt: skip
    return found


BAD = [*mails(20, at=NOW - 60_000_000), *mails(80, "sent", at=NOW - 60_000_000, first=20)]


async def test_bounces_of_a_client_by_mail_and_webhook(tmp_path: Path, sink: Sink) -> None:
    with receiving() as receiver:
        receiver.secret = SECRET
        hook = {"webhook": receiver.url, "webhook_secret_file": str(tmp_path / "secret")}
        async with alarmed(tmp_path, settings(tmp_path, sink, **hook)) as here:
            here.store.add(BAD)
            await here.alerts.look(NOW)
            await came(sink.came)
            await came(receiver.came)
            await here.alerts.sending.idle()
        about = {(one["kind"], one["about"], one["name"]) for one in receiver.bodies[0]["alerts"]}
        assert ("bounces", "client", "shop") in about
        assert ("bounces", "domain", "example.org") in about
        assert receiver.bodies[0]["alerts"][0]["state"] == "raised"
    (mail,) = sink.mails
    assert mail["To"] == "ops@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "20 % bounces, client shop" in mail["Subject"]
    assert len(mail["Subject"]) < 78
    text = mail.get_content()
    assert "20 % (20 of 100)" in text
    assert "20 × invalid-recipient" in text
    assert "no such user" in text
    assert "What to do" in text
    assert "…@example.org" in text
    assert not re.search(r"user\d", text)


async def test_neither_repeated_nor_forgotten_by_a_restart(tmp_path: Path, sink: Sink) -> None:
    """The mail server is away when the alert is raised, and the service is killed."""
    port = free_port()
    of = settings(tmp_path, sink, smtp=f"smtp://127.0.0.1:{port}")
    async with alarmed(tmp_path, of) as here:
        here.store.add(BAD)
        await here.alerts.look(NOW)
        await here.failed()
    with taking_mail(port=port) as back:
        async with alarmed(tmp_path, of) as here:
            await here.nursery.start(here.alerts.run)
            await came(back.came)
            await here.alerts.sending.idle()
            await here.alerts.look(NOW + HOUR // 6)
            await here.alerts.sending.idle()
            assert here.alerts.open >= 2
        assert len(back.mails) == 1


def titles(sink: Sink) -> list[str]:
    """What the subjects say behind the name of the host."""
    return [mail["Subject"].partition("] ")[2] for mail in sink.mails]


async def test_told_again_and_cleared(tmp_path: Path, sink: Sink) -> None:
    """By day the bounces are seen for two days, by hour for two hours."""
    of = settings(tmp_path, sink, repeat_h=6)
    async with alarmed(tmp_path, of) as here:
        here.store.add(BAD)
        for later in (0, 2, 3, 6, 7, 100, 101, 102):
            here.alerts._figures_at = -float("inf")  # else they are looked at every five minutes
            await here.alerts.look(NOW + later * HOUR)
        assert here.alerts.open == 0
        await here.alerts.sending.idle()
        assert not any(is_open for _, _, is_open in here.told())
    client, domain = "20 % bounces, client shop", "20 % bounces, domain example.org"
    assert titles(sink) == [
        f"{client} (+1)", f"over: {client}", f"still: {domain}", f"over: {domain}",
    ]  # fmt: skip
    assert len({mail["Message-ID"] for mail in sink.mails}) == 4


async def test_each_recipient_has_its_own_tries(tmp_path: Path, sink: Sink) -> None:
    sink.answers = ["450 4.2.0 later", "550 5.1.1 nobody"]
    of = settings(tmp_path, sink, recipients=["a@example.org", "b@example.org", "c@example.org"])
    async with alarmed(tmp_path, of) as here:
        here.store.add(BAD)
        await here.alerts.look(NOW)
        await here.alerts.sending.idle()
        with here.store.reading() as connection:
            assert heads(connection) == []
    assert len(sink.recipients) == 2
    assert sink.tries == 4


async def test_what_is_told_at_once_where_the_database_refuses(tmp_path: Path, sink: Sink) -> None:
    async with alarmed(tmp_path, settings(tmp_path, sink)) as here:
        here.service.trouble = "the database cannot be written: disk full"
        await here.alerts.look(NOW)
        await here.alerts.look(NOW + HOUR)
        assert titles(sink) == ["database cannot be written"]
        assert "disk full" in sink.mails[0].get_content()
        assert here.told() == []
        here.service.trouble = ""
        await here.alerts.look(NOW + 2 * HOUR)
        assert here.told() == [("database", "", True)]
        await here.alerts.look(NOW + 3 * HOUR)
        await here.alerts.sending.idle()
        assert here.told() == [("database", "", False)]
        await here.alerts.look(NOW + 4 * HOUR)
    assert titles(sink) == ["database cannot be written", "over: database cannot be written"]


async def test_faults_of_the_service_itself(tmp_path: Path, sink: Sink) -> None:
    async with alarmed(tmp_path, settings(tmp_path, sink)) as here:
        with here.alerts._faults.listening():
            logging.getLogger("pda.web.app").error("GET /x of %s failed", "ann@example.org")
            logging.getLogger("pda.outbox").error("not this one: it would go round in circles")
            await here.alerts.look(NOW)
        here.service.refusal = "rules.file: line 3 is no rule"
        await here.alerts.look(NOW + HOUR)
        await here.alerts.sending.idle()
        assert {kind for kind, _, _ in here.told()} == {"fault", "rules"}
    fault, rules = (mail.get_content() for mail in sink.mails)
    assert "GET /x of …@example.org failed" in fault
    assert "line 3 is no rule" in rules


async def test_lines_that_are_not_stored(tmp_path: Path, sink: Sink) -> None:
    async with alarmed(tmp_path, settings(tmp_path, sink)) as here:
        here.service.oldest_unstored = NOW
        await here.alerts.look(NOW + 200_000_000)
        assert here.told() == []
        await here.alerts.look(NOW + 400_000_000)
        assert here.told() == [("unacknowledged", "", True)]


async def test_a_stop_and_a_test_are_told(tmp_path: Path, sink: Sink) -> None:
    async with alarmed(tmp_path, settings(tmp_path, sink)) as here:
        assert await here.alerts.test() == ["mail ops@example.org: sent"]
        await here.alerts.farewell()
        assert here.told() == [("stopped", "", False)]
    assert [mail["Subject"].partition("] ")[2] for mail in sink.mails] == [
        "test of alerts",
        "pda stops",
    ]


async def test_nobody_is_told_where_nobody_is_named(tmp_path: Path) -> None:
    async with alarmed(tmp_path, settings(tmp_path)) as here:
        assert await here.alerts.test() == []
        await here.alerts.farewell()
        assert here.told() == []


@pytest.mark.parametrize("scheme", ["starttls", "smtps"])
async def test_tls_and_a_password(tmp_path: Path, scheme: str) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    (tmp_path / "password").write_text("horse\n")
    with taking_mail(context, implicit=scheme == "smtps") as sink:
        sink.user = "ops horse"
        of = settings(
            tmp_path, sink, smtp=f"{scheme}://localhost:{sink.port}", smtp_user="ops",
            smtp_password_file=str(tmp_path / "password"),
        )  # fmt: skip
        async with alarmed(tmp_path, of) as here:
            (refused,) = await here.alerts.test()
            assert "CERTIFICATE_VERIFY_FAILED" in refused
            authority.configure_trust(here.alerts.sending.mailer.trusted)
            assert await here.alerts.test() == ["mail ops@example.org: sent"]
            (tmp_path / "password").write_text("wrong")
            (refused,) = await here.alerts.test()
            assert "535" in refused
    assert sink.tls == [True]


async def test_a_server_without_tls_gets_no_password(tmp_path: Path, sink: Sink) -> None:
    of = settings(tmp_path, sink, smtp=f"starttls://127.0.0.1:{sink.port}")
    async with alarmed(tmp_path, of) as here:
        (refused,) = await here.alerts.test()
    assert "STARTTLS" in refused
    assert not sink.mails


async def test_our_own_mail_is_a_client_of_its_own(tmp_path: Path, sink: Sink) -> None:
    """It may go through the Postfix that is watched, and bounce."""
    async with alarmed(tmp_path, settings(tmp_path, sink)) as here:
        await here.alerts.test()
        (mail,) = sink.mails
        here.store.add(
            line.replace(b"<98494.7.1@shop>", mail["Message-ID"].encode())
            for line in message(deliveries=[attempt("bounced", dsn="5.1.1", reason="no")])
        )
        with here.store.reading() as connection:
            found = stored.figures(connection, NOW - HOUR)
    assert [pair.name for pair in found.pairs if pair.about == "client"] == [stored.CLIENT]


async def test_a_refused_write_is_the_drivers(tmp_path: Path) -> None:
    """The stand-in refuses as the driver does."""
    async with alarmed(tmp_path, settings(tmp_path)) as here:
        here.service.trouble = "full"
        with pytest.raises(DatabaseError):
            await here.service.make(stored.NoteAlerts([], []), PDA)


async def test_silence_where_there_is_mail_every_day(tmp_path: Path, sink: Sink) -> None:
    """Seven days with mail at this hour, and today nothing: of a service that hears no line."""
    async with alarmed(tmp_path, settings(tmp_path, sink, silence_h=1)) as here:
        for day in range(1, 8):
            at = NOW - day * DAY - HOUR // 2
            here.store.add(mails(3, "sent", at=at, first=10 * day))
        here.service.started_at = NOW - DAY
        await here.alerts.look(NOW)
        assert here.told() == [("no-lines", "", True)]
        here.service.last_line_at = NOW + HOUR
        here.alerts._figures_at = -float("inf")
        await here.alerts.look(NOW + HOUR // 3)
        assert ("no-mail", "", True) in here.told()
        await here.alerts.sending.idle()
    assert titles(sink) == ["no log lines for 1 h", "no mail for 1 h"]
