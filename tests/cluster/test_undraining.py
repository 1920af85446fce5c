"""A server is used again after it was emptied, and agents are moved back to it at once."""

from __future__ import annotations

from typing import Any

from cloudlb.agents.departures import Move
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

    def test_the_server_hears_of_it_last(self) -> None:
        """Agents come before the server has heard that it takes any: it takes them, and none is asked twice."""
        world = self.emptied(told=False, database_lag=0.01)
        moves = [server.service.moves for server in (self.first, self.third) if server is not None]
        asked: list[str] = []
        for each in moves:
            departures = each._departures
            depart = departures.depart

            def noted(move: Move, *arguments: object, depart: Any = depart, **options: bool) -> object:
                asked.append(move.attache.host.facts.name)
                return depart(move, *arguments, **options)

            departures.depart = noted  # type: ignore[assignment,method-assign]
        self.second.slow_database(0.4)
        self.order("cancel_maintenance", self.second)
        world.advance(8)
        self.assertEqual([len(agents) for agents in world.spread().values()], [10, 10, 10])
        self.assertEqual((len(asked), len(set(asked))), (10, 10))
        self.assert_well()
