"""The dashboard for everybody: keys alone, screen readers, small and large screens."""

from __future__ import annotations

from importlib.resources import files
from unittest import skipUnless

from playwright.sync_api import Page, expect
from twisted.internet.defer import Deferred

from cloudlb.domain.host_status import HostEvent
from tests.dashboard.browser import CHROMIUM, BrowserTestCase, log_in
from tests.dashboard.stage import PASSWORD

VIEWS = ("overview", "hosts", "host/1", "servers", "settings", "investigations", "events", "alerts")
RULES = "({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"


@skipUnless(CHROMIUM, "Chromium is not installed")
class Access(BrowserTestCase):
    """Ways to the same things."""

    def test_keys_alone(self) -> Deferred[None]:
        """From the login to a host and a change, without a pointer."""

        def work(page: Page) -> None:
            keys = page.keyboard
            keys.type("admin")
            keys.press("Tab")
            keys.type(PASSWORD)
            keys.press("Enter")
            expect(page.locator(".card")).to_have_count(3)
            page.reload()
            expect(page.locator(".card")).to_have_count(3)
            keys.press("Tab")
            expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
            keys.press("Enter")
            keys.type("gh")
            expect(page.get_by_role("heading", level=1, name="Hosts")).to_be_visible()
            keys.type("/host-1")
            expect(page.locator("tbody tr[data-id]")).to_have_count(4)
            page.get_by_role("region", name="Hosts").focus()
            keys.press("ArrowDown")
            keys.press("ArrowDown")
            expect(page.get_by_role("link", name="host-10", exact=True)).to_be_focused()
            keys.press("Enter")
            expect(page.get_by_role("heading", level=1, name="host-10")).to_be_visible()
            keys.type("?")
            expect(page.get_by_role("dialog", name="Shortcuts")).to_be_visible()
            keys.press("Escape")
            page.get_by_role("button", name="Disable").focus()
            keys.press("Enter")
            page.get_by_role("dialog").get_by_role("button", name="Disable").focus()
            keys.press("Enter")
            expect(page.locator("main .tag", has_text="Disabled")).to_be_visible()

        return self.look(work)

    def check(self, page: Page) -> None:
        """Have axe look at every view."""
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        for view in VIEWS:
            page.evaluate(f"location.hash = '#/{view}'")
            page.wait_for_timeout(700)
            found = page.evaluate(f"axe.run(document, {RULES})")
            broken = [
                f"{view}: {one['id']} {node['target']} {node['failureSummary']}"
                for one in found["violations"]
                for node in one["nodes"]
            ]
            self.assertEqual("\n".join(broken), "")
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth - innerWidth"), 0, view)

    def lost(self) -> None:
        """Some hosts that are not Up, so that every tone is there."""
        self.play(self.stage.lose(["host-2"]))
        self.play(self.stage.lose(["host-3"], HostEvent.HOST_DOWN))
        self.play(self.stage.move(["host-4"], "mgmt-2"))

    def test_axe_light_and_small(self) -> Deferred[None]:
        """On a phone, in light colours, nothing is wrong by axe's rules, and nothing is wider than the screen."""

        def work(page: Page) -> None:
            log_in(page)
            self.lost()
            self.check(page)
            page.get_by_role("button", name="Menu").click()
            expect(page.get_by_role("link", name="Settings")).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.get_by_role("link", name="Settings")).to_be_hidden()

        return self.look(work, viewport={"width": 360, "height": 740}, color_scheme="light", has_touch=True)

    def test_axe_dark(self) -> Deferred[None]:
        """The same on a desk, in dark colours."""

        def work(page: Page) -> None:
            log_in(page)
            self.lost()
            self.check(page)

        return self.look(work, color_scheme="dark")

    def test_switch(self) -> Deferred[None]:
        """The colours follow the system until somebody switches, and stay so."""

        def work(page: Page) -> None:
            ground = "getComputedStyle(document.body).backgroundColor"
            dark = page.evaluate(ground)
            log_in(page)
            page.get_by_role("button", name="Dark or light").click()
            light = page.evaluate(ground)
            self.assertNotEqual(light, dark)
            page.reload()
            expect(page.locator(".card")).to_have_count(3)
            self.assertEqual(page.evaluate(ground), light)

        return self.look(work, color_scheme="dark")

    def test_calm(self) -> Deferred[None]:
        """Who asks for less motion gets none: the agent is there at once."""

        def work(page: Page) -> None:
            log_in(page)
            self.play(self.stage.move(["host-1"], "mgmt-2"))
            expect(page.locator(".card").nth(1)).to_contain_text("5 Up")
            moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
            self.assertEqual(page.evaluate(moving), 0)

        return self.look(work, reduced_motion="reduce")
