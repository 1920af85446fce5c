"""The contract of the steps of hosts: HostRows.transition and HostRows.change_resource_state."""

from __future__ import annotations

from cloudlb.domain.host_status import STATUS_TABLE, HostEvent, HostStatus
from cloudlb.domain.models import Host, HostId, Session, StatusChange, Transition
from cloudlb.domain.records import Level
from cloudlb.domain.resource_state import RESOURCE_TABLE, ResourceEvent, ResourceState
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract, admission


class StatusStepContract(StoreContract):
    """HostRows.transition."""

    def setUp(self) -> None:
        """Make one cluster and three hosts in it."""
        super().setUp()
        _, self.location = self.add_cluster()
        self.hosts = [self.admit(admission(guid, self.location)) for guid in "abc"]

    def current(self, number: int = 0) -> Host:
        """A host as the store has it now."""
        host = self.look(lambda txn: txn.hosts.get(self.hosts[number].id))
        assert host is not None
        return host

    def test_step(self) -> None:
        """The latest session takes a step, which is told and kept with its event, and touches no other host."""
        before = len(self.events())
        change = StatusChange(
            host_id=self.hosts[0].id,
            session=Session(1),
            event=HostEvent.AGENT_DISCONNECTED,
            server_id=OTHER_SERVER,
            reason="its link ended",
        )
        taken = self.write(lambda txn: txn.hosts.transition([change], 7.0))
        connecting, lost = HostStatus.CONNECTING, HostStatus.DISCONNECTED
        self.assertEqual(taken, [Transition(change=change, name="name of a", before=connecting, after=lost)])
        self.assertEqual((self.current().status, self.current().disconnected), (lost, 7.0))
        self.assertEqual(self.current(1), self.hosts[1])
        self.assertEqual(len(self.events()), before + 1)
        event = self.events()[0]
        details = {"from": "Connecting", "to": "Disconnected", "event": "AgentDisconnected", "session": "1"}
        self.assertEqual((event.type, event.details), ("HOST.STATUS.TRANSITION", details))
        self.assertEqual((event.host_id, event.server_id, event.created), (self.hosts[0].id, OTHER_SERVER, 7.0))
        self.assertEqual(event.level, Level.WARN)
        self.assertIn("its link ended", event.description)

    def test_another_session(self) -> None:
        """Sessions that are over, or never were, write nothing; neither does anybody after the removal."""
        self.admit(admission("a", self.location))
        before, events = self.current(), self.events()
        for session in (0, 1, 3):
            self.assertIsNone(self.step(before, HostEvent.HOST_DOWN, session=session))
        self.assertEqual((self.current(), self.events()), (before, events))
        self.write(lambda txn: txn.hosts.remove(before.id, SERVER, None, 8.0))
        for session in (2, 3):
            self.assertIsNone(self.step(before, HostEvent.READY, session=session))
        self.assertEqual(self.current().status, HostStatus.REMOVED)
        nobody = StatusChange(
            host_id=HostId(99), session=Session(1), event=HostEvent.READY, server_id=SERVER, reason=""
        )
        self.assertEqual(self.write(lambda txn: txn.hosts.transition([nobody], 1.0)), [None])

    def test_not_in_the_table(self) -> None:
        """What cannot happen changes nothing."""
        events = self.events()
        self.assertNotIn((HostStatus.CONNECTING, HostEvent.WAITED_TOO_LONG), STATUS_TABLE)
        self.assertIsNone(self.step(self.hosts[0], HostEvent.WAITED_TOO_LONG))
        self.assertEqual((self.current(), self.events()), (self.hosts[0], events))

    def test_to_itself(self) -> None:
        """A step that leads nowhere is told, and leaves no trace."""
        events = self.events()
        taken = self.step(self.hosts[0], HostEvent.PING)
        assert taken is not None
        self.assertEqual((taken.before, taken.after), (HostStatus.CONNECTING, HostStatus.CONNECTING))
        self.assertEqual((self.current(), self.events()), (self.hosts[0], events))

    def test_batch(self) -> None:
        """Each step of a batch starts where the one before it has led, whatever becomes of the others."""
        asked = [
            (0, 1, HostEvent.READY),
            (1, 1, HostEvent.READY),
            (0, 9, HostEvent.HOST_DOWN),
            (0, 1, HostEvent.AGENT_DISCONNECTED),
            (0, 1, HostEvent.READY),
            (0, 1, HostEvent.WAITED_TOO_LONG),
        ]
        changes = [
            StatusChange(
                host_id=self.hosts[number].id, session=Session(session), event=event, server_id=SERVER, reason=""
            )
            for number, session, event in asked
        ]
        taken = self.write(lambda txn: txn.hosts.transition(changes, 7.0))
        steps = [step and (step.before.value, step.after.value) for step in taken]
        self.assertEqual(
            steps,
            [
                ("Connecting", "Up"),
                ("Connecting", "Up"),
                None,
                ("Up", "Disconnected"),
                None,
                ("Disconnected", "Alert"),
            ],
        )
        self.assertEqual((self.current(0).status, self.current(1).status), (HostStatus.ALERT, HostStatus.UP))
        told = [event.details["to"] for event in reversed(self.events(host_id=self.hosts[0].id))]
        self.assertEqual(told, ["Connecting", "Up", "Disconnected", "Alert"])
        self.assertEqual(self.write(lambda txn: txn.hosts.transition([], 7.0)), [])

    def test_time_of_disconnection(self) -> None:
        """It is the moment at which the agent was lost, until the host is Up again."""
        seen = []
        for at, event in enumerate(
            (
                HostEvent.READY,
                HostEvent.AGENT_DISCONNECTED,
                HostEvent.WAITED_TOO_LONG,
                HostEvent.HOST_DOWN,
                HostEvent.AGENT_CONNECTED,
                HostEvent.READY,
                HostEvent.HOST_DOWN,
            )
        ):
            self.assertIsNotNone(self.step(self.hosts[0], event, float(at)), event)
            seen.append(self.current().disconnected)
        self.assertEqual(seen, [None, 1.0, 1.0, 1.0, 1.0, None, 6.0])


class ResourceStepContract(StoreContract):
    """HostRows.change_resource_state."""

    def setUp(self) -> None:
        """Make one host."""
        super().setUp()
        _, location = self.add_cluster()
        self.host = self.admit(admission("a", location))

    def change(self, event: ResourceEvent, host_id: HostId | None = None) -> ResourceState | None:
        """Take a step as account 7."""
        return self.write(
            lambda txn: txn.hosts.change_resource_state(
                host_id or self.host.id, event, server_id=SERVER, account_id=7, reason="a disk fails", now=9.0
            )
        )

    def state(self) -> ResourceState:
        """The state that the store has."""
        host = self.look(lambda txn: txn.hosts.get(self.host.id))
        assert host is not None
        return host.resource_state

    def test_step(self) -> None:
        """A step of the table is taken, with its event; the status stays."""
        self.assertEqual(self.change(ResourceEvent.ADMIN_ASK_MAINTENANCE), ResourceState.PREPARE_FOR_MAINTENANCE)
        self.assertEqual(self.state(), ResourceState.PREPARE_FOR_MAINTENANCE)
        (event,) = self.events(event_type="HOST.RESOURCESTATE.TRANSITION")
        details = {"from": "Enabled", "to": "PrepareForMaintenance", "event": "AdminAskMaintenance"}
        self.assertEqual((event.details, event.host_id, event.server_id), (details, self.host.id, SERVER))
        self.assertEqual((event.account_id, event.created), (7, 9.0))
        self.assertIn("a disk fails", event.description)

    def test_refused(self) -> None:
        """What the table has no row for changes nothing, and neither does a host that is gone."""
        self.assertNotIn((ResourceState.ENABLED, ResourceEvent.MANAGE), RESOURCE_TABLE)
        self.assertIsNone(self.change(ResourceEvent.MANAGE))
        self.assertIsNone(self.change(ResourceEvent.DISABLE, HostId(99)))
        self.write(lambda txn: txn.hosts.remove(self.host.id, SERVER, None, 5.0))
        self.assertIsNone(self.change(ResourceEvent.DISABLE))
        self.assertEqual(self.state(), ResourceState.ENABLED)
        self.assertEqual(self.events(event_type="HOST.RESOURCESTATE.TRANSITION"), [])

    def test_to_itself(self) -> None:
        """A step that leads nowhere is told, and leaves no trace."""
        self.assertEqual(self.change(ResourceEvent.ENABLE), ResourceState.ENABLED)
        self.assertEqual(self.events(event_type="HOST.RESOURCESTATE.TRANSITION"), [])
