"""What the servers of a cluster count while agents come, ping, go and are sent on."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from tests.support.server_process import ServerProcess
from tests.support.world import World


def count(server: ServerProcess, name: str, **labels: str) -> float:
    """A sample of a server's; 0 where there is none."""
    registry: CollectorRegistry = server.service.meters.registry
    return registry.get_sample_value(name, labels) or 0.0


class MetricsTests(SynchronousTestCase):
    """Whole clusters."""

    def test_round_trips(self) -> None:
        """An agent tells with its next ping how long the one before took: there and back, and each of them once."""
        world = World(Path(self.mktemp()), servers=1, agents=1, ping_interval=5)
        self.addCleanup(world.close)
        (server,) = world.servers.values()
        world.network.delay(world.agents[1].machine, 0.1)
        before = count(server, "cloudlb_pings_total")
        world.advance(26)
        pings = count(server, "cloudlb_pings_total") - before
        self.assertIn(pings, (5, 6))
        self.assertAlmostEqual(pings, count(server, "cloudlb_ping_round_trip_seconds_count"), delta=1)
        slow = pings - count(server, "cloudlb_ping_round_trip_seconds_bucket", le="0.1")
        self.assertAlmostEqual(pings - 1, slow, delta=1)

    def test_failover_and_back(self) -> None:
        """Those who come when their server dies are failovers; those who return are not, and were not sent."""
        world = World(Path(self.mktemp()), servers=2, agents=4, algorithm="roundrobin", check_interval=5)
        self.addCleanup(world.close)
        first, second = world.servers.values()
        self.assertEqual((0, 0), (count(first, "cloudlb_failovers_total"), count(second, "cloudlb_failovers_total")))
        world.kill_server(second)
        world.advance(20)
        self.assertEqual(2, count(first, "cloudlb_failovers_total"))
        self.assertEqual(2, count(first, "cloudlb_agents", status="Up", preferred="no"))
        self.assertEqual(1, count(first, "cloudlb_servers", state="Down"))
        world.restart_server(second)
        world.advance(30)
        self.assertEqual(0, count(first, "cloudlb_agents", status="Up", preferred="no"))
        self.assertEqual(2, count(second, "cloudlb_agents", status="Up", preferred="yes"))
        self.assertEqual(0, count(world.servers["10.0.0.2"], "cloudlb_failovers_total"))
        self.assertEqual(2, count(first, "cloudlb_failovers_total"))
