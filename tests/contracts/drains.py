"""The contract of DrainRows."""

from __future__ import annotations

from attrs import evolve

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.models import ServerId
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract


class DrainRowsContract(StoreContract):
    """DrainRows."""

    def setUp(self) -> None:
        """Register two servers."""
        self.store = self.open_store(lambda: 10.0)
        for name, server in (("one", SERVER), ("two", OTHER_SERVER)):
            self.register(name, server)

    def register(self, name: str, server: ServerId) -> None:
        """Register a server."""
        self.write(
            lambda txn: txn.servers.register(name=name, address=name, port=8250, version="0", candidate_id=server)
        )

    def put(self, drain: Drain) -> Drain:
        """Order a drain."""
        return self.write(lambda txn: txn.drains.put(drain))

    def get(self, server: ServerId = SERVER) -> Drain | None:
        """The latest drain of a server."""
        return self.look(lambda txn: txn.drains.get(server))

    def test_none(self) -> None:
        """A server that never was drained has none."""
        self.assertIsNone(self.get())
        self.assertEqual(self.look(lambda txn: txn.drains.all()), {})

    def test_ordered(self) -> None:
        """What was ordered is there, of each server its own."""
        first = self.put(Drain(server_id=SERVER, timeout=60.0))
        second = self.put(Drain(server_id=OTHER_SERVER, timeout=0.5, algorithm=Algorithm.RENDEZVOUS, forced=True))
        self.assertEqual(first, Drain(server_id=SERVER, number=1, timeout=60.0))
        self.assertEqual((self.get(), self.get(OTHER_SERVER)), (first, second))
        self.assertEqual(self.look(lambda txn: txn.drains.all()), {SERVER: first, OTHER_SERVER: second})

    def test_progress(self) -> None:
        """All of it is kept, its end too; after that it does not change any more."""
        other = self.put(Drain(server_id=OTHER_SERVER, timeout=60.0))
        ordered = self.put(Drain(server_id=SERVER, timeout=60.0))
        drain = evolve(
            ordered, started=10.5, total=3, moved=1, left=2, jobs=4, failed={"uuid": "why"}, eta=1.5, note="it waits"
        )
        ended = evolve(drain, ended=12.25, end=DrainEnd.TIMED_OUT, eta=None)
        for step in (drain, ended):
            self.assertTrue(self.write(lambda txn, step=step: txn.drains.progress(step)))  # type: ignore[misc]
            self.assertEqual(self.get(), step)
        self.assertFalse(self.write(lambda txn: txn.drains.progress(drain)))
        self.assertEqual((self.get(), self.get(OTHER_SERVER)), (ended, other))

    def test_ordered_again(self) -> None:
        """A new one takes the place of the old one, which nobody can write about any more."""
        old = self.put(Drain(server_id=SERVER, timeout=60.0, forced=True, algorithm=Algorithm.SHUFFLE))
        new = self.put(Drain(server_id=SERVER, timeout=5.0))
        self.assertEqual(new, Drain(server_id=SERVER, number=2, timeout=5.0))
        self.assertFalse(self.write(lambda txn: txn.drains.progress(evolve(old, moved=7))))
        self.assertEqual(self.get(), new)
        self.assertTrue(self.write(lambda txn: txn.drains.progress(evolve(new, moved=7))))
