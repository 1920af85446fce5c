"""A server is used again after it was emptied, and agents are moved back to it at once."""

from __future__ import annotations

from cloudlb.domain.settings import LB_BAND_AGENTS, LB_BAND_FACTOR, LB_ENABLED
from tests.cluster.draining import DrainCase
from tests.support.world import World


class UndrainTests(DrainCase):
    """Three servers, and agents that do not look for the heads of their lists by themselves."""

    def emptied(self, **options: float) -> World:
        """The second server is in maintenance, in a cluster that does not even out by itself."""
        world = self.build(agents=30, ping_interval=60, algorithm="rendezvous", **options)
        for name, value in ((LB_BAND_AGENTS, "1"), (LB_BAND_FACTOR, "1.01"), (LB_ENABLED, "false")):
            world.change_setting(name, value)
        world.advance(3)
        self.order("prepare_for_maintenance", self.second)
        self.advance_until_ended(self.second)
        world.advance(10)
        self.assertEqual(world.spread()[self.second.address], [])
        return world

    def test_agents_return(self) -> None:
        """Also where a server hears in one breath that another is used again, and that agents are to go there."""
        world = self.emptied(told=False, database_lag=0.01)
        self.order("cancel_maintenance", self.second)
        world.advance(8)
        self.assertEqual([len(agents) for agents in world.spread().values()], [10, 10, 10])
        self.assert_well()
