"""What is old is dropped, and nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.live_settings import LiveSettings
from cloudlb.bus.database_bus import DatabaseBus
from cloudlb.cluster import pruning
from cloudlb.cluster.pruning import INTERVAL, JOB_AGE, Pruning
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId, JobStatus, ServerId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.record_ports import AlertFilter, EventFilter
from cloudlb.domain.records import AlertType, Investigation, Verdict
from cloudlb.domain.settings import ALERT_PURGE_DELAY, EVENT_PURGE_DELAY
from cloudlb.domain.settings_in_force import Settings
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.agents.server import ServerFixture
from tests.contracts.case import now
from tests.storage.sqlite import new_database

DAY = 86_400.0
NOW = 1000 * DAY


def _keep(txn: Transaction, at: float) -> None:
    """An event, an investigation, an alert and an ended job of a time."""
    txn.events.add("HOST.ADD", "x", now=at)
    txn.investigations.add(
        Investigation(
            uuid=f"at {at}",
            host_id=HostId(1),
            server_id=ServerId(1),
            cause=HostEvent.PING_TIMEOUT,
            started=at,
            duration=1.0,
            verdict=Verdict.UNKNOWN,
            findings=(),
        )
    )
    txn.alerts.send(AlertType.HOST, f"at {at}", host_id=None, now=at)
    job, _ = txn.jobs.start(command="c", account_id=1, server_id=ServerId(1), host_id=None, now=at, key=f"at {at}")
    txn.jobs.finish(job.uuid, JobStatus.SUCCEEDED, 0, {}, at)


def _left(txn: Transaction) -> tuple[int, int, int]:
    return (
        txn.events.list(EventFilter(), 0, 0)[1],
        txn.investigations.list(None, 0, 0)[1],
        txn.alerts.list(AlertFilter(), 0, 0)[1],
    )


class PruningTests(SynchronousTestCase):
    """Pruning on one clock."""

    def setUp(self) -> None:
        """Start to look, with events kept for two days and alerts for three."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.database = Database(new_database(Path(self.mktemp())), writer=InlineExecutor(), reader=InlineExecutor())
        now(self.database.start())
        self.addCleanup(lambda: now(self.database.stop()))
        self.settings = LiveSettings(self.database, DatabaseBus(self.database, self.clock), self.clock)
        self.settings.current = Settings({EVENT_PURGE_DELAY: "2", ALERT_PURGE_DELAY: "3"})
        self.pruning = Pruning(self.database, self.settings, self.clock)
        self.pruning.start()

    def keep(self, *ages: float) -> None:
        """Keep one of everything, each of an age in seconds at the next look."""
        for age in ages:
            now(self.database.run(partial(_keep, at=NOW + INTERVAL - age)))

    def left(self) -> tuple[int, int, int]:
        """How many events, investigations and alerts are there."""
        return now(self.database.read(_left))

    def has_job(self, age: float) -> bool:
        """Whether the job of an age is there: its key is free otherwise."""
        key = f"at {NOW + INTERVAL - age}"

        def work(txn: Transaction) -> bool:
            _, new = txn.jobs.start(command="c", account_id=1, server_id=ServerId(1), host_id=None, now=0.0, key=key)
            return not new

        return now(self.database.run(work))

    def test_ages(self) -> None:
        """Each kind has an age of its own."""
        ages = (JOB_AGE - 1, JOB_AGE + 1, 2 * DAY - 1, 2 * DAY + 1, 3 * DAY - 1, 3 * DAY + 1)
        self.keep(*ages)
        self.clock.advance(INTERVAL - 1)
        self.assertEqual((6, 6, 6), self.left())
        self.clock.advance(1)
        self.assertEqual((3, 3, 5), self.left())
        self.assertEqual([True, False], [self.has_job(age) for age in ages[:2]])

    def test_for_ever(self) -> None:
        """0 keeps what there is."""
        self.settings.current = Settings({EVENT_PURGE_DELAY: "0", ALERT_PURGE_DELAY: "0"})
        self.keep(999 * DAY)
        self.clock.advance(INTERVAL)
        self.assertEqual((1, 1, 1), self.left())
        self.assertFalse(self.has_job(999 * DAY))

    def test_batches(self) -> None:
        """All that is old goes in one look, in transactions of a bounded size."""
        self.patch(pruning, "BATCH", 2)
        self.keep(*(9 * DAY + second for second in range(5)))
        transactions = self.count_transactions()
        self.clock.advance(INTERVAL)
        self.assertEqual((0, 0, 0), self.left())
        # Two full batches and one that is not, of each of four tables.
        self.assertEqual(12, len(transactions))

    def test_two_servers(self) -> None:
        """What one has dropped is nothing to the other."""
        other = Pruning(self.database, self.settings, self.clock)
        other.start()
        self.keep(9 * DAY, 1.0)
        self.clock.advance(INTERVAL)
        self.assertEqual((1, 1, 1), self.left())

    def test_stop(self) -> None:
        """Nothing is dropped any more."""
        self.keep(9 * DAY)
        self.pruning.stop()
        self.clock.advance(2 * INTERVAL)
        self.assertEqual((1, 1, 1), self.left())

    def test_every_server_does_it(self) -> None:
        """A running server drops what is old by its settings."""
        folder = Path(self.mktemp())
        folder.mkdir()
        fixture = ServerFixture(folder)
        self.addCleanup(fixture.stop)
        now(fixture.database.run(partial(_keep, at=fixture.reactor.seconds() - 100 * DAY)))
        for _ in range(61):
            fixture.reactor.advance(10)
        self.assertEqual((0, 0, 0), now(fixture.database.read(_left)))

    def count_transactions(self) -> list[Any]:
        """What the database is asked to write from now on."""
        asked: list[Any] = []
        run = self.database.run

        def counted(work: Any) -> Any:
            asked.append(work)
            return run(work)

        self.patch(self.database, "run", counted)
        return asked
