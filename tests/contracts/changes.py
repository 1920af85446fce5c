"""The contract of ChangeRows: what a watcher of the fleet hears of."""

from __future__ import annotations

from cloudlb.domain.change_ports import Glance
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, HostId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import AlertType
from cloudlb.domain.resource_state import ResourceEvent
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract, admission


class ChangeRowsContract(StoreContract):
    """ChangeRows."""

    def glance(self, host_id: HostId) -> Glance:
        """A host as a watcher sees it."""
        (seen,) = self.look(lambda txn: txn.changes.hosts_since(float("inf"), [host_id]))
        return seen

    def change_state(self, host: Host, event: ResourceEvent) -> None:
        """An operator's step."""

        def work(txn: Transaction) -> None:
            txn.hosts.change_resource_state(host.id, event, server_id=SERVER, account_id=None, reason="", now=1.0)

        self.write(work)

    def test_glance(self) -> None:
        """A glance has what the row has."""
        _, location = self.add_cluster("east")
        host = self.admit(admission("a", location))
        (seen,) = self.look(lambda txn: txn.changes.hosts())
        self.assertEqual(seen, self.glance(host.id))
        self.assertEqual(
            seen._replace(changed=0.0),
            Glance(
                id=host.id,
                changed=0.0,
                removed=False,
                guid="a",
                zone_id=host.zone.id,
                name="name of a",
                status="Connecting",
                resource_state="Enabled",
                server_id=SERVER,
                cluster="cluster east",
                ip_address="127.0.0.9",
                version="4.22.0.0",
                direct=False,
            ),
        )

    def test_what_changes(self) -> None:
        """Each step is a change of its host; that a host is heard, or looked into, is none."""
        _, location = self.add_cluster()
        host, other = self.admit(admission("a", location)), self.admit(admission("b", location))
        moved = admission("a", location, server_id=OTHER_SERVER)
        for change in (
            lambda: self.step(host, HostEvent.READY),
            lambda: self.change_state(host, ResourceEvent.DISABLE),
            lambda: self.write(lambda txn: txn.hosts.set_tags(host.id, ["ssd"])),
            # It stays Up, and so there is no event.
            lambda: self.admit(moved),
            lambda: self.write(lambda txn: txn.hosts.remove(host.id, SERVER, None, 2.0)),
            lambda: self.write(lambda txn: txn.hosts.restore(host.id, SERVER, None, 3.0)),
        ):
            # The clock may stand still between two changes: the latest one is the other host's then.
            self.write(lambda txn: txn.hosts.set_tags(other.id, ["hdd"]))
            before = self.glance(other.id)
            change()
            self.assertGreaterEqual(self.glance(host.id).changed, before.changed)
            self.assertEqual(self.glance(other.id), before)
        before = self.glance(host.id)
        self.write(lambda txn: txn.hosts.touch({host.id: 9.0, other.id: 9.0}))
        self.write(lambda txn: txn.hosts.looked_into(host.id, 9.0))
        self.assertEqual(self.glance(host.id), before)

    def test_since(self) -> None:
        """Only those that were changed after a time are told, and those that are asked for by name."""
        _, location = self.add_cluster()
        first, second = self.admit(admission("a", location)), self.admit(admission("b", location))
        self.assertEqual(len(self.look(lambda txn: txn.changes.hosts_since(0.0))), 2)
        latest = self.glance(second.id).changed
        self.assertEqual(self.look(lambda txn: txn.changes.hosts_since(latest)), [])
        (seen,) = self.look(lambda txn: txn.changes.hosts_since(latest, [first.id]))
        self.assertEqual(seen.id, first.id)

    def test_now(self) -> None:
        """The time is that of the clock by which changes are stamped."""
        _, location = self.add_cluster()
        before = self.look(lambda txn: txn.changes.now())
        changed = self.glance(self.admit(admission("a", location)).id).changed
        self.assertTrue(before <= changed <= self.look(lambda txn: txn.changes.now()))

    def test_server(self) -> None:
        """A host that changes hands while it is Up is seen on its new server."""
        _, location = self.add_cluster()
        host = self.admit(admission("a", location))
        self.step(host, HostEvent.READY)
        self.admit(admission("a", location, server_id=OTHER_SERVER))
        seen = self.glance(host.id)
        self.assertEqual((seen.status, seen.server_id), ("Up", OTHER_SERVER))

    def test_removed(self) -> None:
        """A removed host is a change, and not among those that are there."""
        _, location = self.add_cluster()
        host = self.admit(admission("a", location))
        self.write(lambda txn: txn.hosts.remove(host.id, SERVER, None, 2.0))
        self.assertTrue(self.glance(host.id).removed)
        self.assertEqual(self.look(lambda txn: txn.changes.hosts()), [])

    def test_events(self) -> None:
        """Events come with their numbers, the newest first, and after one of them only newer ones."""

        def add(txn: Transaction) -> None:
            for text in ("one", "two", "three"):
                txn.events.add("HOST.ADD", text, now=1.0)

        self.write(add)
        newest = self.look(lambda txn: txn.changes.newest_events(2))
        self.assertEqual([event.description for _, event in newest], ["three", "two"])
        number = newest[1][0]
        after = self.look(lambda txn: txn.changes.events_since(number, 10))
        self.assertEqual(after, newest[:1])
        self.assertEqual(self.look(lambda txn: txn.changes.events_since(number - 1, 1)), newest[:1])

    def test_alerts(self) -> None:
        """Alerts that stand are counted."""
        self.assertEqual(self.look(lambda txn: txn.changes.standing_alerts()), 0)
        self.write(lambda txn: txn.alerts.send(AlertType.HOST, "a host is down", host_id=None, now=1.0))
        self.assertEqual(self.look(lambda txn: txn.changes.standing_alerts()), 1)
