"""The contract of HostRows for hosts that were lost: which they are, and whose turn it is to be looked into."""

from __future__ import annotations

from functools import partial

from attrs import evolve

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId, ServerId, Session
from cloudlb.domain.ports import Transaction
from cloudlb.domain.resource_state import ResourceEvent
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract, admission


def _look_into(txn: Transaction, host_id: HostId, at: float) -> None:
    txn.hosts.looked_into(host_id, at)


class LostHostsContract(StoreContract):
    """What HostRows says of lost hosts."""

    def setUp(self) -> None:
        """Make one cluster and three hosts in it."""
        super().setUp()
        _, self.location = self.add_cluster()
        self.hosts = [self.admit(admission(guid, self.location)) for guid in "abc"]

    def test_overdue(self) -> None:
        """Hosts that are Disconnected for long, the longest first, as many as asked for."""
        for number, at in ((0, 30.0), (1, 10.0), (2, 20.0)):
            self.step(self.hosts[number], HostEvent.AGENT_DISCONNECTED, at)

        def guids(before: float, limit: int = 9) -> list[str]:
            return [host.facts.guid for host in self.look(lambda txn: txn.hosts.overdue(before, limit))]

        self.assertEqual(
            (guids(10.0), guids(20.5), guids(99.0), guids(99.0, 1)), ([], ["b", "c"], ["b", "c", "a"], ["b"])
        )
        self.step(self.hosts[1], HostEvent.WAITED_TOO_LONG, 50.0)
        self.assertEqual(guids(99.0), ["c", "a"])

    def test_lost_since(self) -> None:
        """Disconnected or in Alert, and heard at that time or later."""
        ids = {}
        for name, events in (
            ("up", [HostEvent.READY]),
            ("disconnected", [HostEvent.AGENT_DISCONNECTED]),
            ("in alert", [HostEvent.AGENT_DISCONNECTED, HostEvent.WAITED_TOO_LONG]),
            ("down", [HostEvent.HOST_DOWN]),
            ("heard before", [HostEvent.AGENT_DISCONNECTED]),
            ("never heard", [HostEvent.AGENT_DISCONNECTED]),
            ("removed", [HostEvent.AGENT_DISCONNECTED]),
        ):
            host = self.admit(admission(name, self.location))
            ids[name] = host.id
            for event in events:
                self.assertIsNotNone(self.step(host, event))
        heard = {host_id: 10.0 for name, host_id in ids.items() if name not in ("heard before", "never heard")}
        self.write(lambda txn: txn.hosts.touch({**heard, ids["heard before"]: 9.0}))
        self.write(lambda txn: txn.hosts.remove(ids["removed"], SERVER, None, 11.0))
        self.assertEqual(set(self.look(lambda txn: txn.hosts.lost_since(10.0))), {ids["disconnected"], ids["in alert"]})

    def test_to_look_into(self) -> None:
        """Hosts that were lost and not looked into for some time, longest so first, of a server and of those gone."""
        self.admit(admission("b", self.location, server_id=OTHER_SERVER))
        events = (HostEvent.AGENT_DISCONNECTED, HostEvent.MANAGEMENT_SERVER_DOWN, HostEvent.PING_TIMEOUT)
        for number, at in ((0, 30.0), (1, 10.0), (2, 20.0)):
            self.step(evolve(self.hosts[number], session=Session(2 if number == 1 else 1)), events[number], at)

        def guids(before: float, *live: ServerId, limit: int = 9, orphans: bool = True) -> list[str]:
            def work(txn: Transaction) -> list[str]:
                found = txn.hosts.to_look_into(before, limit, server_id=SERVER, live=live, orphans=orphans)
                return [host.facts.guid for host in found]

            return self.look(work)

        self.assertEqual((guids(20.0), guids(99.0), guids(99.0, limit=1)), (["b"], ["b", "c", "a"], ["b"]))
        self.assertEqual((guids(99.0, SERVER, OTHER_SERVER), guids(99.0, orphans=False)), (["c", "a"], ["c", "a"]))
        for at in (50.0, 40.0):
            self.write(partial(_look_into, host_id=self.hosts[2].id, at=at))
        self.assertEqual((guids(50.0), guids(50.1)), (["b", "a"], ["b", "a", "c"]))

    def test_looked_into(self) -> None:
        """Is the time of a loss, and nothing for a host that is Up, was never lost, or has gone on request."""
        host = self.hosts[0]

        def looked_into() -> float | None:
            found = self.look(lambda txn: txn.hosts.get(host.id))
            assert found is not None
            return found.looked_into

        self.write(lambda txn: txn.hosts.looked_into(host.id, 5.0))
        self.assertIsNone(looked_into())
        for event, expected in (
            (HostEvent.READY, None),
            (HostEvent.PING_TIMEOUT, 7.0),
            (HostEvent.WAITED_TOO_LONG, 7.0),
            (HostEvent.SHUTDOWN_REQUESTED, None),
            (HostEvent.PING, None),
            (HostEvent.AGENT_DISCONNECTED, 7.0),
            (HostEvent.PING, None),
        ):
            self.step(host, event, 7.0)
            self.assertEqual(looked_into(), expected, event)

    def test_who_is_not_looked_into(self) -> None:
        """Hosts that are not Disconnected, that are removed, or whose operator has taken them out of service."""
        for host in self.hosts:
            self.step(host, HostEvent.AGENT_DISCONNECTED, 1.0)
        self.step(self.hosts[0], HostEvent.WAITED_TOO_LONG, 2.0)
        self.write(lambda txn: txn.hosts.remove(self.hosts[1].id, SERVER, None, 5.0))

        def guids() -> list[str]:
            find = self.look(lambda txn: txn.hosts.to_look_into(9.0, 9, server_id=SERVER, live=[], orphans=True))
            return [host.facts.guid for host in find]

        def change(event: ResourceEvent) -> None:
            self.write(
                lambda txn: txn.hosts.change_resource_state(
                    self.hosts[2].id, event, server_id=SERVER, account_id=None, reason="a test", now=3.0
                )
            )

        self.assertEqual(guids(), ["c"])
        for event, found in ((ResourceEvent.DISABLE, []), (ResourceEvent.ADMIN_ASK_MAINTENANCE, ["c"])):
            change(event)
            self.assertEqual(guids(), found)
