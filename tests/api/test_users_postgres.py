"""Administrators who are disabled at the same time, on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import evolve
from twisted.internet.defer import gatherResults
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from cloudlb.api.errors import ApiError
from cloudlb.api.users import keep_an_administrator
from cloudlb.domain.ports import Transaction
from cloudlb.domain.users import Account, Role
from tests.storage.postgres import MISSING, new_database
from tests.storage.threaded import open_database


class AtOnceTests(TestCase):
    """Each of two administrators is disabled by one of two servers."""

    skip = MISSING
    timeout = 60

    async def test_one_stays(self) -> None:
        """Both see the other one; one of them is refused in the end."""
        url = new_database(self)
        databases = [await open_database(self, url) for _ in range(2)]
        both = await databases[0].run(
            lambda txn: [
                txn.accounts.add(username=name, role=Role.ADMINISTRATOR, password=None, now=1.0) for name in ("a", "b")
            ]
        )
        for _ in range(5):
            ends: list[object] = await gatherResults(
                [
                    database.run(_disable(account)).addErrback(_reason)
                    for database, account in zip(databases, both, strict=True)
                ]
            )
            self.assertEqual(1, ends.count(None), ends)
            left = await databases[0].read(lambda txn: [each.disabled for each in txn.accounts.all()])
            self.assertEqual(1, left.count(True))
            await databases[0].run(_enable(both))


def _enable(accounts: Sequence[Account]) -> Callable[[Transaction], None]:
    def work(txn: Transaction) -> None:
        for account in accounts:
            txn.accounts.update(account)

    return work


def _disable(account: Account) -> Callable[[Transaction], None]:
    def work(txn: Transaction) -> None:
        keep_an_administrator(txn, account)
        # So that the other one has looked as well.
        time.sleep(0.1)
        txn.accounts.update(evolve(account, disabled=True))

    return work


def _reason(failure: Failure) -> str:
    failure.trap(ApiError)
    return str(failure.value)
