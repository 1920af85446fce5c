"""Which commands a host takes in which resource state."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.permissions import refusal
from cloudlb.domain.resource_state import ResourceState

S = ResourceState

PLACES = ("com.cloud.agent.api.StartCommand", "com.cloud.agent.api.storage.CreateCommand")
"""Need new resources."""
LOOKS = ("com.cloud.agent.api.CheckHealthCommand", "com.cloud.agent.api.MaintainCommand")
"""Go through in maintenance."""
SERVES = ("com.cloud.agent.api.GetHostStatsCommand", "com.cloud.agent.api.RebootCommand")
"""Neither."""

TAKEN = {
    S.CREATING: LOOKS + SERVES,
    S.ENABLED: PLACES + LOOKS + SERVES,
    S.DISABLED: LOOKS + SERVES,
    S.PREPARE_FOR_MAINTENANCE: LOOKS,
    S.ERROR_IN_PREPARE_FOR_MAINTENANCE: LOOKS,
    S.ERROR_IN_MAINTENANCE: LOOKS,
    S.MAINTENANCE: LOOKS,
    S.ERROR: LOOKS + SERVES,
    S.DEGRADED: LOOKS + SERVES,
    S.UNMANAGED: (),
}


class TestRefusal(SynchronousTestCase):
    def test_every_state_takes_what_it_should_and_nothing_else(self) -> None:
        for state in ResourceState:
            taken = tuple(name for name in PLACES + LOOKS + SERVES if refusal(name, state, bypass=False) is None)
            self.assertEqual(taken, TAKEN[state], state)

    def test_a_command_that_bypasses_maintenance_passes_there_and_nowhere_else(self) -> None:
        for state in ResourceState:
            for name in PLACES + LOOKS + SERVES:
                in_maintenance = "Maintenance" in state.value
                expected = None if in_maintenance else refusal(name, state, bypass=False)
                self.assertEqual(refusal(name, state, bypass=True), expected, (state, name))

    def test_the_package_of_a_class_does_not_matter(self) -> None:
        for state in ResourceState:
            for name in PLACES + LOOKS + SERVES:
                short = name.rpartition(".")[2]
                self.assertEqual(refusal(short, state, bypass=False), refusal(name, state, bypass=False))

    def test_only_the_class_itself_is_meant(self) -> None:
        self.assertIsNotNone(refusal("com.example.NotMaintainCommand", S.MAINTENANCE, bypass=False))

    def test_the_reason_names_the_command_and_the_state(self) -> None:
        for state in set(ResourceState) - {S.ENABLED}:
            reason = refusal("com.cloud.agent.api.StartCommand", state, bypass=False)
            assert reason is not None
            self.assertIn("StartCommand", reason)
            self.assertIn(state.value, reason)

    def test_a_host_can_be_emptied_in_maintenance(self) -> None:
        for name in ("MigrateCommand", "StopCommand", "CheckVirtualMachineCommand"):
            self.assertIsNone(refusal(name, S.PREPARE_FOR_MAINTENANCE, bypass=False), name)
