"""When a server plans, what it tells of a plan, and how the job of one ends. Who moves is tests.domain's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event
from twisted.internet.defer import Deferred

from cloudlb.cluster.plan_parts import MOVE, MOVED
from cloudlb.cluster.rebalancer import INTERVAL, MARGIN, SLACK, VAIN_PAUSE
from cloudlb.domain.models import HostId, Server, ServerId
from cloudlb.domain.server_state import ServerEvent
from tests.api.world import ApiTestCase

ALPHA, BETA = "127.0.0.1", "::1"
BAND = 60


class RebalancerCase(ApiTestCase):
    """Server alpha, which looks; beta, whose row a test writes; and hosts that are nothing but rows."""

    def setUp(self) -> None:
        """40 hosts on alpha."""
        super().setUp()
        self.add_site()
        self.beta = self.server("beta", BETA, ServerId(2**48))
        for number in range(40):
            self.add_host(f"agent-{number:02}")
        self.set_value("host", f"{ALPHA},{BETA}")
        self.set_value("indirect.agent.lb.algorithm", "rendezvous")
        self.rebalancer.start()
        self.addCleanup(self.rebalancer.stop)
        self.published: list[Mapping[str, Any]] = []
        self.bus.subscribe(MOVE, self.published.append)

    def server(self, name: str, address: str, number: ServerId) -> Server:
        """Another server's row."""
        server: Server = self.stored(
            lambda txn: txn.servers.register(name=name, address=address, port=8250, version="0.1", candidate_id=number)
        )
        return server

    def set_value(self, name: str, value: str) -> None:
        """Change a setting."""
        self.call("updateConfiguration", name=name, value=value)

    def advance(self, seconds: float, *, beta: bool = True) -> None:
        """Let time pass; beta's heart beats, if it is to."""
        for _ in range(round(seconds)):
            if beta:
                self.stored(lambda txn: txn.servers.heartbeat(self.beta.id))
            self.clock.pump([0.5] * 2)

    def tell(self, plan: str, **numbers: int) -> None:
        """Tell how far alpha is."""
        zeros = {"planned": 0, "moved": 0, "stayed": 0, "lost": 0}
        payload = {"plan": plan, "server_id": self.membership.own.id, **zeros, **numbers}
        self.stored(lambda txn: txn.bus.publish(MOVED, payload, 0.0))
        self.advance(2)

    def arrive(self, moves: list[Any]) -> None:
        """Have hosts be on beta."""
        for name in [f"agent-{number - 1:02}" for number, _ in moves]:
            self.add_host(name, self.beta.id)

    def events(self) -> list[str]:
        """What was told of plans, the newest first."""
        found = self.call("listEvents", type="AGENTS.REBALANCE")
        return [one["description"] for one in found.get("event", [])]


class Looks(RebalancerCase):
    """By itself."""

    def test_plan(self) -> None:
        """One plan when the spread has been off for long enough, and no other one while it is being carried out."""
        self.advance(BAND - INTERVAL)
        self.assertEqual(self.published, [])
        self.advance(3 * INTERVAL)
        (plan,) = self.published
        moves = plan["moves"][str(self.membership.own.id)]
        self.assertEqual((len(moves), {target for _, target in moves}), (11, {BETA}))
        self.assertEqual(plan["seconds"], 11 / 50 * 1.5 + SLACK)
        self.assertEqual(self.events(), [f"11 hosts are to be moved ({ALPHA} to {BETA}: 11)"])
        self.advance(BAND)
        self.assertEqual(len(self.published), 1)
        self.arrive(moves)
        self.tell(plan["plan"], planned=11, moved=11)
        self.advance(3 * BAND)
        self.assertEqual(len(self.published), 1)

    def test_plan_without_end(self) -> None:
        """A plan of which nothing more is heard stands in the way of the next for its time only."""
        self.advance(BAND + 2 * INTERVAL)
        self.advance(SLACK + VAIN_PAUSE - BAND)
        self.assertEqual(len(self.published), 1)
        self.advance(2 * BAND)
        self.assertEqual(len(self.published), 2)

    def test_another_is_first(self) -> None:
        """The live server of the lowest id plans: this one does when that one is gone."""
        self.stored(lambda txn: txn.servers.remove(self.beta.id))
        self.beta = self.server("beta", BETA, ServerId(1))
        self.advance(2 * BAND)
        self.assertEqual(self.published, [])
        self.server("gamma", "192.0.2.9", ServerId(2**48))
        self.advance(BAND + 5 * INTERVAL, beta=False)
        self.assertEqual(self.published, [])

    def test_disabled(self) -> None:
        """Nothing by itself; the time counts from when it may."""
        self.set_value("agent.lb.enabled", "false")
        self.advance(2 * BAND)
        self.set_value("agent.lb.enabled", "true")
        self.advance(BAND - INTERVAL)
        self.assertEqual(self.published, [])
        self.advance(3 * INTERVAL)
        self.assertEqual(len(self.published), 1)

    def test_break(self) -> None:
        """The time begins anew when the spread was even in between: when beta took no agents, say."""
        self.advance(BAND - INTERVAL)
        self.stored(lambda txn: txn.servers.change_state(self.beta.id, ServerEvent.PREPARE_FOR_MAINTENANCE))
        self.advance(2 * INTERVAL)
        self.stored(lambda txn: txn.servers.change_state(self.beta.id, ServerEvent.CANCEL_MAINTENANCE))
        self.advance(BAND - INTERVAL)
        self.assertEqual(self.published, [])
        self.advance(3 * INTERVAL)
        self.assertEqual(len(self.published), 1)

    def test_in_vain(self) -> None:
        """Where lists keep the spread uneven no rows are read again and again, until something changes."""
        self.set_value("indirect.agent.lb.algorithm", "static")
        plans = self.count_plans()
        self.advance(BAND + VAIN_PAUSE)
        self.assertEqual((self.published, self.events(), len(plans)), ([], [], 1))
        self.set_value("indirect.agent.lb.algorithm", "roundrobin")
        self.advance(2 * INTERVAL)
        self.assertEqual((len(self.published), len(plans)), (1, 2))

    def count_plans(self) -> list[str]:
        """Reads of all hosts' rows, from now on."""
        return self.count("host.guid, host.zone_id")

    def count(self, part: str) -> list[str]:
        """Statements with this part, from now on."""
        seen: list[str] = []

        def execute(connection: object, cursor: object, statement: str, *_: object) -> None:
            if part in statement:
                seen.append(statement)

        event.listen(self.database._read_engine, "before_cursor_execute", execute)
        return seen

    def test_cost_of_a_look(self) -> None:
        """Servers, settings, counts; no rows of hosts while the spread is even."""
        self.arrive([[number, BETA] for number in range(1, 20)])
        self.advance(INTERVAL)
        seen, plans = self.count("SELECT"), self.count_plans()
        Deferred.fromCoroutine(self.rebalancer.look())
        self.assertEqual(plans, [])
        self.assertLessEqual(len(seen), 5, seen)


class Requests(RebalancerCase):
    """rebalanceAgents."""

    def ask(self) -> str:
        """Ask for a plan; the job."""
        job: str = self.call("rebalanceAgents")["jobid"]
        self.advance(1)
        return job

    def job(self, uuid: str) -> tuple[int, dict[str, Any]]:
        """Status and result of a job."""
        body = self.call("queryAsyncJobResult", jobid=uuid)
        return body["jobstatus"], body.get("jobresult", {}).get("rebalance", {})

    def test_moves(self) -> None:
        """At once, as a job that tells how far it is, and ends with what became of every host."""
        job = self.ask()
        (plan,) = self.published
        self.assertEqual(self.job(job)[1]["left"], 11)
        self.tell(plan["plan"], planned=11, moved=7)
        status, result = self.job(job)
        self.assertEqual((status, result["moved"], result["left"], result["failed"]), (0, 7, 4, 0))
        self.tell(plan["plan"], planned=11, moved=8, stayed=2, lost=1)
        status, result = self.job(job)
        self.assertEqual(status, 1)
        numbers = [result[name] for name in ("planned", "moved", "stayed", "failed", "left")]
        self.assertEqual(numbers, [11, 8, 2, 1, 0])
        self.assertEqual(sum(row["count"] for row in result["stay"]), 29)
        self.assertEqual(self.events(), [f"11 hosts are to be moved ({ALPHA} to {BETA}: 11)"])

    def test_nothing_to_do(self) -> None:
        """It has ended at once, and says why nobody moves."""
        self.set_value("indirect.agent.lb.algorithm", "static")
        status, result = self.job(self.ask())
        self.assertEqual((status, result["planned"], self.published), (1, 0, []))
        (why,) = result["stay"]
        self.assertEqual(why, {"reason": "it is on the first server of its list that takes agents", "count": 40})
        self.assertIn("cannot be improved", result["note"][0])

    def test_shuffle(self) -> None:
        """Who is off the list that it holds only its server knows: it is asked, and tells."""
        self.set_value("indirect.agent.lb.algorithm", "shuffle")
        job = self.ask()
        (plan,) = self.published
        self.assertTrue(plan["held"])
        self.assertEqual(set(plan["moves"]), {str(self.membership.own.id), str(self.beta.id)})
        self.tell(plan["plan"], planned=3, moved=3)
        self.assertEqual(self.job(job)[0], 0)
        self.advance(20, beta=False)
        status, result = self.job(job)
        self.assertEqual((status, result["planned"], result["moved"]), (1, 3, 3))

    def test_time_over(self) -> None:
        """A job of which nothing is heard ends in time; what became of the hosts is not known."""
        job = self.ask()
        self.advance(SLACK + MARGIN)
        status, result = self.job(job)
        self.assertEqual((status, result["failed"], result["left"]), (1, 11, 0))

    def test_replaced(self) -> None:
        """Each job follows its own plan."""
        jobs = [self.ask(), self.ask()]
        first, second = (plan["plan"] for plan in self.published)
        self.tell(first, planned=11, moved=1, stayed=10)
        self.assertEqual([self.job(job)[0] for job in jobs], [1, 0])
        self.tell(second, planned=11, moved=11)
        self.assertEqual([self.job(job)[1]["moved"] for job in jobs], [1, 11])

    def test_forgotten_host(self) -> None:
        """A plan is of hosts that are there."""
        self.stored(lambda txn: txn.hosts.remove(HostId(1), self.beta.id, None, 0.0))
        self.ask()
        (plan,) = self.published
        self.assertNotIn(1, [number for number, _ in plan["moves"][str(self.membership.own.id)]])
