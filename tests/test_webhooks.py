"""Webhooks, told over real HTTP: each change at least once, whatever fails in between."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import trio
import trustme

from pda import config, outbox
from pda.news import News
from pda.outgoing import Outgoing
from pda.store import feed, webhooks
from pda.store.audit import Author
from pda.store.edits import Edit, T
from pda.store.outbox import heads
from pda.store.readers import Readers
from pda.store.webhooks import AddWebhook, EnableWebhook, RemoveWebhook, Webhook
from tests.receiver import Receiver, receiving
from tests.support import Store, attempt, message

OTHER = "4jXPlN1VQlzJbSX"
LATER = "2026-03-10T10:05:00.000000+00:00"
DEFERRED = attempt("deferred", dsn="4.0.0", reason="later")
SECRET = "pdawh_x"
SETTINGS = msgspec.convert({"webhooks": {"allow_private": ["127.0.0.0/8"]}}, config.Settings)


@dataclass
class Sending:
    """The parts that send, over a real store, as the service connects them."""

    store: Store
    news: News
    outgoing: Outgoing
    edited: trio.Event

    async def until(self, is_so: Callable[[Webhook], object]) -> Webhook:
        """The webhook, once it is so."""
        while not is_so(webhook := self.webhook()):
            await self.edited.wait()
        return webhook

    async def make(self, edit: Edit[T], by: Author = outbox.PDA) -> T:
        result = self.store.make(edit, by, time.time_ns() // 1000)
        self.outgoing.wake()
        return result

    def add(self, *lines: bytes) -> None:
        """Lines, and the news of their commit."""
        self.store.add(lines)
        with self.store.reading() as connection:
            self.news.tell(feed.last_change(connection), ["shop"])

    async def hook(self, receiver: Receiver, client: str = "shop", *, final: bool = True) -> int:
        receiver.secret = SECRET
        return await self.make(AddWebhook(client, receiver.url, SECRET, final, "user ann"))

    def webhook(self) -> Webhook:
        with self.store.reading() as connection:
            (found,) = webhooks.webhooks(connection)
        return found


@asynccontextmanager
async def sending(folder: Path, settings: config.Settings = SETTINGS) -> AsyncIterator[Sending]:
    store, news = Store(folder), News()
    readers = Readers(store.path, store.key, 2)

    async def make(edit: Edit[T], by: Author) -> T:
        result = store.make(edit, by, time.time_ns() // 1000)
        edited, sent.edited = sent.edited, trio.Event()
        edited.set()
        return result

    sent = Sending(store, news, Outgoing(readers, make, settings), trio.Event())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sent.outgoing.run, news)
        with trio.fail_after(30):
            yield sent
        nursery.cancel_scope.cancel()
    readers.close()
    store.close()


async def heard(receiver: Receiver) -> None:
    """Until something has come."""
    await trio.to_thread.run_sync(receiver.came.wait, 20)
    receiver.came.clear()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(outbox, "_FIRST_PAUSE_S", 0.01)


async def test_final_outcomes_of_its_client_from_now_on(tmp_path: Path) -> None:
    with receiving() as receiver:
        async with sending(tmp_path) as sent:
            sent.add(*message(deliveries=[DEFERRED]))
            await sent.hook(receiver)
            sent.add(
                *message(
                    OTHER, message_id="<98494.8.1@other>", deliveries=[attempt(queue_id=OTHER)]
                )
            )
            sent.add(attempt(at=LATER, delay="300"), attempt("deferred", to="b@example.org"))
            await heard(receiver)
            await sent.until(lambda hook: not hook.waiting_since)
    ((_, (change,)),) = receiver.deliveries
    assert (change["state"], change["client_id"], change["last_at"]) == (
        "finally-ok", "shop", "2026-03-10T10:05:00Z",
    )  # fmt: skip


async def test_every_change_where_that_is_wanted(tmp_path: Path) -> None:
    with receiving() as receiver:
        async with sending(tmp_path) as sent:
            await sent.hook(receiver, "", final=False)
            sent.add(*message(deliveries=[DEFERRED]))
            await heard(receiver)
            sent.add(attempt(at=LATER, delay="300"))
            await heard(receiver)
    states = [change["state"] for _, changes in receiver.deliveries for change in changes]
    assert states == ["pending", "finally-ok"]


async def test_what_fails_comes_again_as_it_was(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.statuses = [500, 302, 404]
        async with sending(tmp_path) as sent:
            await sent.hook(receiver)
            sent.add(*message(deliveries=[attempt()]))
            while not receiver.deliveries:
                await heard(receiver)
            await sent.until(lambda hook: not hook.waiting_since)
    ((delivery, _),) = receiver.deliveries
    assert receiver.refused == [delivery] * 3


async def test_many_come_together(tmp_path: Path) -> None:
    with receiving() as receiver:
        async with sending(tmp_path) as sent:
            await sent.hook(receiver)
            sent.add(*message(deliveries=[attempt(to=f"r{n}@example.org") for n in range(150)]))
            while len(receiver.known) < 150:
                await heard(receiver)
    assert [len(changes) for _, changes in receiver.deliveries] == [100, 50]


async def test_given_up_and_enabled_again(tmp_path: Path) -> None:
    brief = msgspec.convert(
        {"webhooks": {"allow_private": ["127.0.0.0/8"], "give_up_h": 0.01 / 3600}}, config.Settings
    )
    with receiving() as receiver:
        receiver.status = 500
        async with sending(tmp_path, brief) as sent:
            number = await sent.hook(receiver)
            sent.add(*message(deliveries=[attempt()]))
            webhook = await sent.until(lambda hook: hook.disabled_at)
            assert webhook.disabled_why == "the receiver answers 500"
            receiver.status = 200
            sent.add(attempt(to="b@example.org"))
            await sent.make(EnableWebhook(number, "shop"))
            while len(receiver.known) < 2:
                await heard(receiver)
            await sent.until(lambda hook: not hook.waiting_since)
            assert not sent.webhook().disabled_at


async def test_a_receiver_that_has_gone_for_good(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 410
        async with sending(tmp_path) as sent:
            await sent.hook(receiver)
            sent.add(*message(deliveries=[attempt()]))
            await sent.until(lambda hook: hook.disabled_at)
    assert len(receiver.refused) == 1


async def test_nothing_is_sent_into_this_network(tmp_path: Path) -> None:
    with receiving() as receiver:
        async with sending(tmp_path, config.Settings()) as sent:
            await sent.hook(receiver)
            sent.add(*message(deliveries=[attempt()]))
            webhook = await sent.until(lambda hook: hook.last_error)
        assert "private" in webhook.last_error
    assert not receiver.refused


async def test_what_is_removed_is_told_nothing(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 500
        async with sending(tmp_path) as sent:
            number = await sent.hook(receiver)
            sent.add(*message(deliveries=[attempt()]))
            await heard(receiver)
            await sent.make(RemoveWebhook(number, None))
            with sent.store.reading() as connection:
                assert heads(connection) == []


async def test_https_by_the_name_of_the_host(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    with receiving(server) as receiver:
        async with sending(tmp_path) as sent:
            authority.configure_trust(sent.outgoing.webhooks.posting.trusted)
            url = f"https://localhost:{receiver.port}/hook"
            await sent.make(AddWebhook("shop", url, SECRET, True, "user ann"))
            sent.add(*message(deliveries=[attempt()]))
            await heard(receiver)
    assert len(receiver.deliveries) == 1


def test_pauses_become_longer() -> None:
    pauses = [outbox.pause_s(tries) for tries in (0, 5, 10, 1000)]
    assert pauses[:3] == sorted(pauses[:3])
    assert pauses[-1] <= 3600
