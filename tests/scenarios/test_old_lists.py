"""Agents that come with a list from before the cluster became another one."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from cloudlb.domain.settings import HOST
from tests.scenarios.case import WorldCase

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


class OldListTests(WorldCase):
    """What befell the cluster while the agent was away."""

    def test_own_servers_in_maintenance(self) -> None:
        """The servers of its list are in maintenance: they name the one that has joined, and it is Up there."""
        play = self.world(servers=2, agents=2)
        agent = play.agents[1]
        play.kill_agent(agent)
        play.add_server(C)
        play.settle()
        play.change_setting(HOST, f"{A},{B},{C}")
        orders = play.servers[C].service.server_orders
        for address in (A, B):
            own = play.servers[address].service.membership.own.id
            play.wait_for(Deferred.fromCoroutine(orders.prepare_for_maintenance(own, 1)))
        play.advance(20)
        self.assertEqual([2], play.spread()[C])
        self.assertNotIn(C, agent.host_property)
        play.restart_agent(agent)
        play.advance(20)
        self.assert_up_once(play)
        self.assertEqual(C, agent.server)
