"""Agents that come with a list from before the cluster became another one."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import HOST
from tests.scenarios.case import WorldCase

A, B, C, D = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"


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

    def test_only_server_of_the_list_dies(self) -> None:
        """``host`` is one server, which dies for good: the others, which the agents knew, get them and correct their
        lists, also that of an agent that has been restarted meanwhile."""
        play = self.world(servers=3, agents=6, algorithm="shuffle")
        play.change_setting(HOST, A)
        play.advance(20)
        self.assertEqual([1, 2, 3, 4, 5, 6], play.spread()[A])
        play.kill_server(play.servers[A])
        restarted = play.agents[1]
        play.kill_agent(restarted)
        play.change_setting(HOST, f"{A},{B},{C}", forced=True)
        self.assertEqual("10.0.0.1@shuffle", restarted.host_property)
        play.restart_agent(restarted)
        play.advance(180)
        self.assert_up_once(play)
        for agent in play.agents.values():
            self.assertEqual({A, B, C}, set(HostList.parse(agent.host_property).addresses))

    def test_servers_of_an_earlier_list_that_are_gone(self) -> None:
        """Servers that are gone for good do not keep an agent from the one that is left of earlier lists."""
        play = self.world(servers=4, agents=2, algorithm="static")
        play.change_setting(HOST, D)
        play.advance(20)
        for address in (A, B, D):
            play.power_off(play.servers[address])
        play.change_setting(HOST, f"{A},{B},{C},{D}", forced=True)
        play.advance(240)
        self.assert_up_once(play)
        self.assertEqual({C}, {agent.server for agent in play.agents.values()})
