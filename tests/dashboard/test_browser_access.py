"""The dashboard for everybody: keys alone, screen readers, small and large screens."""

from __future__ import annotations

from importlib.resources import files
from unittest import skipUnless

from attrs import evolve
from playwright.sync_api import Page, expect
from twisted.internet.defer import Deferred

from cloudlb.domain.drains import Drain
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.server_state import ServerEvent
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

    def test_focus_stays(self) -> Deferred[None]:
        """What happens elsewhere takes focus from nobody and makes no noise; a button that changes keeps it."""
        focused = "document.activeElement.textContent"

        def work(page: Page) -> None:
            log_in(page)
            page.locator(".card h2 a").first.focus()
            self.play(self.stage.move(["host-1"], "mgmt-2"))
            expect(page.locator(".card").first).to_contain_text("3 Up")
            self.assertEqual(page.evaluate(focused), "mgmt-1")
            page.evaluate("location.hash = '#/host/2'")
            page.get_by_role("button", name="Disable").focus()
            self.play(self.stage.lose(["host-4"]))
            self.play(self.stage.move(["host-2"], "mgmt-1"))
            expect(page.locator(".facts")).to_contain_text("Connected tomgmt-1")
            self.assertEqual(page.evaluate(focused), "Disable")
            page.keyboard.press("Enter")
            page.get_by_role("dialog").get_by_role("button", name="Disable").press("Enter")
            expect(page.get_by_role("button", name="Enable")).to_be_focused()
            page.evaluate("location.hash = '#/hosts'")
            expect(page.locator("tbody tr[data-id]")).to_have_count(12)
            page.evaluate(
                "new MutationObserver(() => { window.noise = true; }).observe(document.querySelector('.count'), "
                "{childList: true, characterData: true, subtree: true})"
            )
            self.play(self.stage.lose(["host-5"]))
            expect(page.get_by_role("row", name="host-5")).to_contain_text("Disconnected")
            self.assertIsNone(page.evaluate("window.noise ?? null"))

        return self.look(work)

    def test_unfolded(self) -> Deferred[None]:
        """What is unfolded stays so while its view is kept up to date."""
        drain = Drain(
            server_id=self.stage.servers["mgmt-2"], timeout=600.0, started=self.stage.reactor.seconds(), total=4
        )

        def work(page: Page) -> None:
            log_in(page)
            page.evaluate("location.hash = '#/servers'")
            stuck = evolve(drain, left=3, failed={"host-2": "it does not go"})
            put = self.play(self.stage.write(lambda txn: txn.drains.put(stuck)))
            self.play(
                self.stage.write(
                    lambda txn: txn.servers.change_state(drain.server_id, ServerEvent.PREPARE_FOR_MAINTENANCE)
                )
            )
            page.get_by_text("Who could not be moved").click()
            self.play(self.stage.write(lambda txn: txn.drains.progress(evolve(put, left=2, moved=1))))
            expect(page.get_by_role("region", name="Drain of mgmt-2")).to_contain_text("1 of 4 moved")
            expect(page.get_by_text("it does not go")).to_be_visible()

        return self.look(work)

    def test_addresses_of_nothing(self) -> Deferred[None]:
        """An address that names no view, or is not well written, leads to the overview or to no host."""

        def work(page: Page) -> None:
            log_in(page)
            for hash_, title in (("constructor", "Overview"), ("host/%E0%A4%A", "Host"), ("__proto__", "Overview")):
                page.evaluate(f"location.hash = '#/{hash_}'")
                expect(page.get_by_role("heading", level=1)).to_have_text(title)

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
