"""What becomes of the rows of hosts that lose their agents, with a database that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.losses import Loss, Losses
from cloudlb.agents.statuses import Statuses
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import StatusChange, Transition
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

    def transition(self, changes: list[StatusChange], now: float) -> list[Transition]:
        """Note the writes."""
        self.written += [change.host_id for change in changes]
        return [
            Transition(
                change=change,
                name=f"host-{change.host_id}",
                before=HostStatus.UP,
                after=HostStatus.DISCONNECTED,
            )
            for change in changes
        ]


class LossTests(SynchronousTestCase):
    """Losses on their way to the database."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = LateStore(self.clock)
        self.told: list[Transition | None] = []
        self.losses = Losses(Statuses(self.store, self.clock), self.clock)  # type: ignore[arg-type]
        self.losses.start()

    def lose(self, host_id: int, *, after: float = 0.0) -> None:
        """Have a host lose its agent, to be written some time later."""
        host: Any = SimpleNamespace(id=host_id, session=1, facts=SimpleNamespace(name=f"host-{host_id}"))
        due = self.clock.seconds() + after
        self.losses.add(Loss(host, HostEvent.AGENT_DISCONNECTED, "gone", due, self.told.append))

    def stop(self) -> None:
        """Stop, and let the database finish."""
        stopped = Deferred.fromCoroutine(self.losses.stop())
        self.clock.pump([0.01] * 50)
        self.successResultOf(stopped)

    def test_a_stop_waits_for_every_write(self) -> None:
        """Also for those that had begun before it, however many batches they are."""
        for host_id in range(1000):
            self.lose(host_id)
        stopped = Deferred.fromCoroutine(self.losses.stop())
        self.assertNoResult(stopped)
        self.clock.pump([0.01] * 50)
        self.successResultOf(stopped)
        self.assertEqual(sorted(self.store.written), list(range(1000)))

    def test_a_loss_waits_until_it_is_due(self) -> None:
        """But not beyond the stop."""
        self.lose(1, after=1.0)
        self.clock.advance(0.5)
        self.assertEqual(self.store.written, [])
        self.stop()
        self.assertEqual(self.store.written, [1])

    def test_who_asked_learns_what_came_of_it(self) -> None:
        """Once it is written."""
        self.lose(1)
        self.assertEqual(self.told, [])
        self.clock.advance(0.01)
        self.assertEqual([told and told.after for told in self.told], [HostStatus.DISCONNECTED])
        self.stop()

    def test_a_loss_that_could_not_be_written_is_written_later(self) -> None:
        """Once the database is back; none is written twice."""
        self.store.locked = True
        self.lose(1)
        self.lose(2, after=1.0)
        self.clock.pump([0.5] * 6)
        self.store.locked = False
        self.clock.pump([0.5] * 6)
        self.assertEqual(sorted(self.store.written), [1, 2])
        self.stop()

    def test_a_stop_without_the_database_ends(self) -> None:
        """Nothing can be done about the rows, and nothing is left on the clock."""
        self.store.locked = True
        self.lose(1)
        self.stop()
        self.assertEqual((self.store.written, self.clock.getDelayedCalls()), ([], []))
