"""What people see of the dashboard, in a real browser."""

from __future__ import annotations

import re
from unittest import skipUnless

from attrs import evolve
from playwright.sync_api import Page, expect
from twisted.internet.defer import Deferred, fail

from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId
from cloudlb.domain.ports import StoreUnavailable, Transaction
from cloudlb.domain.records import AlertType, Finding, Investigation, Verdict
from tests.dashboard.browser import CHROMIUM, BrowserTestCase, go, log_in


@skipUnless(CHROMIUM, "Chromium is not installed")
class Looking(BrowserTestCase):
    """Pages of whoever only looks."""

    def test_log_in_and_out(self) -> Deferred[None]:
        """A wrong password is told, a right one leads in, and after a logout nothing is left."""

        def work(page: Page) -> None:
            page.get_by_label("User").fill("admin")
            page.get_by_label("Password").fill("wrong horse")
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_role("alert")).to_contain_text("Failed to authenticate")
            log_in(page)
            page.reload()
            expect(page.locator(".card")).to_have_count(3)
            page.get_by_role("button", name="Log out").click()
            expect(page.get_by_role("button", name="Log in")).to_be_visible()
            self.assertEqual(page.evaluate("sessionStorage.length"), 0)
            page.reload()
            expect(page.get_by_role("button", name="Log in")).to_be_visible()

        return self.look(work)

    def test_moves_live(self) -> Deferred[None]:
        """A move and a loss are seen as they happen, and told to who cannot see."""

        def work(page: Page) -> None:
            log_in(page)
            cards, told = page.locator(".card"), page.locator("#announcer")
            expect(cards.nth(1)).to_contain_text("4 Up")
            self.play(self.stage.move(["host-1"], "mgmt-2"))
            expect(cards.nth(0)).to_contain_text("3 Up")
            expect(cards.nth(1)).to_contain_text("5 Up · 1 away")
            expect(told).to_have_text("host-1 is on mgmt-2 now")
            expect(page.get_by_role("link", name="On another one")).to_contain_text("1")
            self.play(self.stage.lose(["host-3"], HostEvent.HOST_DOWN))
            expect(cards.nth(2)).to_contain_text("3 Up · 1 not Up")
            expect(told).to_have_text("host-3 is Down")
            expect(page.locator(".happening")).to_contain_text("host host-3 went from Up to Down")
            self.stage.fall_silent("mgmt-3")
            expect(cards.nth(2)).to_have_attribute("data-state", "Down")

        return self.look(work)

    def test_database_away(self) -> Deferred[None]:
        """While the database is away a page says of when it is, and one that comes says why there is nothing yet."""

        def away(_: object) -> Deferred[None]:
            return fail(StoreUnavailable("it is away"))

        def work(page: Page) -> None:
            log_in(page)
            live, banner = page.locator(".side .live"), page.locator(".banner")
            there = self.patch(self.stage.database, "read", away)
            expect(live).to_have_text("Not up to date")
            expect(banner).to_contain_text("this is how things were at")
            expect(page.locator(".card")).to_have_count(3)
            page.reload()
            expect(banner).to_contain_text("the database is not available")
            there.restore()
            expect(live).to_have_text("Live")
            expect(banner).to_be_hidden()

        return self.look(work)

    def test_cells(self) -> Deferred[None]:
        """A cell says what it is, by pointer and by keys, and leads to its host."""

        def work(page: Page) -> None:
            log_in(page)
            cells = page.locator(".cells").nth(1)
            cells.hover(position={"x": 15, "y": 15})
            expect(page.locator(".tip")).to_have_text("host-2: Up on mgmt-2")
            cells.focus()
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowRight")
            expect(cells.get_by_role("option")).to_have_text("host-5: Up on mgmt-2")
            self.assertEqual(
                cells.get_attribute("aria-activedescendant"), cells.get_by_role("option").get_attribute("id")
            )
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", level=1)).to_have_text("host-5")
            page.go_back()
            page.locator(".cells").nth(0).click(position={"x": 15, "y": 15})
            expect(page.get_by_role("heading", level=1)).to_have_text("host-1")

        return self.look(work)

    def test_filter(self) -> Deferred[None]:
        """Filters and the order stand in the address, and hold for what comes."""

        def work(page: Page) -> None:
            log_in(page)
            go(page, "Hosts")
            rows = page.locator("tbody tr[data-id]")
            expect(rows).to_have_count(12)
            page.get_by_role("searchbox").fill("host-1")
            expect(rows).to_have_count(4)
            page.get_by_label("Status").select_option("not-up")
            expect(rows).to_have_count(0)
            self.play(self.stage.lose(["host-11"]))
            expect(rows).to_have_count(1)
            expect(page).to_have_url(re.compile("q=host-1&status=not-up"))
            page.reload()
            expect(rows).to_contain_text(["host-11"])
            expect(page.get_by_role("searchbox")).to_have_value("host-1")
            page.get_by_role("button", name="Clear").click()
            page.get_by_role("button", name="Status").click()
            expect(rows.first).to_contain_text("host-11")
            expect(page.get_by_role("columnheader", name="Status")).to_have_attribute("aria-sort", "ascending")

        return self.look(work)

    def test_story(self) -> Deferred[None]:
        """A host's page tells its list, where it is, what was found out, and what happened."""
        self.hosts_id = HostId(self.stage.hosts["host-4"])
        finding = Finding(investigator="ping", verdict=Verdict.DOWN, reason="no answer to three packets", duration=1.5)

        def write(txn: Transaction) -> None:
            txn.investigations.add(
                Investigation(
                    uuid="0b5dcb2a-0000-4000-8000-000000000001",
                    host_id=self.hosts_id,
                    server_id=self.stage.servers["mgmt-1"],
                    cause=HostEvent.AGENT_DISCONNECTED,
                    started=self.stage.reactor.seconds(),
                    duration=1.6,
                    verdict=Verdict.DOWN,
                    findings=(finding,),
                )
            )

        def work(page: Page) -> None:
            log_in(page)
            page.goto(f"{self.stage.url}#/host/{self.hosts_id}")
            steps = page.locator(".way > li")
            expect(steps).to_have_count(3)
            expect(steps.nth(0)).to_contain_text("preferred")
            expect(steps.nth(0)).to_contain_text("connected")
            self.play(self.stage.move(["host-4"], "mgmt-3"))
            expect(steps.nth(2)).to_contain_text("connected")
            expect(page.get_by_text("on another server than it prefers")).to_be_visible()
            self.play(self.stage.write(write))
            self.play(self.stage.lose(["host-4"], HostEvent.HOST_DOWN))
            expect(page.get_by_text("no answer to three packets").first).to_be_visible()
            expect(page.get_by_text("host host-4 went from Up to Down")).to_be_visible()
            expect(page.locator(".facts")).to_contain_text("Lost since")

        return self.look(work)

    def test_drain(self) -> Deferred[None]:
        """The progress of a drain is seen as its server writes it."""
        now = self.stage.reactor.seconds()
        begun = Drain(
            server_id=self.stage.servers["mgmt-2"], number=1, timeout=600.0, started=now, total=4, left=4, eta=90.0
        )

        def progress(drain: Drain) -> None:
            self.play(self.stage.write(lambda txn: txn.drains.progress(drain)))

        def work(page: Page) -> None:
            log_in(page)
            go(page, "Servers")
            page.get_by_role("button", name="Maintenance mgmt-2").click()
            dialog = page.get_by_role("dialog")
            expect(dialog).to_contain_text("4 agents will be moved to the 2 other servers")
            dialog.get_by_role("button", name="Empty it").click()
            drain = page.get_by_role("region", name="Drain of mgmt-2")
            # The order has been written when it is shown; progress of before would be lost.
            expect(drain).to_contain_text("About to begin")
            progress(evolve(begun, moved=1, left=2, failed={"x": "it does not go"}))
            expect(drain).to_contain_text("1 of 4 moved · 2 left · 1 failed")
            expect(drain).to_contain_text("done in about 1 min 30 s")
            expect(drain.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "1")
            progress(evolve(begun, moved=4, left=0, ended=now, end=DrainEnd.DONE))
            expect(drain).to_contain_text("Ended: done")

        return self.look(work)

    def test_alerts(self) -> Deferred[None]:
        """An alert counts in the navigation, and stands until somebody archives it."""

        def write(txn: Transaction) -> None:
            txn.alerts.send(AlertType.HOST, "host-2 is down", host_id=None, now=self.stage.reactor.seconds())

        def work(page: Page) -> None:
            log_in(page)
            self.play(self.stage.write(write))
            expect(page.get_by_role("link", name="Alerts 1 standing")).to_be_visible()
            go(page, "Alerts")
            expect(page.get_by_text("host-2 is down").first).to_be_visible()
            page.get_by_role("button", name="Archive").click()
            page.get_by_role("dialog").get_by_role("button", name="Archive").click()
            expect(page.get_by_text("No alert stands.")).to_be_visible()

        return self.look(work)

    def test_read_only(self) -> Deferred[None]:
        """Who may only look sees everything, and nothing to press."""

        def work(page: Page) -> None:
            log_in(page, "guest")
            for view, text in (("Servers", "mgmt-3"), ("Settings", "indirect.agent.lb.algorithm"), ("Hosts", "host-9")):
                go(page, view)
                expect(page.locator("main")).to_contain_text(text)
                expect(page.locator("main .button:visible")).to_have_count(0)

        return self.look(work)
