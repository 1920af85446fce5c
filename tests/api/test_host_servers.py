"""listHostServers."""

from __future__ import annotations

from cloudlb.domain.ports import Transaction
from cloudlb.domain.settings import HOST, LB_ALGORITHM
from tests.api.world import ApiTestCase


class HostServers(ApiTestCase):
    """The list of a host."""

    def setUp(self) -> None:
        """Two hosts on alpha, which is the second of three in `host`; the third does not exist."""
        super().setUp()
        self.add_site()
        self.first, self.second = self.add_host("a"), self.add_host("b")
        self.choose("roundrobin")

    def choose(self, algorithm: str) -> None:
        """Have lists ordered by an algorithm."""

        def work(txn: Transaction) -> None:
            txn.settings.set(HOST, "10.0.0.1,127.0.0.1,10.0.0.3", None)
            txn.settings.set(LB_ALGORITHM, algorithm, None)

        self.stored(work)

    def test_order(self) -> None:
        """The list turns with the host's place in its zone, and says where the host is and should be."""
        addresses = [[row["address"] for row in self.of(host)] for host in (self.first, self.second)]
        self.assertEqual(addresses, [["10.0.0.1", "127.0.0.1", "10.0.0.3"], ["127.0.0.1", "10.0.0.3", "10.0.0.1"]])
        unknown, alpha, _ = self.of(self.first)
        self.assertEqual(unknown, {"address": "10.0.0.1", "preferred": True, "connected": False})
        self.assertEqual(
            alpha,
            {
                "address": "127.0.0.1",
                "managementserverid": self.membership.own.uuid,
                "managementservername": "alpha",
                "state": "Up",
                "preferred": False,
                "connected": True,
            },
        )

    def test_no_order(self) -> None:
        """Under shuffle nobody knows the order that an agent got."""
        self.choose("shuffle")
        self.assertEqual(self.call("listHostServers", id=str(self.first)), {})

    def test_unknown(self) -> None:
        """A host that is not there is an error."""
        self.assertIn("id", self.refused("listHostServers", id="77"))

    def of(self, host_id: int) -> list[dict[str, object]]:
        """The list of a host."""
        rows: list[dict[str, object]] = self.call("listHostServers", id=str(host_id))["hostserver"]
        return rows
