"""How far a drain is, by what is here and what the rows say."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.drains import ARRIVES_WITHIN, MOST_FAILED, Drain, Tally, Whereabouts
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, ServerId

OWN, OTHER = ServerId(1), ServerId(2)
UP_ELSEWHERE = Whereabouts(HostStatus.UP, OTHER)


def _uuids(*numbers: int) -> dict[HostId, str]:
    return {HostId(number): f"uuid-{number}" for number in numbers}


class TallyTests(SynchronousTestCase):
    """A drain that has begun at ten seconds with three hosts."""

    def setUp(self) -> None:
        self.tally = Tally()
        self.tally.look(_uuids(1, 2, 3), 10.0)
        self.drain = Drain(server_id=OWN, timeout=60, started=10.0)

    def counted(self, now: float, stayed: dict[str, str] | None = None) -> Drain:
        """How far it is."""
        return self.tally.counted(self.drain, jobs=0, stayed=stayed or {}, note=None, now=now)

    def learn(self, number: int, status: HostStatus, server: ServerId | None, now: float = 12.0) -> None:
        """Read a host's row."""
        self.tally.learn(OWN, {HostId(number): Whereabouts(status, server)}, now)

    def test_at_the_start(self) -> None:
        """All are left, and nobody is missed."""
        self.assertEqual(self.counted(10.0), evolve(self.drain, total=3, left=3))
        self.assertEqual(self.tally.missing, [])
        self.assertFalse(self.tally.is_over(1000.0))

    def test_moved(self) -> None:
        """A host counts when its row is Up on another server, and not before."""
        self.tally.look(_uuids(2, 3), 11.0)
        self.assertEqual(self.tally.missing, [1])
        for status, server in ((HostStatus.UP, OWN), (HostStatus.CONNECTING, OTHER), (HostStatus.REBALANCING, OWN)):
            self.learn(1, status, server)
            self.assertEqual((self.counted(12.0).moved, self.counted(12.0).left), (0, 2))
        self.learn(1, HostStatus.UP, OTHER)
        self.assertEqual(self.tally.missing, [])
        # One in two seconds, and two to go.
        self.assertEqual(self.counted(12.0), evolve(self.drain, total=3, moved=1, left=2, eta=4.0))

    def test_what_comes_later(self) -> None:
        """Counts among the total; so does one that comes back, once."""
        self.tally.look(_uuids(2, 3), 11.0)
        self.learn(1, HostStatus.UP, OTHER)
        self.tally.look(_uuids(1, 2, 3, 4), 12.0)
        counted = self.counted(12.0)
        self.assertEqual((counted.total, counted.moved, counted.left), (4, 0, 4))

    def test_gone_and_nowhere(self) -> None:
        """Fails after a while, with its status, holds nobody up then, and counts as moved if it comes."""
        self.tally.look({}, 11.0)
        self.tally.learn(
            OWN,
            {
                HostId(1): UP_ELSEWHERE,
                HostId(2): UP_ELSEWHERE,
                HostId(3): Whereabouts(HostStatus.DISCONNECTED, OWN),
            },
            11.0,
        )
        self.assertFalse(self.tally.is_over(10.9 + ARRIVES_WITHIN))
        self.assertEqual(self.counted(12.0).failed, {})
        now = 11.0 + ARRIVES_WITHIN
        self.assertTrue(self.tally.is_over(now))
        self.assertEqual(
            self.counted(now),
            evolve(self.drain, total=3, moved=2, failed={"uuid-3": "it has gone, and is Disconnected"}),
        )
        self.learn(3, HostStatus.UP, OTHER)
        self.assertEqual((self.counted(now).moved, self.counted(now).failed), (3, {}))

    def test_deleted(self) -> None:
        """A host that was deleted meanwhile, or has no row, does not count."""
        self.tally.look(_uuids(3), 11.0)
        self.tally.learn(OWN, {HostId(1): Whereabouts(HostStatus.REMOVED, OWN)}, 12.0)
        self.assertEqual(self.counted(12.0).total, 1)

    def test_stayed(self) -> None:
        """Why, as long as it is here; the estimate leaves it out."""
        self.tally.look(_uuids(3), 11.0)
        self.tally.learn(OWN, {HostId(1): UP_ELSEWHERE, HostId(2): UP_ELSEWHERE}, 12.0)
        counted = self.counted(14.0, {"uuid-3": "it stays", "uuid-2": "it stayed once"})
        self.assertEqual((counted.left, counted.failed, counted.eta), (1, {"uuid-3": "it stays"}, None))

    def test_stuck(self) -> None:
        """The estimate does not grow while one is waited for of which nobody knows yet that it stays."""
        self.tally.look(_uuids(3), 11.0)
        self.tally.learn(OWN, {HostId(1): UP_ELSEWHERE, HostId(2): UP_ELSEWHERE}, 12.0)
        self.assertEqual([self.counted(now).eta for now in (12.0, 40.0, 400.0)], [1.0, 1.0, 1.0])

    def test_many_that_fail(self) -> None:
        """Not all of them are named."""
        numbers = range(4, MOST_FAILED + 10)
        self.tally.look(_uuids(*numbers), 11.0)
        self.assertEqual(len(self.counted(12.0, {f"uuid-{number}": "why" for number in numbers}).failed), MOST_FAILED)
