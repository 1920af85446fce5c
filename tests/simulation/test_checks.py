"""What is checked in simulated histories can be found wrong."""

from __future__ import annotations

import gc
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentUnavailable
from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.rebalancing import Plan
from cloudlb.domain.settings import LB_BAND_AGENTS
from tests.simulation import checks
from tests.simulation.actions import ACTIONS
from tests.simulation.checks import BUS_LATENCY, LAGS, Ownership, broken, leaks, undrained, uneven, unsettled
from tests.simulation.drains import Drains
from tests.simulation.fleet import Fleet
from tests.simulation.plan import Plan as HistoryPlan
from tests.simulation.plan import draw_plan
from tests.simulation.trace import Trace
from tests.simulation.traffic import Sent, Traffic
from tests.support.lagging_executor import PATIENCE
from tests.support.results import result_of
from tests.support.world import World

A, B = "10.0.0.1", "10.0.0.2"


class CheckTests(SynchronousTestCase):
    """Each in a small cluster at rest."""

    def setUp(self) -> None:
        self.record = Path(self.mktemp())
        self.world = World(
            Path(self.mktemp()),
            servers=2,
            agents=2,
            ping_interval=6,
            check_interval=5,
            database_lag=0.001,
            properties=f"simulator.record={self.record}\n",
        )
        self.addCleanup(self.world.close)
        self.fleet = Fleet(self.world, theirs=0, direct=0, delay=0, record=self.record)
        self.traffic = Traffic(self.world, self.record)

    def found(self) -> list[str]:
        """All that is wrong."""
        return [*broken(self.world, self.traffic), *unsettled(self.world, self.fleet, self.traffic), *leaks(self.world)]

    def test_well(self) -> None:
        """Nothing is, after commands too."""
        for server in self.world.servers.values():
            for agent in self.world.agents.values():
                self.traffic.send(server, agent, changes=True)
                self.traffic.start_job(server, agent, changes=False, key=None)
                self.traffic.send_in_sequence(server, agent, 2)
        self.world.advance(20)
        self.assertEqual([], self.found())
        counts = self.traffic.counts()
        self.assertEqual(
            (12, 16, 4, 4), (counts["sent"], counts["carried out"], counts["jobs"], counts["job answered"])
        )

    def test_two_owners(self) -> None:
        """A host that two servers own for longer than the bus takes."""
        ownership = Ownership(self.world)
        host_id = self.world.row(self.world.agents[1]).id
        attache = self.world.servers[A].attache(host_id)
        assert attache is not None
        self.assertEqual([], list(ownership.look()))
        self.world.servers[B].service.directory._attaches[host_id] = attache
        self.assertEqual([], list(ownership.look()))
        self.world.advance(PATIENCE + BUS_LATENCY + LAGS * 0.001 - 0.1)
        self.assertEqual([], list(ownership.look()))
        self.world.servers[B].lose_database(away=True)
        self.world.advance(1)
        self.assertEqual([], list(ownership.look()), "who has no database cannot know")
        self.world.servers[B].lose_database(away=False)
        self.assertEqual([], list(ownership.look()))
        self.world.advance(PATIENCE + 2)
        [problem] = ownership.look()
        self.assertIn(f"owned by {A}, {B}", problem)

    def test_carried_out_twice(self) -> None:
        """A command that a host began twice, or in spite of what its sender was told, or too early."""
        unavailable = Sent("sent/7", self.world.servers[A].machine, 1, AgentUnavailable("no agent"))
        self.traffic._sent += [unavailable, Sent("sent/8", self.world.servers[A].machine, 2, [])]
        marks = ["sent/6", "sent/7", "sent/6", "line/5", "line/3"]
        self.record.write_text("".join(f"CheckHealthCommand {mark}\n" for mark in marks))
        problems = list(broken(self.world, self.traffic))
        self.assertEqual(4, len(problems), problems)
        for part in ("sent/6 was carried out 2 times", "and was carried out", "ended 2 times", "in the order [5, 3]"):
            self.assertIn(part, " ".join(problems))

    def test_no_end(self) -> None:
        """Commands and drains that do not end, unless nobody is left who could tell."""
        first, second = (self.world.servers[address] for address in (A, B))
        self.traffic._sent += [Sent("sent/1", first.machine), Sent("sent/2", second.machine)]
        self.world.kill_server(second)
        problems = " ".join(self.traffic.open())
        self.assertIn("sent/1", problems)
        self.assertNotIn("sent/2", problems)
        for server in (first, second):
            own = server.service.membership.own.id
            server.service.draining.stop()
            result_of(self.world._own.run(lambda txn, own=own: txn.drains.put(Drain(server_id=own, timeout=9))))  # type: ignore[misc]  # own is bound
        [problem] = undrained(self.world)
        self.assertIn(f"the drain of {A} has not ended", problem)

    def drained(self, **figures: int) -> list[str]:
        """What is said of a drain of A that its row calls done, with these figures, while its host is there."""
        drains, server = Drains(self.world), self.world.servers[A]
        server.service.draining.stop()
        self.assertEqual([], list(drains.look()))
        self.world.advance(0.5)
        now = self.world.clock.seconds()
        drain = Drain(server_id=server.service.membership.own.id, timeout=9, started=now, number=1)
        result_of(self.world._own.run(lambda txn: txn.drains.put(drain)))
        self.assertEqual([], list(drains.look()))
        if figures.pop("gone", 0):
            [attache] = server.service.directory
            agent = self.world.agents[attache.host.id]
            self.world.network.cut(agent.address, A)
            self.world.restart_agent(agent)
            self.world.advance(40)
            self.assertEqual(B, agent.server)
        done = evolve(drain, ended=self.world.clock.seconds(), end=DrainEnd.DONE, **figures)  # type: ignore[arg-type]  # all are numbers
        result_of(self.world._own.run(lambda txn: txn.drains.progress(done)))
        self.world.advance(0.5)
        problems = list(drains.look())
        self.assertEqual([], list(drains.look()), "it is told once")
        return problems

    def test_done_too_early(self) -> None:
        """A drain that is done, and a host is left."""
        [problem] = self.drained(total=1, moved=1)
        self.assertIn("have not gone", problem)

    def test_done_with_some_left(self) -> None:
        """A drain that is done, and says itself that it is not."""
        first, second = self.drained(total=1, left=1)
        self.assertIn("have not gone", first)
        self.assertIn("say that it is not", second)

    def test_done_and_miscounted(self) -> None:
        """A drain that is done, and does not know of a host that went."""
        [problem] = self.drained(gone=1)
        self.assertIn("have moved", problem)

    def test_done(self) -> None:
        """One that is done, and knows of the host that went."""
        self.assertEqual([], self.drained(gone=1, total=1, moved=1))

    def test_misplaced(self) -> None:
        """Agents that are not where they should be."""
        self.world.cut_off(self.world.agents[1])
        self.world.agents[2].path.write_text(
            self.world.agents[2].path.read_text().replace(f"host={B},{A}", f"host={A},{B}")
        )
        problems = " ".join(unsettled(self.world, self.fleet, self.traffic))
        self.assertIn("agent-2 holds", problems)
        self.world.advance(60)
        self.assertIn("agent-1 is up nowhere", " ".join(unsettled(self.world, self.fleet, self.traffic)))

    def test_uneven(self) -> None:
        """A host that is not where a plan has it, and a server that is off without a word."""
        self.assertEqual([], list(uneven(self.world)))
        self.world.change_setting(LB_BAND_AGENTS, "1")
        agent = next(agent for agent in self.world.agents.values() if agent.server == A)
        self.world.network.cut(agent.address, A)
        self.world.restart_agent(agent)
        self.world.advance(40)
        [problem] = uneven(self.world)
        self.assertIn("not where a plan has them", problem)
        silent = Plan(moves=(), stays={}, shares=(), notes=())
        self.patch(checks, "plan_moves", lambda txn, seen: silent)
        [problem] = uneven(self.world)
        self.assertIn("does not say why", problem)
        self.patch(checks, "plan_moves", lambda txn, seen: evolve(silent, notes=("So it is.",)))
        self.assertEqual([], list(uneven(self.world)))

    def test_timers(self) -> None:
        """Timers that nobody accounts for."""
        for _ in range(80):
            self.world.servers[A].machine.callLater(1000, lambda: None)
        [problem] = leaks(self.world)
        self.assertIn(f"{A} has", problem)


class TraceTests(SynchronousTestCase):
    """What is logged."""

    def test_defects(self) -> None:
        """A traceback is a defect; that a server finds no database when it starts is none."""
        log, trace = Logger(), Trace(show=False)
        trace.start()
        self.addCleanup(trace.stop)
        away = Failure(StoreUnavailable("it is away"))
        log.critical("The server cannot start: {error}", error=away.value)
        log.failure("Failed to do something", away)
        log.critical("the end is near")
        self.assertEqual(2, len(trace.defects), trace.defects)
        self.assertIn("Failed to do something", trace.defects[0])
        self.assertEqual(1, len(self.flushLoggedErrors(StoreUnavailable)))

    def test_coroutines_closed_as_garbage(self) -> None:
        """When a history is over one may wake another that is closed already; before that it is a defect."""

        async def work() -> None:
            """What a killed process had under way."""

        trace = Trace(show=False)
        trace.start()
        self.addCleanup(trace.stop)
        for end, defects in ((lambda: None, 2), (trace.end, 0)):
            end()
            closed = work()
            closed.close()
            Deferred.fromCoroutine(closed)
            gc.collect()
            self.assertEqual(defects, len(trace.defects), trace.defects)
            trace.defects.clear()
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))
        fail(KeyError("nobody takes it"))
        gc.collect()
        self.assertIn("nobody takes it", " ".join(trace.defects))
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))


def _actions(plan: HistoryPlan) -> set[str]:
    return {step.action for step in plan.steps}


class PlanTests(SynchronousTestCase):
    """What seeds draw."""

    def test_variety(self) -> None:
        """The same from one seed, other clusters from others, and every kind of step somewhere."""
        self.assertEqual(draw_plan(5), draw_plan(5))
        plans = [draw_plan(seed) for seed in range(60)]
        self.assertEqual({3, 4, 5}, {plan.servers for plan in plans})
        self.assertTrue(all(20 <= plan.agents <= 50 for plan in plans))
        self.assertTrue(all(plan.theirs + plan.direct < plan.agents for plan in plans))
        kinds = {(bool(plan.theirs), bool(plan.direct)) for plan in plans}
        self.assertEqual({(False, False), (False, True), (True, False), (True, True)}, kinds)
        peaceful = [plan for plan in plans if not {"freeze_agent", "lose_database", "kill_agent"} & _actions(plan)]
        self.assertGreater(len(peaceful), 5)
        drawn = {step.action for plan in plans for step in plan.steps}
        self.assertEqual(set(ACTIONS), drawn)
        given = draw_plan(1, servers=10, agents=1000, minutes=2)
        self.assertEqual((10, 1000, 120), (given.servers, given.agents, given.seconds))
