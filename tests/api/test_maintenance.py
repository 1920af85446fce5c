"""Tests of what operators let hosts do."""

from __future__ import annotations

from typing import Any

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId, StatusChange
from cloudlb.domain.ports import Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.resource_state import ResourceEvent, ResourceState
from tests.api.world import NOW, ApiTestCase

E = ResourceEvent

WAYS: dict[ResourceState, tuple[ResourceEvent, ...]] = {
    ResourceState.ENABLED: (),
    ResourceState.DISABLED: (E.DISABLE,),
    ResourceState.PREPARE_FOR_MAINTENANCE: (E.ADMIN_ASK_MAINTENANCE,),
    ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE: (E.ADMIN_ASK_MAINTENANCE, E.UNABLE_TO_MIGRATE),
    ResourceState.ERROR_IN_MAINTENANCE: (E.ADMIN_ASK_MAINTENANCE, E.UNABLE_TO_MAINTAIN),
    ResourceState.MAINTENANCE: (E.INTERNAL_ENTER_MAINTENANCE,),
    ResourceState.DEGRADED: (E.DECLARE_HOST_DEGRADED,),
    ResourceState.UNMANAGED: (E.UNMANAGE,),
}
"""How an Enabled host gets into each state."""


class HostStateTestCase(ApiTestCase):
    """One host that is Up here."""

    def setUp(self) -> None:
        super().setUp()
        self.add_site()
        self.host_id: HostId = self.add_host("a")

    def put(self, state: ResourceState) -> None:
        """Bring the host into a state, from Enabled."""

        for event in WAYS[state]:
            assert self.step(event)
        self.assertEqual(self.state, state.value)

    def step(self, event: ResourceEvent) -> bool:
        """Have something happen to the host; False if its state has no step for it."""

        def work(txn: Transaction) -> bool:
            after = txn.hosts.change_resource_state(
                self.host_id, event, server_id=self.membership.own.id, account_id=None, reason="a test", now=NOW
            )
            return after is not None

        happened: bool = self.stored(work)
        return happened

    def lose_agent(self) -> None:
        """Have the host Disconnected."""

        def work(txn: Transaction) -> None:
            host = txn.hosts.get(self.host_id)
            assert host is not None
            change = StatusChange(
                host_id=host.id,
                session=host.session,
                event=HostEvent.AGENT_DISCONNECTED,
                server_id=self.membership.own.id,
                reason="a test",
            )
            assert txn.hosts.transition([change], NOW) != [None]

        self.stored(work)

    @property
    def state(self) -> str:
        """The resource state that listHosts shows."""
        shown: str = self.call("listHosts")["host"][0]["resourcestate"]
        return shown

    def job(self, command: str, **parameters: str) -> dict[str, Any]:
        """Start a job on the host; how it is then."""
        job: dict[str, Any] = self.call("queryAsyncJobResult", **self.call(command, id="1", **parameters))
        self.assertEqual((job["cmd"], job["jobinstancetype"]), (command, "Host"))
        return job

    def events(self, event_type: str) -> list[tuple[str, int | None]]:
        """Descriptions of events of a type, and whose they are."""
        events, _ = self.stored(lambda txn: txn.events.list(EventFilter(event_type=event_type), 0, None))
        return [(event.description, event.account_id) for event in events]


class UpdateHostTests(HostStateTestCase):
    """updateHost."""

    def test_disable_and_enable(self) -> None:
        """The answer is the host as it is then."""
        disabled = self.call("updateHost", id="1", allocationstate="Disable")
        self.assertEqual({"host": self.call("listHosts")["host"][0]}, disabled)
        self.assertEqual("Disabled", disabled["host"]["resourcestate"])
        self.assertEqual("Enabled", self.call("updateHost", id="1", allocationstate="Enable")["host"]["resourcestate"])

    def test_what_it_is_already(self) -> None:
        """Is no mistake, and no news."""
        self.assertEqual("Enabled", self.call("updateHost", id="1", allocationstate="Enable")["host"]["resourcestate"])
        self.assertEqual([], self.events("HOST.RESOURCESTATE.TRANSITION"))

    def test_unmanage_and_manage(self) -> None:
        """With the values that CloudStack has for clusters."""
        host = self.call("updateHost", id="1", managedstate="Unmanaged")["host"]
        self.assertEqual("Unmanaged", host["resourcestate"])
        self.assertIn("possible is: updateHost managedstate=Managed", self.refused("prepareHostForMaintenance", id="1"))
        self.assertEqual("Enabled", self.call("updateHost", id="1", managedstate="Managed")["host"]["resourcestate"])

    def test_other_parameters_of_cloudstacks(self) -> None:
        """Change nothing, and the call succeeds."""
        before = self.call("listHosts")["host"][0]
        changed = self.call("updateHost", id="1", oscategoryid="x", guestosrule="x", url="nfs://x", name="a")
        self.assertEqual({"host": before}, changed)

    def test_tags_and_annotation(self) -> None:
        """The last word counts, an empty one takes back, and what is not given stays."""
        host = self.call("updateHost", id="1", hosttags="ssd, rack 7", annotation="x")["host"]
        self.assertEqual(("ssd,rack 7", "x"), (host["hosttags"], host["annotation"]))
        self.assertEqual(host, self.call("updateHost", id="1")["host"])
        host = self.call("updateHost", id="1", annotation="", hosttags="new", allocationstate="Disable")["host"]
        self.assertEqual(("new", None, "Disabled"), (host["hosttags"], host.get("annotation"), host["resourcestate"]))
        self.assertNotIn("hosttags", self.call("updateHost", id="1", hosttags="")["host"])

    def test_a_host_whose_agent_has_yet_to_come(self) -> None:
        """It will be Enabled: asking for that is no mistake, asking for anything else is."""
        self.call("addHost", url="http://new", hypervisor="Simulator", zoneid="1", podid="1", clustername="direct")
        (host,) = self.call("listHosts", name="new")["host"]
        self.assertEqual({"host": host}, self.call("updateHost", id=host["id"], allocationstate="Enable"))
        self.assertIn("Creating", self.refused("updateHost", id=host["id"], allocationstate="Disable"))

    def test_mistakes(self) -> None:
        """Each is named, and nothing is changed."""
        self.assertIn(
            "'Enabled' is none of Enable, Disable", self.refused("updateHost", id="1", allocationstate="Enabled")
        )
        self.assertIn("'' is none of Managed, Unmanaged", self.refused("updateHost", id="1", managedstate=""))
        both = self.refused("updateHost", id="1", allocationstate="Disable", managedstate="Unmanaged")
        self.assertIn("together", both)
        self.assertIn("parameter id:", self.refused("updateHost", id="7", allocationstate="Disable"))
        self.assertIn("missing parameter id", self.refused("updateHost"))
        self.assertIn("parameter name:", self.refused("updateHost", id="1", name="b", allocationstate="Disable"))
        self.assertIn("parameter istagarule:", self.refused("updateHost", id="1", hosttags="x", istagarule="true"))
        self.assertEqual("Enabled", self.state)

    def test_not_from_maintenance(self) -> None:
        """The error names the host, its state and what is possible."""
        self.put(ResourceState.MAINTENANCE)
        text = self.refused("updateHost", id="1", allocationstate="Enable")
        self.assertEqual(
            "host a is in the resource state Maintenance, where updateHost allocationstate=Enable is not possible; "
            "possible are: cancelHostMaintenance, declareHostAsDegraded",
            text,
        )

    def test_every_change_has_its_event(self) -> None:
        """Who and what."""
        self.call("updateHost", id="1", allocationstate="Disable")
        ((text, account),) = self.events("HOST.RESOURCESTATE.TRANSITION")
        self.assertEqual(self.account.id, account)
        self.assertIn("updateHost allocationstate=Disable", text)


class MaintenanceTests(HostStateTestCase):
    """prepareHostForMaintenance, cancelHostMaintenance."""

    def test_prepare(self) -> None:
        """The host is to be emptied from then on, and the job runs until it is, on the server that has the host."""
        job = self.job("prepareHostForMaintenance")
        self.assertEqual((0, "alpha"), (job["jobstatus"], job["managementservername"]))
        self.assertEqual("PrepareForMaintenance", self.state)
        self.assertEqual([("host a is to go into maintenance", self.account.id)], self.events("MAINT.PREPARE"))

    def test_prepare_a_host_without_an_agent(self) -> None:
        """It stays as it is, as in CloudStack, and the job says why."""
        self.lose_agent()
        job = self.job("prepareHostForMaintenance")
        self.assertEqual((2, 534), (job["jobstatus"], job["jobresult"]["errorcode"]))
        self.assertIn("host a is Disconnected", job["jobresult"]["errortext"])
        self.assertEqual("Enabled", self.state)
        self.assertEqual([], self.events("MAINT.PREPARE"))

    def test_prepare_a_host_of_a_dead_server(self) -> None:
        """Its row says Up, which nobody has had the time to change."""
        self.stored(lambda txn: txn.servers.stop(self.membership.own.id))
        self.assertEqual(2, self.job("prepareHostForMaintenance")["jobstatus"])
        self.assertEqual("Enabled", self.state)

    def test_prepare_a_degraded_host(self) -> None:
        """There is nothing to wait for."""
        self.lose_agent()
        self.put(ResourceState.DEGRADED)
        job = self.job("prepareHostForMaintenance")
        self.assertEqual((1, "Maintenance"), (job["jobstatus"], job["jobresult"]["host"]["resourcestate"]))

    def test_cancel_ends_the_job_that_waits(self) -> None:
        """The one has failed, the other has succeeded, and the host is Enabled."""
        started = self.call("prepareHostForMaintenance", id="1")
        cancelled = self.job("cancelHostMaintenance")
        self.assertEqual({"host": self.call("listHosts")["host"][0]}, cancelled["jobresult"])
        self.assertEqual("Enabled", self.state)
        prepared = self.call("queryAsyncJobResult", **started)
        self.assertEqual((2, "host a: cancelled"), (prepared["jobstatus"], prepared["jobresult"]["errortext"]))
        self.assertEqual([("host a is taken out of maintenance", self.account.id)], self.events("MAINT.CANCEL"))

    def test_cancel_needs_no_agent(self) -> None:
        """In CloudStack it may."""
        self.lose_agent()
        self.put(ResourceState.MAINTENANCE)
        self.assertEqual("Enabled", self.job("cancelHostMaintenance")["jobresult"]["host"]["resourcestate"])

    def test_what_each_state_allows(self) -> None:
        """All others are refused with 431, and change nothing."""
        possible = {
            "prepareHostForMaintenance": {"Enabled", "Disabled", "ErrorInMaintenance", "Degraded"},
            "cancelHostMaintenance": {
                "PrepareForMaintenance",
                "ErrorInPrepareForMaintenance",
                "ErrorInMaintenance",
                "Maintenance",
            },
            "cancelHostAsDegraded": {"Degraded"},
        }
        back = {E.ADMIN_CANCEL_MAINTENANCE, E.ENABLE, E.ENABLE_DEGRADED_HOST, E.MANAGE}
        for command, states in possible.items():
            for state in WAYS:
                self.put(state)
                if state.value in states:
                    self.call(command, id="1")
                else:
                    text = self.refused(command, id="1")
                    self.assertIn(f"host a is in the resource state {state.value}", text)
                    self.assertEqual(state.value, self.state)
                for event in back:
                    self.step(event)

    def test_unknown_hosts(self) -> None:
        """The error names the parameter; a name is no id."""
        for command in (
            "prepareHostForMaintenance",
            "cancelHostMaintenance",
            "declareHostAsDegraded",
            "cancelHostAsDegraded",
        ):
            for key in ("7", "a", ""):
                self.assertIn("parameter id:", self.refused(command, id=key))


class DegradedTests(HostStateTestCase):
    """declareHostAsDegraded, cancelHostAsDegraded."""

    def test_declare_and_cancel(self) -> None:
        """Of a host that has lost its agent."""
        self.lose_agent()
        self.assertEqual("Degraded", self.job("declareHostAsDegraded")["jobresult"]["host"]["resourcestate"])
        self.assertEqual([("host a is declared Degraded", self.account.id)], self.events("HOST.DECLARE.DEGRADED"))
        self.assertEqual("Enabled", self.job("cancelHostAsDegraded")["jobresult"]["host"]["resourcestate"])
        self.assertEqual([("host a is no longer Degraded", self.account.id)], self.events("HOST.CANCEL.DEGRADED"))

    def test_not_while_it_has_an_agent(self) -> None:
        """As in CloudStack."""
        self.assertIn("host a is Up: only a host without an agent", self.refused("declareHostAsDegraded", id="1"))
        self.assertEqual("Enabled", self.state)
