"""A host's BMC: a real HTTP server on loopback plays it, well and badly."""

from __future__ import annotations

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cloudlb.agents.investigators.redfish import SYSTEMS, RedfishInvestigator
from cloudlb.domain.models import OutOfBand
from cloudlb.domain.records import Verdict
from cloudlb.net.json_client import JsonClient
from tests.agents.investigating import UNAVAILABLE, FakeStore, case, host, means
from tests.support.bmc import PASSWORD, SYSTEM, USERNAME, PlayedBmc, fail, redirect, silence

DOWN, UP, UNKNOWN = Verdict.DOWN, Verdict.UP, Verdict.UNKNOWN


class RedfishTests(TestCase):
    """What the investigator makes of the BMC's words."""

    timeout = 20

    def setUp(self) -> None:
        """A host with a BMC."""
        self.bmc = PlayedBmc()
        self.url = self.bmc.listen()
        self.addCleanup(self.bmc.stop)
        self.store = FakeStore(host(1))
        self.configure(self.url)

    def configure(self, address: str, password: str = PASSWORD) -> None:
        """Write the BMC down."""
        self.store.bmcs[host(1).id] = OutOfBand(address=address, username=USERNAME, password=password)

    def begin(self) -> Deferred[tuple[Verdict, str]]:
        """Have the host looked into."""
        investigator = RedfishInvestigator(means(self.store), JsonClient(reactor))
        return Deferred.fromCoroutine(investigator.investigate(case(host(1))))

    async def assert_said(self, verdict: Verdict, *words: str) -> None:
        """Check the verdict, and what its reason tells and does not tell."""
        said, reason = await self.begin()
        self.assertIs(said, verdict, reason)
        for word in words:
            self.assertIn(word, reason)
        self.assertNotIn(PASSWORD, reason)

    async def test_off(self) -> None:
        """No power: Down."""
        self.bmc.pages[SYSTEM] = {"PowerState": "Off"}
        await self.assert_said(DOWN, "power is off", self.url)
        self.assertEqual(self.bmc.asked, [SYSTEMS, SYSTEM])

    async def test_other_states(self) -> None:
        """Power, or anything between, says nothing; nor does what is no state."""
        for state in ("On", "PoweringOn", "PoweringOff", "Paused", "off", ""):
            self.bmc.pages[SYSTEM] = {"PowerState": state}
            await self.assert_said(UNKNOWN, f"power state is {state}")
        for system in ({"PowerState": None}, {"PowerState": ["Off"]}, {}):
            self.bmc.pages[SYSTEM] = system
            await self.assert_said(UNKNOWN, "does not say")

    async def test_one_machine_of_several(self) -> None:
        """Of a chassis with several machines the address names the host's."""
        other = "/redfish/v1/Systems/blade2"
        self.bmc.pages[SYSTEMS] = {"Members": [{"@odata.id": SYSTEM}, {"@odata.id": other}]}
        self.bmc.pages[other] = {"PowerState": "Off"}
        await self.assert_said(UNKNOWN, "2 systems", "the address must name the host's")
        self.configure(self.url + other)
        await self.assert_said(DOWN)
        self.configure(self.url + SYSTEM)
        await self.assert_said(UNKNOWN, "On")

    async def test_odd_collections(self) -> None:
        """A list of machines that makes no sense is refused; a path leads nowhere but to the BMC."""
        none: tuple[object, ...] = ([], {}, "x", None)
        for collection in ({}, *({"Members": members} for members in none)):
            self.bmc.pages[SYSTEMS] = collection
            await self.assert_said(UNKNOWN, "0 systems")
        for member in (None, "x", {}, {"@odata.id": 1}, {"@odata.id": "http://127.0.0.1:9/"}, {"@odata.id": "//x/y"}):
            self.bmc.pages[SYSTEMS] = {"Members": [member]}
            await self.assert_said(UNKNOWN, "no path")

    async def test_errors(self) -> None:
        """Wrong credentials, a missing page, rubbish and a redirect elsewhere say nothing."""
        self.configure(self.url, "wrong")
        await self.assert_said(UNKNOWN, "HTTP 401")
        self.configure(self.url)
        for page, word in (
            (fail(404), "HTTP 404"),
            (fail(500), "HTTP 500"),
            (lambda _: b"<html>Off</html>", "no JSON"),
            (lambda _: b'{"PowerState": "Off"' + b" " * 2**20, "longer than"),
            (redirect("http://127.0.0.1:9/"), "another place"),
        ):
            self.bmc.pages[SYSTEM] = page
            await self.assert_said(UNKNOWN, word)

    async def test_redirect(self) -> None:
        """A service that wants another path is followed."""
        self.bmc.pages["/redfish/v1/Systems/"] = self.bmc.pages[SYSTEMS]
        self.bmc.pages[SYSTEMS] = redirect("/redfish/v1/Systems/")
        self.bmc.pages[SYSTEM] = {"PowerState": "Off"}
        await self.assert_said(DOWN)

    async def test_gone(self) -> None:
        """A BMC without power itself says nothing."""
        gone = PlayedBmc()
        url = gone.listen()
        await maybeDeferred(gone.stop)
        self.configure(url)
        await self.assert_said(UNKNOWN, "refused")

    async def test_slow(self) -> None:
        """One that does not answer is left when the investigator's time is over."""
        self.bmc.pages[SYSTEM] = silence
        begun = self.begin()
        while SYSTEM not in self.bmc.asked:
            await deferLater(reactor, 0.01)
        begun.cancel()
        with self.assertRaises(CancelledError):
            await begun


class WithoutBmcTests(SynchronousTestCase):
    """Before anything is sent."""

    def test_none(self) -> None:
        """A host without a BMC is not looked into."""
        store = FakeStore(host(1))
        investigator = RedfishInvestigator(means(store), JsonClient(None))
        begun = Deferred.fromCoroutine(investigator.investigate(case(host(1))))
        self.assertEqual(self.successResultOf(begun), (UNKNOWN, "the host has no BMC configured"))

    def test_no_password_in_repr(self) -> None:
        """What is written down of a BMC can be logged."""
        bmc = OutOfBand(address="https://192.0.2.9", username="u", password="s3cret")
        self.assertNotIn("s3cret", repr(evolve(bmc, username="v")))

    def test_no_database(self) -> None:
        """A database that is away is the chain's to tell."""
        store = FakeStore(host(1))
        store.error = UNAVAILABLE
        investigator = RedfishInvestigator(means(store), JsonClient(None))
        self.failureResultOf(Deferred.fromCoroutine(investigator.investigate(case(host(1)))), type(UNAVAILABLE))
