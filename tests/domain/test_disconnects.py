"""Every row of the table of disconnects."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.disconnects import LEFT_ALONE, FirstStep, conclusion, first_step
from cloudlb.domain.host_status import STATUS_TABLE, HostEvent, HostStatus
from cloudlb.domain.records import Verdict
from cloudlb.domain.resource_state import ResourceState

CAUSES = (
    HostEvent.PING_TIMEOUT,
    HostEvent.AGENT_DISCONNECTED,
    HostEvent.SHUTDOWN_REQUESTED,
    HostEvent.MANAGEMENT_SERVER_DOWN,
    HostEvent.AGENT_TRANSFERRED,
)


class FirstStepTests(SynchronousTestCase):
    """Before anything is known."""

    def test_every_row(self) -> None:
        """Each cause in each resource state."""
        e = HostEvent
        usually = {
            e.PING_TIMEOUT: FirstStep(None, True),
            e.AGENT_DISCONNECTED: FirstStep(e.AGENT_DISCONNECTED, True),
            e.SHUTDOWN_REQUESTED: FirstStep(e.SHUTDOWN_REQUESTED, False),
            e.MANAGEMENT_SERVER_DOWN: FirstStep(e.MANAGEMENT_SERVER_DOWN, False),
            e.AGENT_TRANSFERRED: FirstStep(None, False),
        }
        left_alone = {
            **usually,
            e.PING_TIMEOUT: FirstStep(e.PING_TIMEOUT, False),
            e.AGENT_DISCONNECTED: FirstStep(e.AGENT_DISCONNECTED, False),
        }
        for cause, state in product(CAUSES, ResourceState):
            expected = left_alone if state.value in _LEFT_ALONE else usually
            self.assertEqual(first_step(cause, state), expected[cause], (cause, state))

    def test_the_states_that_are_left_alone(self) -> None:
        """A host that is being prepared for maintenance still runs VMs, so it is asked."""
        self.assertEqual({state.value for state in LEFT_ALONE}, _LEFT_ALONE)

    def test_what_loses_no_host(self) -> None:
        """Is a mistake of the caller's."""
        for event in set(HostEvent) - set(CAUSES):
            self.assertRaises(ValueError, first_step, event, ResourceState.ENABLED)


class ConclusionTests(SynchronousTestCase):
    """After an investigation."""

    def test_every_row(self) -> None:
        """Each cause that is investigated, each verdict, heard or not; and where that leads from Up."""
        e, v, s = HostEvent, Verdict, HostStatus
        table = {
            (e.PING_TIMEOUT, v.UP, True): (e.PING, s.UP),
            (e.PING_TIMEOUT, v.UNKNOWN, True): (e.PING, s.UP),
            (e.PING_TIMEOUT, v.DOWN, True): (e.PING, s.UP),
            (e.PING_TIMEOUT, v.UP, False): (e.PING_TIMEOUT, s.DISCONNECTED),
            (e.PING_TIMEOUT, v.UNKNOWN, False): (e.PING_TIMEOUT, s.DISCONNECTED),
            (e.PING_TIMEOUT, v.DOWN, False): (e.HOST_DOWN, s.DOWN),
            (e.AGENT_DISCONNECTED, v.UP, False): (e.AGENT_DISCONNECTED, s.DISCONNECTED),
            (e.AGENT_DISCONNECTED, v.UNKNOWN, False): (e.AGENT_DISCONNECTED, s.DISCONNECTED),
            (e.AGENT_DISCONNECTED, v.DOWN, False): (e.HOST_DOWN, s.DOWN),
        }
        for (cause, verdict, heard), (event, status) in table.items():
            self.assertIs(conclusion(cause, verdict, heard=heard), event, (cause, verdict, heard))
            self.assertIs(STATUS_TABLE[HostStatus.UP, event], status)


_LEFT_ALONE = {"Disabled", "Maintenance", "ErrorInMaintenance", "Degraded", "Error", "Unmanaged"}
