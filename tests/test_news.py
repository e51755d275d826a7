"""Whoever waits is woken by what concerns it, and only by that."""

from __future__ import annotations

import trio
import trio.testing

from pda.news import News


async def test_who_waits_is_woken(autojump_clock: trio.abc.Clock) -> None:
    news, heard = News(), list[str]()

    async def wait(client: str | None) -> None:
        await news.beyond(5, client)
        heard.append(str(client))

    async with trio.open_nursery() as nursery:
        for client in ("shop", "other", None):
            nursery.start_soon(wait, client)
        await trio.testing.wait_all_tasks_blocked()
        news.tell(5, ["other"])
        await trio.testing.wait_all_tasks_blocked()
        assert heard == []
        news.tell(7, ["shop"])
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(heard) == ["None", "shop"]
        news.close()
    assert sorted(heard) == ["None", "other", "shop"]


async def test_nothing_between_looking_and_waiting_is_missed() -> None:
    news = News()
    news.tell(6, ["shop"])
    with trio.fail_after(1):
        await news.beyond(5, "shop")


def test_what_concerns_others_need_not_be_looked_at() -> None:
    news = News()
    news.tell(6, ["shop"])
    news.tell(9, ["other"])
    assert news.quiet_to(5, "shop") == 5
    assert news.quiet_to(6, "shop") == 9
    assert news.quiet_to(12, "shop") == 12
    assert news.quiet_to(6, None) == 6
