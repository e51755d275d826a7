"""The pages in a real Chromium, over the real service with generated mail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request

from tests.e2e.browser import PHONE, chromium, needs_chromium, opened
from tests.running import Running
from tools.simulator import Plan, batches

pytestmark = [pytest.mark.e2e, needs_chromium]
PAGES = (
    "/",
    "/?range=7d&client=shop",
    "/messages",
    "/messages?q=goomail.example&state=hard-bounce",
    "/messages?q=nobody@nowhere.example",
    "/messages/7",
    "/domains/goomail.example?range=7d",
    "/providers/other?range=7d",
    "/recipients/nobody@nowhere.example",
    "/original",
    "/nonsense",
)
_MOST_OCTETS = 150 * 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with two weeks of mail."""
    folder = tmp_path_factory.mktemp("dashboard")
    start = datetime.now(UTC) - timedelta(days=14, minutes=5)
    plan = Plan(messages=1500, hosts=("mx1", "mx2"), format="forward", start=start)
    log = folder / "mail.log"
    log.write_text("".join(f"{one}\n" for _, lines in batches(plan) for one in lines), "utf-8")
    with Running(folder) as running:
        assert running.pda("backfill", str(log)).returncode == 0
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def base(service: Running) -> str:
    return str(service.status()["http"][0])


def shown(browser: Browser, base: str, path: str, **options: Any) -> Iterator[Page]:
    """A page; nothing may have gone wrong when it is left."""
    with opened(browser, base, **options) as (_, page, watch):
        answer = page.goto(path)
        assert answer is not None
        yield page
        expected = 404 if path == "/nonsense" else 200
        assert answer.status == expected
        assert [said for said in watch.all() if "status of 404" not in said] == []


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("look", [{}, {"viewport": PHONE}, {"color_scheme": "dark"}], ids=str)
def test_each_page_is_sound(browser: Browser, base: str, path: str, look: dict[str, Any]) -> None:
    for page in shown(browser, base, path, **look):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "too wide"
        found = Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [n["target"] for n in one["nodes"]][:3]) for one in serious] == []


@pytest.mark.parametrize("path", PAGES)
def test_each_page_can_be_read_without_scripts(browser: Browser, base: str, path: str) -> None:
    for page in shown(browser, base, path, java_script_enabled=False):
        assert page.locator("h1").count() == 1
        for chart in page.locator("figure.chart:has(svg)").all():
            chart.locator("summary").click()
            assert chart.locator("table tbody tr").first.is_visible()


def test_a_message_is_found_in_two_steps(browser: Browser, base: str) -> None:
    for page in shown(browser, base, "/"):
        page.keyboard.press("/")
        page.keyboard.type("goomail.example")
        page.keyboard.press("Enter")
        page.wait_for_url("**/messages?q=goomail.example")
        assert page.get_by_role("heading", name="Recipient domain goomail.example").is_visible()
        page.locator("#main tbody a").first.click()
        page.wait_for_url("**/messages/*")
        assert page.get_by_role("heading", name="Timeline").is_visible()
        assert page.locator("ol.story li").count() > 2


def test_the_live_tail_shows_what_comes_and_pauses(
    browser: Browser, base: str, service: Running
) -> None:
    for page in shown(browser, base, "/messages"):
        page.get_by_role("button", name="Live").click()
        page.get_by_text("waiting for the next outcome").wait_for()
        page.evaluate("fetch('/test-message', {method: 'POST'})")
        row = page.locator("tr.fresh", has_text="test@pda-test.invalid")
        row.wait_for()
        assert "Delivered" in (row.text_content() or "")
        page.get_by_role("button", name="Pause").click()
        assert page.get_by_text("Paused after 1 change").is_visible()


def test_a_chart_is_zoomed_by_dragging(browser: Browser, base: str) -> None:
    for page in shown(browser, base, "/?range=7d"):
        box = page.locator("figure.chart .field").first.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.4, middle)
        assert page.locator(".tip").first.is_visible()
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, middle)
        page.mouse.up()
        page.wait_for_url("**/?from=*")
        assert page.locator("#delivery").is_visible()


def test_the_first_page_is_small(browser: Browser, base: str) -> None:
    with opened(browser, base) as (context, page, _):
        done: list[Request] = []
        context.on("requestfinished", done.append)
        page.goto("/?range=30d")
        page.wait_for_load_state("networkidle")
        octets = [sum(value for _, value in one.sizes().items()) for one in done]  # type: ignore[misc]
    assert len(octets) >= 4
    assert sum(octets) <= _MOST_OCTETS


def test_times_are_in_the_viewers_zone(browser: Browser, base: str) -> None:
    for page in shown(browser, base, "/", timezone_id="Asia/Tokyo"):
        time = page.locator("main time").first
        there = datetime.fromisoformat(time.get_attribute("datetime") or "") + timedelta(hours=9)
        assert time.text_content() == f"{there:%F %T}"
        assert page.get_by_text("Times are Asia/Tokyo").is_visible()


def test_the_chosen_colours_are_remembered(browser: Browser, base: str) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, base, color_scheme="light") as (_, page, watch):
        page.goto("/")
        light = page.evaluate(paper)
        switch = page.get_by_role("button", name="Colours")
        switch.click()
        assert page.evaluate(paper) == light
        switch.click()
        dark = page.evaluate(paper)
        assert dark != light
        page.reload()
        assert page.evaluate(paper) == dark
        page.get_by_role("button", name="Colours: dark").click()
        assert page.evaluate(paper) == light
        assert watch.all() == []


def test_filters_stay_in_the_url(browser: Browser, base: str) -> None:
    for page in shown(browser, base, "/?range=7d"):
        page.locator("select[name=client]").select_option("shop")
        page.wait_for_url("**/?*client=shop*")
        assert "range=7d" in page.url
        page.get_by_role("link", name="30 d").click()
        assert "client=shop" in page.url
        assert "range=30d" in page.url
        page.get_by_role("link", name="Clear filters").click()
        assert "client" not in page.url


def test_the_keyboard_reaches_everything(browser: Browser, base: str) -> None:
    for page in shown(browser, base, "/"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
