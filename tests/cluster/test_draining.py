"""Emptying servers: in a whole cluster, with agents of ours."""

from __future__ import annotations

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.drains import DrainEnd
from cloudlb.domain.server_state import ServerState
from tests.cluster.draining import DrainCase


class MaintenanceTests(DrainCase):
    """prepareForMaintenance and cancelMaintenance."""

    def test_a_server_is_emptied(self) -> None:
        """Its agents go, without a change of their statuses; then it is in maintenance."""
        world = self.build(agents=9)
        self.assertEqual([len(on) for on in world.spread().values()], [3, 3, 3])
        self.order("prepare_for_maintenance", self.first)
        self.assertIs(self.state(self.first), ServerState.PREPARING_FOR_MAINTENANCE)
        drain = self.advance_until_ended(self.first, limit=5)
        self.assertIs(drain.end, DrainEnd.DONE)
        self.assertEqual((drain.total, drain.moved, drain.left, drain.jobs, drain.failed), (3, 3, 0, 0, {}))
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        self.assertEqual([len(on) for on in world.spread().values()][0], 0)
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_lists_by_another_algorithm(self) -> None:
        """Static sends all of them to the second server of `host`, whatever the one in force would."""
        world = self.build(agents=6)
        self.order("prepare_for_maintenance", self.first, algorithm=Algorithm.STATIC)
        world.advance(0.5)
        self.advance_until_ended(self.first)
        self.assert_well()
