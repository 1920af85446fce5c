"""The table of a management server's states."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.server_state import SERVER_TABLE, ServerEvent, ServerState


class ServerTableTests(SynchronousTestCase):
    """SERVER_TABLE."""

    def test_down_is_derived(self) -> None:
        """No step leads there or begins there, so no row ever says it."""
        self.assertNotIn(ServerState.DOWN, {state for state, _ in SERVER_TABLE})
        self.assertNotIn(ServerState.DOWN, SERVER_TABLE.values())

    def test_a_start(self) -> None:
        """Is possible whatever the row says, and ends everything but maintenance."""
        after = {
            state: SERVER_TABLE[state, ServerEvent.START] for state in ServerState if state is not ServerState.DOWN
        }
        kept = {state for state, new in after.items() if new is ServerState.MAINTENANCE}
        self.assertEqual(kept, {ServerState.PREPARING_FOR_MAINTENANCE, ServerState.MAINTENANCE})
        self.assertEqual({new for state, new in after.items() if state not in kept}, {ServerState.UP})

    def test_one_thing_at_a_time(self) -> None:
        """Who prepares for one thing cannot prepare for the other, and only its own call cancels it."""
        maintenance = (ServerState.PREPARING_FOR_MAINTENANCE, ServerState.MAINTENANCE)
        shutdown = (ServerState.PREPARING_FOR_SHUTDOWN, ServerState.READY_TO_SHUTDOWN)
        for states, own, other in (
            (maintenance, ServerEvent.CANCEL_MAINTENANCE, ServerEvent.CANCEL_SHUTDOWN),
            (shutdown, ServerEvent.CANCEL_SHUTDOWN, ServerEvent.CANCEL_MAINTENANCE),
        ):
            for state in states:
                self.assertEqual(SERVER_TABLE[state, own], ServerState.UP)
                for event in (other, ServerEvent.PREPARE_FOR_MAINTENANCE, ServerEvent.PREPARE_FOR_SHUTDOWN):
                    self.assertNotIn((state, event), SERVER_TABLE)

    def test_a_shutdown_is_final(self) -> None:
        """Only a start ends it."""
        events = {event for state, event in SERVER_TABLE if state is ServerState.SHUTTING_DOWN}
        self.assertEqual(events, {ServerEvent.START})
