"""The contract of Store itself: transactions."""

from __future__ import annotations

from cloudlb.domain.ports import Transaction
from cloudlb.domain.users import Role
from tests.contracts.case import StoreContract


class TransactionContract(StoreContract):
    """Store.run and Store.read."""

    def test_all_or_nothing(self) -> None:
        """What work raises is raised, and nothing of what it did remains."""

        def work(txn: Transaction) -> None:
            txn.topology.add_zone("a")
            txn.accounts.add(username="admin", role=Role.ADMINISTRATOR, password=None, now=0.0)
            raise LookupError("stop")

        with self.assertRaisesRegex(LookupError, "stop"):
            self.write(work)
        self.assertEqual(self.look(lambda txn: txn.topology.zones()), [])
        self.assertIsNone(self.look(lambda txn: txn.accounts.by_username("admin")))

    def test_sees_itself(self) -> None:
        """Work reads what it has written before."""

        def work(txn: Transaction) -> list[str]:
            txn.topology.add_zone("a")
            return [zone.name for zone in txn.topology.zones()]

        self.assertEqual(self.write(work), ["a"])

    def test_read_does_not_write(self) -> None:
        """Work that promised only to read cannot break the promise."""
        with self.assertRaisesRegex(Exception, "read-?only"):
            self.look(lambda txn: txn.topology.add_zone("a"))
        self.assertEqual(self.look(lambda txn: txn.topology.zones()), [])
        self.write(lambda txn: txn.topology.add_zone("a"))
