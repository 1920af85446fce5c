"""Tests of what is known of hosts' lists."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.balancing import Algorithm, Place
from cloudlb.domain.known_lists import indexes_in_zones, known_lists, same_lists
from cloudlb.domain.models import ZoneId
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_WEIGHTS, PING_INTERVAL
from cloudlb.domain.settings_in_force import Settings

SERVERS = "10.0.0.1,10.0.0.2,10.0.0.3"


def settings(algorithm: Algorithm, **more: str) -> Settings:
    """Settings with three servers."""
    return Settings({HOST: SERVERS, LB_ALGORITHM: algorithm.value, **more})


class KnownListTests(SynchronousTestCase):
    """Lists by settings and places."""

    def test_by_place(self) -> None:
        """Whoever tells it tells the same; under shuffle nobody does."""
        place = Place("guid", 1)
        self.assertEqual(tuple(SERVERS.split(",")), known_lists(settings(Algorithm.STATIC))(place))
        self.assertEqual(("10.0.0.2", "10.0.0.3", "10.0.0.1"), known_lists(settings(Algorithm.ROUNDROBIN))(place))
        self.assertEqual((), known_lists(settings(Algorithm.SHUFFLE))(place))

    def test_same(self) -> None:
        """They depend on servers, algorithm and weights alone."""
        before = settings(Algorithm.RENDEZVOUS)
        self.assertTrue(same_lists(before, settings(Algorithm.RENDEZVOUS, **{PING_INTERVAL: "7"})))
        for other in (
            settings(Algorithm.STATIC),
            settings(Algorithm.RENDEZVOUS, **{LB_WEIGHTS: "10.0.0.1=2"}),
            settings(Algorithm.RENDEZVOUS, **{HOST: "10.0.0.1"}),
        ):
            self.assertFalse(same_lists(before, other))

    def test_indexes(self) -> None:
        """Each zone is counted by itself."""
        zones = map(ZoneId, (1, 2, 1, 1, 2))
        self.assertEqual([0, 0, 1, 2, 1], list(indexes_in_zones(zones)))
