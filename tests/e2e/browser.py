"""A real Chromium that notes what no page may do: errors, refused content, requests elsewhere.

Owns how it is started. Pages come from a service on loopback; nothing else is reached.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
_QUIET = (
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    # Whatever is not on loopback has no name: nothing can leave the machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass
class Watch:
    """What pages did that they may not do."""

    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    octets: int = 0

    def all(self) -> list[str]:
        """Everything, for a test to be empty."""
        return self.errors + self.elsewhere


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, base: str, **options: Any
) -> Iterator[tuple[BrowserContext, Page, Watch]]:
    """A page of a fresh profile, and what is noted about it."""
    options = {"viewport": DESKTOP, "timezone_id": "Europe/Prague", **options}
    context = browser.new_context(base_url=base, **options)
    page, watch = context.new_page(), Watch()
    here = urlsplit(base).netloc
    context.on("console", lambda said: _note(watch, said.type, said.text))
    context.on("weberror", lambda error: watch.errors.append(str(error.error)))
    context.on("request", lambda request: _request(watch, request.url, here))
    yield context, page, watch
    context.close()


def _note(watch: Watch, kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        watch.errors.append(f"{kind}: {text}")


def _request(watch: Watch, url: str, here: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("data", "blob") and parts.netloc != here:
        watch.elsewhere.append(url)
