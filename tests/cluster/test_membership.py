"""Which servers live, by their heartbeats."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.models import ServerState
from tests.agents.server import ServerFixture


class MembershipTests(SynchronousTestCase):
    """Two servers whose clocks the test moves."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).parent
        self.first = ServerFixture(folder, "127.0.0.1", host="127.0.0.1,127.0.0.2")
        self.second = ServerFixture(folder, "127.0.0.2")
        self.addCleanup(self.first.stop)

    def states(self) -> dict[str, ServerState]:
        """As listManagementServers shows them."""
        servers = self.successResultOf(Deferred.fromCoroutine(self.first.server.membership.servers()))
        return {server.name: state for server, state in servers}

    def test_servers_that_beat_are_up(self) -> None:
        """Each sees itself and the other."""
        for _ in range(10):
            self.first.advance(1.5)
            self.second.advance(1.5)
        self.assertEqual(set(self.states().values()), {ServerState.UP})
        self.assertTrue(self.first.server.membership.is_alive("127.0.0.2"))
        self.second.stop()

    def test_a_server_without_heartbeats_is_down_and_to_be_avoided(self) -> None:
        """After the threshold, not before."""
        self.first.advance(6)
        self.assertTrue(self.first.server.membership.is_alive("127.0.0.2"))
        self.first.advance(3)
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.2"))
        self.assertEqual(self.first.server.membership.avoid(("127.0.0.1", "127.0.0.2")), ("127.0.0.2",))
        self.assertEqual(self.states()["127.0.0.2"], ServerState.DOWN)
        self.second.stop()

    def test_a_late_heartbeat_judges_nobody(self) -> None:
        """Whatever held it up has held up the others', which are on their way; the next one judges again."""
        self.first.advance(1.6)
        # One turn of the clock, as after a database that was locked for 20 s.
        self.first.reactor.advance(20)
        self.assertTrue(self.first.server.membership.is_alive("127.0.0.2"))
        self.first.advance(1.6)
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.2"))
        self.second.stop()

    def test_a_clean_stop_is_seen_at_once(self) -> None:
        """With the next heartbeat of the other."""
        self.second.stop()
        self.first.advance(1.6)
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.2"))

    def test_a_server_keeps_its_msid(self) -> None:
        """Over restarts: it is in packet headers and host rows."""
        before = self.second.server.membership.own
        self.second.stop()
        again = ServerFixture(self.second.folder, "127.0.0.2")
        self.assertEqual((again.server.membership.own.id, again.server.membership.own.uuid), (before.id, before.uuid))
        self.assertTrue(0 < before.id < 2**48)
        again.stop()

    def test_an_address_of_nobody_is_neither_alive_nor_avoided(self) -> None:
        """It may be a server that is about to be added."""
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.9"))
        self.assertEqual(self.first.server.membership.avoid(("127.0.0.9",)), ())
        self.second.stop()
