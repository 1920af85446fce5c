"""Emptying servers that have agents of CloudStack's, which break their links before they make new ones."""

from __future__ import annotations

from cloudlb.domain.drains import DrainEnd
from cloudlb.domain.host_list import HostList
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.record_ports import AlertFilter
from cloudlb.domain.server_state import ServerState
from tests.cluster.draining import DrainCase
from tests.support.cloudstack_agent import CloudStackAgent


class CloudStackAgentTests(DrainCase):
    """Beside agents of ours."""

    def add(self, number: int) -> CloudStackAgent:
        """Start an agent on the first server."""
        agent = CloudStackAgent(self.world.network, number, HostList(tuple(self.world.servers)))
        agent.start()
        self.world.advance(1)
        return agent

    def assert_up(self, agent: CloudStackAgent) -> None:
        """Its host is Up, where it thinks, and has raised no alert."""
        host = self.world.read(lambda txn: txn.hosts.find(agent.name))
        assert host is not None
        self.assertIs(host.status, HostStatus.UP)
        owner = next(s for s in self.world.read(lambda txn: txn.servers.all()) if s.id == host.server_id)
        self.assertEqual(agent.server, owner.address)
        self.assertEqual(self.world.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None))[0], [])

    def test_both_kinds(self) -> None:
        """All go; those of ours stay Up meanwhile, those of CloudStack's are Rebalancing."""
        self.build(agents=6, algorithm="static")
        agents = [self.add(number) for number in (101, 102)]
        self.assertEqual({agent.server for agent in agents}, {self.first.address})
        self.mark = self.last_event()
        self.order("prepare_for_maintenance", self.first)
        drain = self.advance_until_ended(self.first, limit=20)
        self.assertEqual((drain.end, drain.moved, drain.left, drain.failed), (DrainEnd.DONE, 8, 0, {}))
        for agent in agents:
            self.assert_up(agent)
            self.assertNotEqual(agent.server, self.first.address)
        ours = {str(self.world.row(agent).id) for agent in self.world.agents.values()}
        self.assertEqual([each for each in self.transitions() if each.split(":")[0] in ours], [])
        self.assertEqual(
            sorted(each.partition(" ")[2] for each in self.transitions()),
            sorted(2 * ["Up -> Rebalancing", "Rebalancing -> Connecting", "Connecting -> Up"]),
        )
        self.assert_well()

    def test_one_that_comes(self) -> None:
        """Is admitted, since it would exit at a refusal, and moved on; during the drain, and in maintenance too."""
        self.build(agents=3)
        self.order("prepare_for_maintenance", self.first)
        early = self.add(101)
        self.assertIs(self.advance_until_ended(self.first, limit=30).end, DrainEnd.DONE)
        late = self.add(102)
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        self.world.advance(15)
        for agent in (early, late):
            self.assertIsNone(agent.exited)
            self.assertNotEqual(agent.server, self.first.address)
            self.assert_up(agent)

    def test_one_that_refuses(self) -> None:
        """Stays, and holds the drain up to its end. Forced, it is disconnected, and asked when it comes back."""
        self.build(agents=3)
        agent = self.add(101)
        agent.refuses = True
        self.world.change_setting("management.server.maintenance.timeout", "1")
        self.order("prepare_for_maintenance", self.first)
        drain = self.advance_until_ended(self.first, limit=65)
        self.assertEqual((drain.end, drain.left, len(drain.failed)), (DrainEnd.TIMED_OUT, 1, 1))
        self.assert_up(agent)
        self.order("prepare_for_maintenance", self.first, forced=True)
        self.assertIs(self.advance_until_ended(self.first, limit=75).end, DrainEnd.FORCED)
        self.assertIsNone(agent.server)
        agent.refuses = False
        self.world.advance(30)
        self.assertIsNone(agent.exited)
        self.assertNotEqual(agent.server, self.first.address)

    def test_told_to_stop(self) -> None:
        """SIGTERM waits for them, too."""
        self.build(agents=3)
        agent = self.add(101)
        self.assertLess(self.stop(self.first), 15)
        self.world.advance(10)
        self.assertNotEqual(agent.server, self.first.address)
        self.assert_up(agent)
