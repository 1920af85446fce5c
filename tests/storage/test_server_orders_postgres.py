"""Servers that are ordered to be emptied at the same time, on PostgreSQL."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from cloudlb.agents.resource_states import NotPossible
from cloudlb.cluster.server_orders import ServerOrders
from cloudlb.domain.models import ServerId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.server_state import ServerState
from tests.storage.postgres import MISSING, new_database
from tests.storage.threaded import open_database

SERVERS = ServerId(1), ServerId(2)


class AtOnceTests(TestCase):
    """Each of two servers takes the order for one of them."""

    skip = MISSING
    timeout = 60

    async def test_one_stays(self) -> None:
        """Both see the other one Up; one of them is refused in the end."""
        url = new_database(self)
        databases = [await open_database(self, url) for _ in SERVERS]

        def found(txn: Transaction) -> None:
            txn.settings.set("host", "one,two", None)
            for name, server_id in zip(("one", "two"), SERVERS, strict=True):
                txn.servers.register(name=name, address=name, port=1, version="0", candidate_id=server_id)

        await databases[0].run(found)
        orders = [ServerOrders(database, Clock()) for database in databases]
        for _ in range(20):
            ends: list[object] = await gatherResults(
                [
                    Deferred.fromCoroutine(order.prepare_for_maintenance(server_id, 1)).addErrback(_reason)
                    for order, server_id in zip(orders, SERVERS, strict=True)
                ]
            )
            self.assertEqual(1, ends.count(None), ends)
            servers = await databases[0].read(lambda txn: txn.servers.all())
            emptied = [server.id for server in servers if server.state is not ServerState.UP]
            self.assertEqual([SERVERS[ends.index(None)]], emptied)
            await orders[0].cancel_maintenance(emptied[0], 1, rebalance=False)


def _reason(failure: Failure) -> str:
    failure.trap(NotPossible)
    return str(failure.value)
