"""What becomes of the rows of hosts that lose their agents, with a database that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.directory import GRACE, Directory
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.ports import StoreUnavailable


class LateStore:
    """Does its work some time after it was asked to, or not at all."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.locked = False
        self.written: list[int] = []
        self.hosts = self

    def run(self, work: Callable[[Any], Any]) -> Deferred[Any]:
        """One transaction."""
        if self.locked:
            return fail(StoreUnavailable("locked"))
        done: Deferred[Any] = Deferred()
        self.clock.callLater(0.01, lambda: done.callback(work(self)))
        return done

    def change_status(self, host_id: int, session: int, status: HostStatus, now: float) -> bool:
        """Note the write."""
        assert status is HostStatus.DISCONNECTED
        self.written.append(host_id)
        return True

    def subscribe(self, topic: str, receive: Callable[..., None]) -> None:
        """It stands in for the bus as well."""


class LossTests(SynchronousTestCase):
    """Directory.disconnected and stop."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = LateStore(self.clock)
        self.directory = Directory(self.store, self.store, self.clock)  # type: ignore[arg-type]
        self.directory.start()

    def lose(self, host_id: int, parting: str | None) -> None:
        """Have the link of a host end."""
        host = SimpleNamespace(id=host_id, session=1, facts=SimpleNamespace(name=f"host-{host_id}"))
        attache: Any = SimpleNamespace(claimed=True, parting=parting, host=host)
        self.directory.disconnected(attache, "gone")

    def stop(self) -> None:
        """Stop, and let the database finish."""
        stopped = Deferred.fromCoroutine(self.directory.stop())
        self.clock.pump([0.01] * 50)
        self.successResultOf(stopped)

    def test_a_stop_waits_for_every_write(self) -> None:
        """Also for those that had begun before it, however many batches they are."""
        for host_id in range(1000):
            self.lose(host_id, "the server is stopping")
        stopped = Deferred.fromCoroutine(self.directory.stop())
        self.assertNoResult(stopped)
        self.clock.pump([0.01] * 50)
        self.successResultOf(stopped)
        self.assertEqual(sorted(self.store.written), list(range(1000)))

    def test_an_unannounced_loss_waits_for_a_claim(self) -> None:
        """But not beyond the stop."""
        self.lose(1, None)
        self.clock.advance(GRACE / 2)
        self.assertEqual(self.store.written, [])
        self.stop()
        self.assertEqual(self.store.written, [1])

    def test_a_loss_that_could_not_be_written_is_written_later(self) -> None:
        """Once the database is back; none is written twice."""
        self.store.locked = True
        self.lose(1, "the agent shut down")
        self.lose(2, None)
        self.clock.pump([0.5] * 6)
        self.store.locked = False
        self.clock.pump([0.5] * 6)
        self.assertEqual(sorted(self.store.written), [1, 2])
        self.stop()

    def test_a_stop_without_the_database_ends(self) -> None:
        """Nothing can be done about the rows, and nothing is left on the clock."""
        self.store.locked = True
        self.lose(1, "the server is stopping")
        self.stop()
        self.assertEqual((self.store.written, self.clock.getDelayedCalls()), ([], []))
