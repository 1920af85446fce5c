"""The chain of investigators: who is asked, for how long, and what is on record afterwards."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents import investigation as module
from cloudlb.agents.errors import AgentUnavailable
from cloudlb.agents.investigation import MAX_REASON, Case, Investigator, Investigators, Means
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.models import ServerId, Session
from cloudlb.domain.records import Investigation, Level, Verdict
from cloudlb.domain.settings import INVESTIGATION_TIMEOUT, INVESTIGATOR_TIMEOUT, INVESTIGATORS_ORDER
from cloudlb.domain.settings_in_force import Settings
from tests.agents.investigating import UNAVAILABLE, FakeStore, case, host, means

DOWN, UP, UNKNOWN = Verdict.DOWN, Verdict.UP, Verdict.UNKNOWN


class Scripted(Investigator):
    """Does what the test says."""

    def __init__(self, does: Callable[[Case], Any]) -> None:
        self.does = does
        self.cases: list[Case] = []

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        self.cases.append(case)
        did = self.does(case)
        if isinstance(did, Awaitable):
            did = await did
        return cast("tuple[Verdict, str]", did)


def says(verdict: Verdict, reason: str = "because") -> Scripted:
    """One that answers at once."""
    return Scripted(lambda _: (verdict, reason))


class ChainTestCase(SynchronousTestCase):
    """Investigators on a virtual clock."""

    def setUp(self) -> None:
        """Nobody is there yet."""
        self.clock = Clock()
        self.clock.advance(1_000)
        self.store = FakeStore()

    def chain(self, each: int = 10, whole: int = 30, order: str | None = None, **investigators: Investigator) -> None:
        """Set up the chain, in the order of the arguments unless another is given."""
        stored = {
            INVESTIGATORS_ORDER: order if order is not None else ",".join(investigators),
            INVESTIGATOR_TIMEOUT: str(each),
            INVESTIGATION_TIMEOUT: str(whole),
        }
        self.settings = SimpleNamespace(current=Settings(stored=stored))
        self.investigators = Investigators(
            self.store.store, cast("LiveSettings", self.settings), self.clock, random.Random(1), investigators
        )
        self.investigators.server_id = ServerId(7)

    def begin(self, number: int = 1) -> Deferred[Investigation]:
        """Open a case."""
        opened = evolve(case(host(number)), seconds=0.0)
        return Deferred.fromCoroutine(self.investigators.investigate(opened))

    def later(self, seconds: float, verdict: Verdict = UNKNOWN) -> Scripted:
        """One that answers after some time."""
        return Scripted(lambda _: deferLater(self.clock, seconds, lambda: (verdict, f"after {seconds}")))

    def never(self) -> Scripted:
        """One that never answers."""
        return Scripted(lambda _: Deferred())

    def findings(self, investigation: Investigation) -> list[tuple[str, Verdict, str]]:
        """Who said what."""
        return [(finding.investigator, finding.verdict, finding.reason) for finding in investigation.findings]


class OrderTests(ChainTestCase):
    """Who is asked."""

    def test_first_to_know(self) -> None:
        """Up and Down end it; those after are not asked, those before are on record."""
        for verdict in (UP, DOWN):
            third = says(DOWN)
            self.chain(a=says(UNKNOWN, "no idea"), b=says(verdict, "seen"), c=third)
            found = self.successResultOf(self.begin())
            self.assertIs(found.verdict, verdict)
            self.assertEqual(self.findings(found), [("a", UNKNOWN, "no idea"), ("b", verdict, "seen")])
            self.assertEqual(third.cases, [])
            assert found.decided_by is not None
            self.assertEqual(found.decided_by.investigator, "b")

    def test_nobody_knows(self) -> None:
        """When all have been asked in vain, the verdict is that nobody knows."""
        self.chain(a=says(UNKNOWN), b=says(UNKNOWN))
        found = self.successResultOf(self.begin())
        self.assertEqual((found.verdict, found.decided_by, len(found.findings)), (UNKNOWN, None, 2))

    def test_order_of_the_setting(self) -> None:
        """The setting orders them, and one that it leaves out is not asked; it is read anew each time."""
        self.chain(order="b", a=says(DOWN), b=says(UNKNOWN))
        self.assertEqual(self.findings(self.successResultOf(self.begin())), [("b", UNKNOWN, "because")])
        self.settings.current = Settings(stored={INVESTIGATORS_ORDER: "b,a"})
        self.assertEqual([f.investigator for f in self.successResultOf(self.begin()).findings], ["b", "a"])

    def test_nobody_to_ask(self) -> None:
        """An empty order is on record as well."""
        self.chain()
        found = self.successResultOf(self.begin())
        self.assertEqual((found.verdict, found.findings), (UNKNOWN, ()))
        self.assertEqual(self.store.investigations, [found])

    def test_unknown_name(self) -> None:
        """A name that nobody has does not know."""
        self.chain(order="missing,a", a=says(UP))
        found = self.successResultOf(self.begin())
        self.assertEqual(found.findings[0].reason, "there is no investigator of this name")
        self.assertIs(found.verdict, UP)


class FailureTests(ChainTestCase):
    """What an investigator can do wrong harms nobody."""

    def reason(self, bad: Investigator) -> str:
        """What is on record of one after which another knows."""
        self.chain(bad=bad, good=says(UP))
        found = self.successResultOf(self.begin())
        self.assertIs(found.verdict, UP)
        self.assertIs(found.findings[0].verdict, UNKNOWN)
        return found.findings[0].reason

    def test_raises(self) -> None:
        """One that raises does not know, at once or later; the log has the traceback."""

        def now(_: Case) -> None:
            raise ZeroDivisionError("by zero")

        def then(_: Case) -> Deferred[None]:
            return deferLater(self.clock, 0).addCallback(now)

        self.assertEqual(self.reason(Scripted(now)), "failed: ZeroDivisionError: by zero")
        self.chain(bad=Scripted(then))
        begun = self.begin()
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(begun).findings[0].reason, "failed: ZeroDivisionError: by zero")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_expected_errors(self) -> None:
        """A database that is away or a host that cannot be asked is no defect."""
        for error in (UNAVAILABLE, AgentUnavailable("host-2 is gone")):

            def fail(_: Case, error: Exception = error) -> None:
                raise error

            self.assertIn(str(error), self.reason(Scripted(fail)))

    def test_no_coroutine(self) -> None:
        """One that is not asynchronous, or is not even finished, is asked all the same."""

        class Plain(Investigator):
            def investigate(self, case: Case) -> Any:
                return UP, "plain"

        self.chain(plain=Plain())
        self.assertIs(self.successResultOf(self.begin()).verdict, UP)
        self.assertIn("NotImplementedError", self.reason(Investigator()))
        self.assertEqual(len(self.flushLoggedErrors(NotImplementedError)), 1)

    def test_nonsense(self) -> None:
        """What is no verdict with a reason does not count, whatever it looks like."""
        answers: tuple[Any, ...] = (None, True, "Down", ("Down", "x"), (DOWN,), (DOWN, None), (DOWN, "x", 1), {})
        for nonsense in answers:

            def say(_: Case, nonsense: Any = nonsense) -> Any:
                return nonsense

            self.assertIn("no verdict", self.reason(Scripted(say)))

    def test_reason_is_made_fit(self) -> None:
        """A reason is kept in one line that can be shown, and bounded."""
        self.assertEqual(self.reason(says(UNKNOWN, "one\n two\x00\ud800")), "one two??")
        long = self.reason(says(UNKNOWN, "x" * 10_000))
        self.assertEqual((len(long), long[-4:]), (MAX_REASON, "x..."))

    def test_error_that_cannot_be_shown(self) -> None:
        """Not even an exception without a text does harm."""

        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("mute")

        def fail(_: Case) -> None:
            raise Mute

        self.assertIn("failed: Mute", self.reason(Scripted(fail)))
        self.flushLoggedErrors(Mute)

    def test_late(self) -> None:
        """One that runs late is cancelled, and what it says then is nobody's."""
        late = self.later(11, DOWN)
        self.chain(late=late, good=says(UP))
        begun = self.begin()
        self.clock.advance(9.9)
        self.assertNoResult(begun)
        self.clock.advance(0.1)
        found = self.successResultOf(begun)
        self.assertEqual(self.findings(found)[0], ("late", UNKNOWN, "had no answer within 10 s"))
        self.assertEqual((found.verdict, found.findings[0].duration, found.duration), (UP, 10.0, 10.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_will_not_be_cancelled(self) -> None:
        """One that takes no notice of its cancellation holds nobody up."""

        async def stubborn() -> tuple[Verdict, str]:
            for _ in range(100):
                with contextlib.suppress(CancelledError):
                    await deferLater(self.clock, 3)
            return DOWN, "at last"

        self.chain(stubborn=Scripted(lambda _: stubborn()), good=says(UP))
        begun = self.begin()
        self.clock.pump([1] * 10)
        self.assertIs(self.successResultOf(begun).verdict, UP)
        self.clock.pump([1] * 400)
        self.assertEqual(len(self.store.investigations), 1)

    def test_not_on_record(self) -> None:
        """A database that is away, or a stop, costs the record, not the verdict; a defect is logged."""
        self.chain(a=says(DOWN))
        for error in (UNAVAILABLE, CancelledError()):
            self.store.error = error
            self.assertIs(self.successResultOf(self.begin()).verdict, DOWN)
        self.store.error = ZeroDivisionError()
        self.assertIs(self.successResultOf(self.begin()).verdict, DOWN)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class BudgetTests(ChainTestCase):
    """What all of them may take together."""

    def test_each_is_told_its_time(self) -> None:
        """The last one has what is left, and those after have nothing."""
        first, last, never = self.never(), self.never(), says(UP)
        self.chain(10, 15, first=first, last=last, never=never)
        begun = self.begin()
        self.clock.pump([1] * 15)
        found = self.successResultOf(begun)
        self.assertEqual((first.cases[0].seconds, last.cases[0].seconds), (10.0, 5.0))
        self.assertEqual(never.cases, [])
        self.assertEqual(found.findings[2].reason, "was not asked: no time was left")
        self.assertEqual((found.verdict, found.duration), (UNKNOWN, 15.0))

    def test_one_at_a_time_of_a_host(self) -> None:
        """A second investigation of a host waits for the first; another host's does not."""
        slow = self.later(4)
        self.chain(slow=slow)
        one, two, other = self.begin(1), self.begin(1), self.begin(2)
        self.assertEqual(len(slow.cases), 2)
        self.clock.advance(4)
        self.assertEqual(self.successResultOf(one).duration, 4.0)
        self.successResultOf(other)
        self.clock.advance(4)
        self.assertEqual(self.successResultOf(two).duration, 8.0)

    def test_waiting_counts(self) -> None:
        """What a second investigation of a host waited is part of its budget."""
        never = self.never()
        self.chain(10, 10, never=never)
        one = self.begin()
        self.clock.advance(4)
        two, three = self.begin(), self.begin()
        self.clock.pump([6, 4])
        found = [self.successResultOf(each) for each in (one, two, three)]
        self.assertEqual([each.duration for each in found], [10.0, 10.0, 10.0])
        self.assertEqual([case.seconds for case in never.cases], [10.0, 4.0])
        self.assertEqual(found[2].findings[0].reason, "was not asked: no time was left")

    def test_many_at_once(self) -> None:
        """Of very many only some run at a time, and each ends within its budget, on record."""
        self.patch(module, "AT_ONCE", 3)
        slow = self.later(9)
        self.chain(10, 20, slow=slow)
        begun = [self.begin(number) for number in range(1, 13)]
        self.assertEqual(len(slow.cases), 3)
        self.clock.advance(9)
        self.assertEqual(len(slow.cases), 6)
        self.clock.advance(9)
        self.assertEqual(len(slow.cases), 9)
        self.clock.advance(2)
        found = [self.successResultOf(each) for each in begun]
        self.assertTrue(all(each.duration <= 20 for each in found))
        reasons = [each.findings[0].reason for each in found]
        self.assertEqual(reasons[:6], ["after 9"] * 6)
        self.assertEqual(reasons[6:9], ["had no answer within 2 s"] * 3)
        self.assertEqual(reasons[9:], ["was not asked: no time was left"] * 3)
        self.assertEqual(len(self.store.investigations), 12)
        self.assertEqual((self.clock.getDelayedCalls(), self.investigators._hosts), ([], {}))

    def test_stop(self) -> None:
        """A cancelled investigation ends at once, asks nobody else and leaves nothing."""
        after = says(UP)
        self.chain(never=self.never(), after=after)
        begun, waiting = self.begin(), self.begin()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        begun.cancel()
        self.failureResultOf(begun, CancelledError)
        self.assertEqual((after.cases, self.store.investigations), ([], []))
        self.assertEqual((self.clock.getDelayedCalls(), self.investigators._hosts), ([], {}))


class RecordTests(ChainTestCase):
    """What can be read later."""

    def test_record(self) -> None:
        """The row says all of it, and an event says it in one line."""
        self.chain(mute=self.never(), judge=says(DOWN, "power state Off"))
        begun = self.begin()
        self.clock.advance(10)
        found = self.successResultOf(begun)
        self.assertEqual(self.store.investigations, [found])
        self.assertEqual(self.store.looks, [(1, 1010.0)])
        self.assertEqual((found.host_id, found.server_id, found.started), (1, 7, 1000.0))
        (event,) = self.store.events
        self.assertEqual(
            event["description"],
            "Investigated host host-1 (AgentDisconnected) for 10.0 s: Down; judge: power state Off",
        )
        self.assertEqual((event["type"], event["level"]), ("HOST.INVESTIGATION", Level.ERROR))
        self.assertEqual((event["now"], event["server_id"], event["host_id"]), (1010.0, 7, 1))
        self.assertEqual(
            event["details"],
            {
                "cause": "AgentDisconnected",
                "verdict": "Down",
                "investigator": "judge",
                "duration": "10.000",
                "investigation": found.uuid,
            },
        )

    def test_levels(self) -> None:
        """What nobody knows is graver than that a host lives."""
        for verdict, level in ((UP, Level.INFO), (UNKNOWN, Level.WARN)):
            self.chain(a=says(verdict))
            self.successResultOf(self.begin())
            self.assertIs(self.store.events[-1]["level"], level)
        self.assertIn("Unknown; nobody knows", self.store.events[-1]["description"])


def third_party(given: Means) -> Investigator:
    """Make an investigator as a third party's entry point does."""
    return says(UP, f"has its means: {given.store is not None}")


class EntryPointTests(ChainTestCase):
    """Investigators of third parties."""

    def load(self, **values: str) -> None:
        """Load what these entry points name, after one of our own."""
        points = [EntryPoint(name, f"tests.agents.test_investigation:{value}", "x") for name, value in values.items()]
        self.patch(module, "entry_points", lambda group: points if group == "cloudlb.investigators" else [])
        self.chain(order=",".join(["ours", *values]), ours=says(UNKNOWN, "ours"))
        self.investigators.load(means(self.store))

    def test_loaded(self) -> None:
        """One is known by the name of its entry point."""
        self.load(Theirs="third_party")
        found = self.successResultOf(self.begin())
        self.assertEqual(self.findings(found)[1], ("Theirs", UP, "has its means: True"))

    def test_isolated(self) -> None:
        """What cannot be loaded is on record as the reason, and does not keep others from being loaded."""
        self.load(gone="nowhere", odd="host", ours="third_party", Theirs="third_party")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError, TypeError, ValueError)), 3)
        found = self.successResultOf(self.begin())
        self.assertEqual(
            [finding.investigator for finding in found.findings], ["ours", "gone", "odd", "ours", "Theirs"]
        )
        self.assertEqual(found.findings[0].reason, "ours")
        for finding in found.findings[1:3]:
            self.assertIn("could not be loaded", finding.reason)
        self.assertIs(found.verdict, UP)


class SessionTests(ChainTestCase):
    """Cases are handed on as they were opened."""

    def test_case(self) -> None:
        """An investigator sees host, link and cause."""
        seen = says(UP)
        self.chain(seen=seen)
        link: Any = object()
        opened = case(host(3, session=Session(5)), attache=link, seconds=0.0)
        self.successResultOf(Deferred.fromCoroutine(self.investigators.investigate(opened)))
        self.assertEqual(seen.cases, [evolve(opened, seconds=10.0)])
