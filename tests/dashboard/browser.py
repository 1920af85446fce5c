"""A real browser in front of the stage. What it does runs in a thread, and reaches into the reactor to play on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Browser, Page, expect, sync_playwright
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from tests.dashboard.stage import PASSWORD, Stage

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 20_000
"""Milliseconds that a page has for what should be there at once: machines of tests are busy."""

expect.set_options(timeout=PATIENCE)


class BrowserTestCase(TestCase):
    """Tests that look at pages of a stage with three servers."""

    timeout = 120
    hosts = 12
    servers = 3

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Set the stage."""
        self.stage = Stage(reactor, Path(self.mktemp()))
        self.troubles: list[str] = []
        self.addCleanup(lambda: Deferred.fromCoroutine(self.stage.stop()))
        return Deferred.fromCoroutine(self.stage.start(self.servers, self.hosts))

    def look(self, work: Callable[[Page], object], **context: Any) -> Deferred[None]:
        """Open the first page in a browser and go on from there; fails if the browser had anything to complain of."""
        return deferToThread(self._look, work, context)

    def _look(self, work: Callable[[Page], object], context: dict[str, Any]) -> None:
        with (
            _browser() as browser,
            browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context}) as tab,
        ):
            page = tab.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: self._complain(message.type, message.text))
            page.on("pageerror", lambda error: self._complain("error", str(error)))
            page.goto(self.stage.url)
            work(page)
        self.assertEqual(self.troubles, [])

    def _complain(self, kind: str, text: str) -> None:
        # A refusal that the page shows is one that the browser notes too.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.troubles.append(text)

    def play(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """Do something on the stage, from the browser's thread."""
        threads: Any = reactor
        call: Any = blockingCallFromThread
        result: T = call(threads, Deferred.fromCoroutine, work)
        return result


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def log_in(page: Page, username: str = "admin") -> None:
    """Log in, and wait until the picture is there."""
    page.get_by_label("User").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".card")).not_to_have_count(0)


def go(page: Page, view: str) -> None:
    """Go to a view by its link."""
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
    expect(page.get_by_role("heading", level=1, name=view)).to_be_visible()
