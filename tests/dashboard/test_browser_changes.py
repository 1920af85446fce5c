"""Changes that are made in the dashboard, in a real browser."""

from __future__ import annotations

from unittest import skipUnless

from playwright.sync_api import Page, expect
from twisted.internet.defer import Deferred

from cloudlb.api.sessions import FRESH
from cloudlb.domain.settings import LB_ALGORITHM
from tests.dashboard.browser import CHROMIUM, BrowserTestCase, go, log_in
from tests.dashboard.stage import PASSWORD


@skipUnless(CHROMIUM, "Chromium is not installed")
class Changing(BrowserTestCase):
    """Dialogs that say what will happen, and ask who you are."""

    def setting(self, name: str) -> str:
        """The value of a setting in the database."""

        async def read() -> str:
            return await self.stage.write(lambda txn: txn.settings.load().value(name))

        return self.play(read())

    def test_plan_and_apply(self) -> Deferred[None]:
        """A change that moves agents is planned before it can be applied, and is live then."""

        def work(page: Page) -> None:
            log_in(page)
            go(page, "Settings")
            page.get_by_role("button", name="Change indirect.agent.lb.algorithm").click()
            dialog = page.get_by_role("dialog")
            expect(dialog.get_by_role("button", name="Apply")).to_be_disabled()
            dialog.get_by_label("New value").select_option("static")
            expect(dialog).to_contain_text("8 agents would move.")
            expect(dialog.get_by_role("row", name="mgmt-1")).to_contain_text("+8")
            self.assertEqual(self.setting(LB_ALGORITHM), "roundrobin")
            dialog.get_by_role("button", name="Apply").click()
            expect(dialog).to_have_count(0)
            self.assertEqual(self.setting(LB_ALGORITHM), "static")
            expect(page.locator(".settings li", has_text="indirect.agent.lb.algorithm")).to_contain_text("the default")
            go(page, "Overview")
            expect(page.get_by_text("ordered by static")).to_be_visible()
            expect(page.locator(".card").nth(1)).to_contain_text("4 away")

        return self.look(work)

    def test_refused(self) -> Deferred[None]:
        """What the server refuses stands in the dialog, in its words, and nothing is changed."""

        def work(page: Page) -> None:
            log_in(page)
            go(page, "Settings")
            page.get_by_role("button", name="Change ping.interval").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("New value").fill("often")
            dialog.get_by_role("button", name="Apply").click()
            expect(dialog.get_by_role("alert")).to_contain_text("often")
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
            self.assertEqual(self.setting("ping.interval"), "60")

        return self.look(work)

    def test_password_again(self) -> Deferred[None]:
        """A change long after the login asks for the password in its dialog, and goes on with it."""

        def work(page: Page) -> None:
            log_in(page)
            for session in self.stage.sessions().values():
                session.begun -= FRESH + 1
            page.goto(f"{self.stage.url}#/host/{self.stage.hosts['host-2']}")
            page.get_by_role("button", name="Disable").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_role("button", name="Disable").click()
            expect(dialog.get_by_label("Your password")).to_be_focused()
            dialog.get_by_label("Your password").fill("wrong horse")
            dialog.get_by_role("button", name="Disable").click()
            expect(dialog.get_by_role("alert")).to_contain_text("Failed to authenticate")
            dialog.get_by_label("Your password").fill(PASSWORD)
            dialog.get_by_role("button", name="Disable").click()
            expect(dialog).to_have_count(0)
            expect(page.locator("main .tag", has_text="Disabled")).to_be_visible()
            page.get_by_role("button", name="Enable").click()
            page.get_by_role("dialog").get_by_role("button", name="Enable").click()
            expect(page.locator("main .tag", has_text="Disabled")).to_have_count(0)

        return self.look(work)

    def test_session_ends(self) -> Deferred[None]:
        """Whose session is gone is led to the login."""

        def work(page: Page) -> None:
            log_in(page)
            self.stage.sessions().clear()
            page.get_by_role("link", name="Events", exact=True).click()
            expect(page.get_by_role("button", name="Log in")).to_be_visible()

        return self.look(work)
