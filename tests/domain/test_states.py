"""Both state machines of a host, against tables that were written by hand from CloudStack's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.host_status import STATUS_TABLE, HostEvent, HostStatus, StatusTable
from cloudlb.domain.resource_state import IN_MAINTENANCE, RESOURCE_TABLE, ResourceEvent, ResourceState, ResourceTable

Steps = Mapping[tuple[str, str], str]


def steps(table: str) -> dict[tuple[str, str], str]:
    """Read lines of "STATE: EVENT > STATE, ..."."""
    found = {}
    for line in table.strip().splitlines():
        state, _, row = line.partition(":")
        for step in row.split(","):
            event, _, after = step.partition(">")
            found[state.strip(), event.strip()] = after.strip()
    return found


CLOUDSTACK_STATUS = steps(
    """
    Creating: AgentConnected > Connecting, Error > Error
    Connecting: AgentConnected > Connecting, Ready > Up, Ping > Connecting, PingTimeout > Alert
    Connecting: AgentDisconnected > Alert, ShutdownRequested > Disconnected, HostDown > Down
    Connecting: ManagementServerDown > Disconnected
    Up: AgentConnected > Connecting, Ping > Up, PingTimeout > Alert, AgentDisconnected > Alert, HostDown > Down
    Up: ShutdownRequested > Disconnected, ManagementServerDown > Disconnected, StartAgentRebalance > Rebalancing
    Up: Remove > Removed
    Disconnected: AgentConnected > Connecting, Ping > Up, PingTimeout > Alert, AgentDisconnected > Disconnected
    Disconnected: ShutdownRequested > Disconnected, HostDown > Down, ManagementServerDown > Disconnected
    Disconnected: WaitedTooLong > Alert, Remove > Removed
    Alert: AgentConnected > Connecting, Ping > Up, AgentDisconnected > Alert, ShutdownRequested > Disconnected
    Alert: HostDown > Down, ManagementServerDown > Alert, Remove > Removed
    Down: AgentConnected > Connecting, PingTimeout > Down, AgentDisconnected > Down, HostDown > Down
    Down: ManagementServerDown > Down, Remove > Removed
    Rebalancing: AgentConnected > Connecting, AgentDisconnected > Rebalancing, ManagementServerDown > Disconnected
    Rebalancing: RebalanceCompleted > Connecting, RebalanceFailed > Disconnected
    Error: AgentConnected > Connecting
    """
)
"""[com.cloud.host.Status]; what it does for a host without a row, an admission does here."""

STATUS_DEPARTURES = steps(
    """
    Connecting: PingTimeout > Disconnected, AgentDisconnected > Disconnected, Remove > Removed
    Up: PingTimeout > Disconnected, AgentDisconnected > Disconnected, AgentTransferred > Up, Ready > Up
    Disconnected: PingTimeout > Disconnected
    Alert: PingTimeout > Alert
    Creating: Remove > Removed
    Rebalancing: Remove > Removed
    Error: Remove > Removed
    Removed: Restore > Creating
    """
)
"""Other steps than CloudStack's, and more."""

STATUS_WITHOUT = {("Up", "AgentConnected")}
"""Steps of CloudStack's that there are not: AgentTransferred is what happens to a host that is Up."""

CLOUDSTACK_RESOURCE = steps(
    """
    Creating: InternalCreated > Enabled, Error > Error
    Enabled: Enable > Enabled, InternalCreated > Enabled, Disable > Disabled, DeclareHostDegraded > Degraded
    Enabled: AdminAskMaintenance > PrepareForMaintenance, InternalEnterMaintenance > Maintenance
    Disabled: Enable > Enabled, Disable > Disabled, InternalCreated > Disabled, DeclareHostDegraded > Degraded
    Disabled: DeleteHost > Disabled
    PrepareForMaintenance: InternalEnterMaintenance > Maintenance, AdminCancelMaintenance > Enabled
    PrepareForMaintenance: UnableToMigrate > ErrorInPrepareForMaintenance, UnableToMaintain > ErrorInMaintenance
    PrepareForMaintenance: InternalCreated > PrepareForMaintenance
    Maintenance: AdminCancelMaintenance > Enabled, InternalCreated > Maintenance, DeleteHost > Disabled
    Maintenance: DeclareHostDegraded > Degraded
    ErrorInPrepareForMaintenance: InternalCreated > ErrorInPrepareForMaintenance, Disable > Disabled
    ErrorInPrepareForMaintenance: DeleteHost > Disabled, InternalEnterMaintenance > Maintenance
    ErrorInPrepareForMaintenance: AdminCancelMaintenance > Enabled, UnableToMigrate > ErrorInPrepareForMaintenance
    ErrorInPrepareForMaintenance: UnableToMaintain > ErrorInMaintenance, ErrorsCorrected > PrepareForMaintenance
    ErrorInMaintenance: InternalCreated > ErrorInMaintenance, AdminAskMaintenance > PrepareForMaintenance
    ErrorInMaintenance: Disable > Disabled, DeleteHost > Disabled, AdminCancelMaintenance > Enabled
    Error: InternalCreated > Error
    Degraded: DeleteHost > Disabled, EnableDegradedHost > Enabled, AdminAskMaintenance > Maintenance
    """
)
"""[com.cloud.resource.ResourceState]."""

RESOURCE_DEPARTURES = steps(
    """
    Creating: DeleteHost > Disabled
    Enabled: DeleteHost > Disabled, Unmanage > Unmanaged
    Disabled: AdminAskMaintenance > PrepareForMaintenance, Unmanage > Unmanaged
    Degraded: InternalCreated > Degraded
    Error: DeleteHost > Disabled
    Unmanaged: InternalCreated > Unmanaged, Manage > Enabled, DeleteHost > Disabled
    """
)
"""Steps more than CloudStack's."""


def reached(table: Steps, start: str) -> set[str]:
    """Every state that steps lead to, and the start."""
    found, new = {start}, [start]
    while new:
        state = new.pop()
        for (before, _), after in table.items():
            if before == state and after not in found:
                found.add(after)
                new.append(after)
    return found


def by_name(table: StatusTable | ResourceTable) -> Steps:
    """A table of ours, with the names that people see."""
    return {(before.value, event.value): after.value for (before, event), after in table.items()}


class StateTests(SynchronousTestCase):
    """What is asked of either machine."""

    def assert_every_pair(self, table: Steps, expected: Steps, states: Iterable[str], events: Iterable[str]) -> None:
        """Each event in each state leads where it should, or nowhere."""
        for pair in product(states, events):
            self.assertEqual(table.get(pair), expected.get(pair), pair)
        self.assertEqual(len(table), len(expected))


class StatusTests(StateTests):
    """The status of a host."""

    table = by_name(STATUS_TABLE)

    def test_every_event_in_every_state(self) -> None:
        """CloudStack's table, but for what is listed."""
        self.assert_every_pair(
            self.table,
            {pair: CLOUDSTACK_STATUS[pair] for pair in CLOUDSTACK_STATUS.keys() - STATUS_WITHOUT} | STATUS_DEPARTURES,
            [status.value for status in HostStatus],
            [event.value for event in HostEvent],
        )

    def test_every_departure_is_one(self) -> None:
        """None of them is what CloudStack does as well."""
        for pair, after in STATUS_DEPARTURES.items():
            self.assertNotEqual(CLOUDSTACK_STATUS.get(pair), after, pair)

    def test_every_state_is_reached_from_the_first(self) -> None:
        """A host begins in Creating, or, where nobody announced it, in Connecting."""
        self.assertEqual(reached(self.table, "Creating"), {status.value for status in HostStatus})

    def test_no_state_is_a_dead_end(self) -> None:
        """A host can be Up again from everywhere; from Removed only by way of Restore."""
        for status in HostStatus:
            self.assertIn("Up", reached(self.table, status.value), status)
        self.assertEqual([event for (before, event) in self.table if before == "Removed"], ["Restore"])

    def test_an_agent_that_comes_is_admitted_in_every_state_but_removed(self) -> None:
        """Nothing that happened to a host keeps its agent out; one that is Up changes hands."""
        for status in set(HostStatus) - {HostStatus.REMOVED, HostStatus.UP}:
            self.assertEqual(self.table[status.value, "AgentConnected"], "Connecting", status)
        self.assertEqual(self.table["Up", "AgentTransferred"], "Up")

    def test_only_a_verdict_makes_a_host_down(self) -> None:
        """High availability starts VMs of a host elsewhere that is Down."""
        leading = {event for (before, event), after in self.table.items() if after == "Down" != before}
        self.assertEqual(leading, {"HostDown"})

    def test_every_event_happens_somewhere(self) -> None:
        """No event without a step."""
        self.assertEqual({event.value for event in HostEvent}, {event for _, event in self.table})


class ResourceStateTests(StateTests):
    """The resource state of a host."""

    table = by_name(RESOURCE_TABLE)

    def test_every_event_in_every_state(self) -> None:
        """CloudStack's table and what is listed."""
        self.assert_every_pair(
            self.table,
            {**CLOUDSTACK_RESOURCE, **RESOURCE_DEPARTURES},
            [state.value for state in ResourceState],
            [event.value for event in ResourceEvent],
        )

    def test_every_departure_is_one(self) -> None:
        """They only add."""
        self.assertEqual(CLOUDSTACK_RESOURCE.keys() & RESOURCE_DEPARTURES.keys(), set())

    def test_every_state_is_reached_from_the_first(self) -> None:
        """A host begins in Creating."""
        self.assertEqual(reached(self.table, "Creating"), {state.value for state in ResourceState})

    def test_no_state_is_a_dead_end(self) -> None:
        """A host can be Enabled again from everywhere."""
        for state in ResourceState:
            self.assertIn("Enabled", reached(self.table, state.value), state)

    def test_an_agent_that_comes_back_changes_nothing_that_its_operator_wants(self) -> None:
        """But that a host in Creating is Enabled."""
        for state in set(ResourceState) - {ResourceState.CREATING}:
            self.assertEqual(self.table[state.value, "InternalCreated"], state.value)

    def test_the_states_of_maintenance(self) -> None:
        """As CloudStack counts them."""
        self.assertEqual(
            {state.value for state in IN_MAINTENANCE},
            {"PrepareForMaintenance", "ErrorInPrepareForMaintenance", "ErrorInMaintenance", "Maintenance"},
        )
        for state in IN_MAINTENANCE:
            self.assertEqual(self.table[state.value, "AdminCancelMaintenance"], "Enabled")

    def test_every_event_happens_somewhere(self) -> None:
        """No event without a step."""
        self.assertEqual({event.value for event in ResourceEvent}, {event for _, event in self.table})
