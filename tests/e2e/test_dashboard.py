"""The pages in a real Chromium, over the real service with generated mail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request

from pda.shipped import rule_list
from tests.e2e.browser import PHONE, Watch, chromium, needs_chromium, opened
from tests.running import Running, eventually
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
    "/alerts",
    "/system",
    "/bounces?range=30d",
    "/rules/workbench",
    "/rejects?range=7d",
    "/original",
    "/nonsense",
)
PASSWORD = "correct horse"
_MOST_OCTETS = 150 * 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with two weeks of mail."""
    folder = tmp_path_factory.mktemp("dashboard")
    start = datetime.now(UTC) - timedelta(days=14, minutes=5)
    plan = Plan(messages=1500, hosts=("mx1", "mx2"), format="forward", start=start)
    log = folder / "mail.log"
    log.write_text("".join(f"{one}\n" for _, lines in batches(plan) for one in lines), "utf-8")
    rules = folder / "rules.xml"
    rules.write_bytes(rule_list())
    with Running(folder, PDA_RULES_FILE=str(rules)) as running:
        assert running.pda("backfill", str(log)).returncode == 0
        new = ("user", "add", "ann", "--role", "admin", "--password-stdin")
        assert running.pda(*new, stdin=PASSWORD.encode()).returncode == 0
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@dataclass
class Site:
    """The pages, for somebody who is logged in."""

    browser: Browser
    base: str
    state: Any = None

    @contextmanager
    def opened(self, **options: Any) -> Iterator[tuple[BrowserContext, Page, Watch]]:
        """An empty page, and what is noted about it."""
        with opened(self.browser, self.base, storage_state=self.state, **options) as found:
            yield found

    @contextmanager
    def shown(self, path: str, **options: Any) -> Iterator[Page]:
        """A page; nothing may have gone wrong when it is left."""
        with self.opened(**options) as (_, page, watch):
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == (404 if path == "/nonsense" else 200)
            yield page
            assert [said for said in watch.all() if "status of 404" not in said] == []


@pytest.fixture(scope="module")
def site(browser: Browser, service: Running) -> Site:
    """After a log-in by the form."""
    site = Site(browser, str(service.status()["http"][0]))
    with site.opened() as (context, page, watch):
        page.goto("/?range=7d")
        page.get_by_label("User name").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/?range=7d")
        site.state = context.storage_state()
        assert watch.all() == []
    return site


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("look", [{}, {"viewport": PHONE}, {"color_scheme": "dark"}], ids=str)
def test_each_page_is_sound(site: Site, path: str, look: dict[str, Any]) -> None:
    with site.shown(path, **look) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "too wide"
        found = Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [n["target"] for n in one["nodes"]][:3]) for one in serious] == []


@pytest.mark.parametrize("path", PAGES)
def test_each_page_can_be_read_without_scripts(site: Site, path: str) -> None:
    with site.shown(path, java_script_enabled=False) as page:
        assert page.locator("h1").count() == 1
        for chart in page.locator("figure.chart:has(svg)").all():
            chart.locator("summary").click()
            assert chart.locator("table tbody tr").first.is_visible()


def test_a_message_is_found_in_two_steps(site: Site) -> None:
    with site.shown("/") as page:
        page.keyboard.press("/")
        page.keyboard.type("goomail.example")
        page.keyboard.press("Enter")
        page.wait_for_url("**/messages?q=goomail.example")
        assert page.get_by_role("heading", name="Recipient domain goomail.example").is_visible()
        page.locator("#main tbody a").first.click()
        page.wait_for_url("**/messages/*")
        assert page.get_by_role("heading", name="Timeline").is_visible()
        assert page.locator("ol.story li").count() > 2


def test_the_live_tail_shows_what_comes_and_pauses(site: Site) -> None:
    with site.shown("/messages") as page:
        page.get_by_role("button", name="Live").click()
        page.get_by_text("waiting for the next outcome").wait_for()
        page.evaluate("fetch('/test-message', {method: 'POST'})")
        row = page.locator("tr.fresh", has_text="test@pda-test.invalid")
        row.wait_for()
        assert "Delivered" in (row.text_content() or "")
        page.get_by_role("button", name="Pause").click()
        assert page.get_by_text("Paused after 1 change").is_visible()


def test_a_chart_is_zoomed_by_dragging(site: Site) -> None:
    with site.shown("/?range=7d") as page:
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


def test_an_hour_is_told_in_minutes(site: Site, service: Running) -> None:
    with site.shown("/") as page:
        page.evaluate("fetch('/test-message', {method: 'POST'})")
        eventually(service.outcomes, lambda found: found[-1].recipient == "test@pda-test.invalid")
        page.get_by_role("link", name="1 h").click()
        page.wait_for_url("**/?range=1h")
        assert page.locator(".plot").first.get_attribute("data-step") == "120000000"
        assert page.get_by_text("of recipients reached").is_visible()
        assert page.get_by_role("link", name="pda-test.invalid").first.is_visible()


def test_facets_say_what_choosing_them_shows(site: Site) -> None:
    with site.shown("/messages?q=goomail.example") as page:
        wanted = page.locator("select[name=state] option", has_text="Hard bounce")
        number = int("".join(filter(str.isdigit, wanted.text_content() or "")))
        assert number
        page.locator("select[name=state]").select_option("hard-bounce")
        page.wait_for_url("**state=hard-bounce**")
        assert page.get_by_text(f"{number} recipients").is_visible()
        assert page.locator("#main tbody tr").count() == min(number, 50)  # rows of a page


def test_reception_tells_how_quickly_lines_come(site: Site, service: Running) -> None:
    with site.shown("/system") as page:
        assert page.get_by_role("columnheader", name="5 min", exact=True).is_visible()
        service.send([b"<22>1 2026-03-10T10:00:00Z mx1 postfix/qmgr 7 - - x"] * 500)
        eventually(lambda: page.reload() and page.locator(".pill").text_content(),
                   lambda said: "a second" in str(said))  # fmt: skip


def test_the_first_page_is_small(site: Site) -> None:
    with site.opened() as (context, page, _):
        done: list[Request] = []

        def note(request: Request) -> None:
            done.append(request)

        context.on("requestfinished", note)
        page.goto("/?range=30d")
        page.wait_for_load_state("networkidle")
        octets = [sum(value for _, value in one.sizes().items()) for one in done]  # type: ignore[misc]
    assert len(octets) >= 4
    assert sum(octets) <= _MOST_OCTETS


def test_times_are_in_the_viewers_zone(site: Site) -> None:
    with site.shown("/", timezone_id="Asia/Tokyo") as page:
        time = page.locator("main time").first
        there = datetime.fromisoformat(time.get_attribute("datetime") or "") + timedelta(hours=9)
        assert (time.text_content() or "")[:16] == f"{there:%F %H:%M}"
        assert page.get_by_text("Times are Asia/Tokyo").is_visible()


def test_the_chosen_colours_are_remembered(site: Site) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with site.opened(color_scheme="light") as (_, page, watch):
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


def test_filters_stay_in_the_url(site: Site) -> None:
    with site.shown("/?range=7d") as page:
        page.locator("select[name=client]").select_option("shop")
        page.wait_for_url("**/?*client=shop*")
        assert "range=7d" in page.url
        page.get_by_role("link", name="30 d").click()
        assert "client=shop" in page.url
        assert "range=30d" in page.url
        page.get_by_role("link", name="Clear filters").click()
        assert "client" not in page.url


def test_the_keyboard_reaches_everything(site: Site) -> None:
    with site.shown("/") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_another_word_about_a_recipient(site: Site) -> None:
    with site.shown("/messages?state=hard-bounce") as page:
        page.locator("#main tbody tr a").nth(1).click()
        page.wait_for_url("**/recipients/*")
        assert page.get_by_role("heading", name="Better not mailed").is_visible()
        page.get_by_placeholder("Note").fill("<b>asked</b>")
        page.get_by_role("button", name="Allow mail").click()
        page.get_by_role("heading", name="May be mailed").wait_for()
        assert page.get_by_text("<b>asked</b>").is_visible()
        page.get_by_role("button", name="Take back").click()
        page.get_by_role("heading", name="Better not mailed").wait_for()


def test_a_rule_from_the_workbench(site: Site, service: Running) -> None:
    with site.shown("/bounces") as page:
        page.get_by_role("link", name="Workbench", exact=True).click()
        page.get_by_label("Patterns").fill("no such (")
        page.get_by_text("RE2 refuses the pattern").wait_for()
        page.get_by_label("Patterns").fill("zebra <b>crossing</b>")
        page.get_by_role("textbox", name="Id").fill("zebra")
        page.locator("select[name=category]").select_option("policy")
        page.get_by_role("heading", name="Replies that the rule matches").wait_for()
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Rule zebra is saved and in force").wait_for()
        assert page.locator("select[name=before] option", has_text="before zebra").count() == 1
        page.goto("/system")
        assert page.get_by_role("row", name="put rule zebra").is_visible()
    rules = (service.folder / "rules.xml").read_text("utf-8")
    assert "<or>zebra &lt;b&gt;crossing&lt;/b&gt;</or>" in rules


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>'\"&amp;\x1b[31m\u202e"


def test_whatever_a_log_says_stays_text(site: Site, service: Running) -> None:
    """Markup and control characters in every field of a log, looked at in the real page."""
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}+00:00"
    packed = HOSTILE.replace(" ", "_").replace(">", "}")
    told = (
        ("submission/smtpd", f"client={packed}[192.0.2.9], sasl_method=PLAIN, sasl_username={packed}"),
        ("cleanup", f"message-id=<{packed}@x>"),
        ("cleanup", f"info: header Subject: {HOSTILE} from x[192.0.2.9]; from=<{packed}@x> to=<y>"),
        ("qmgr", f"from=<{packed}@x>, size=1, nrcpt=2 (queue active)"),
        ("smtp", f"to=<{packed}@hostile.example>, orig_to=<{packed}>, relay={packed}[192.0.2.1]:25,"
                 f" delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (host x said: {HOSTILE})"),
        ("qmgr", "removed"),
    )  # fmt: skip
    lines = [
        f"<22>{stamp} mx9 postfix/{program}[9]: 4HostiLe0Lz9x9: {text}".encode()
        for program, text in told
    ]
    service.send(lines)
    eventually(service.outcomes, lambda found: found[-1].host == "mx9")
    with site.opened() as (_, page, watch):
        page.on("dialog", lambda dialog: watch.errors.append(f"dialog {dialog.message}"))
        for path in ("/messages?q=hostile.example", "/?range=1h", "/domains/hostile.example"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            assert page.locator("img, script:not([src])").count() == 0
        page.goto("/messages?q=hostile.example")
        page.locator("#main tbody a").first.click()
        page.get_by_role("heading", name="Timeline").wait_for()
        assert "<script>alert(2)</script>" in (page.locator("ol.story").text_content() or "")
        assert page.locator("img, script:not([src])").count() == 0
        assert watch.all() == []


def test_a_log_in_that_is_wrong(browser: Browser, site: Site) -> None:
    with opened(browser, site.base) as (_, page, watch):
        page.goto("/messages")
        page.get_by_label("User name").fill("ann")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        assert page.get_by_role("alert").is_visible()
        assert page.get_by_label("User name").input_value() == "ann"
        assert [said for said in watch.all() if "status of 401" not in said] == []
