"""Which servers live, by their heartbeats."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cluster.membership import SERVER_STATE
from cloudlb.domain.models import Server
from cloudlb.domain.ports import StoreUnavailable, Transaction
from cloudlb.domain.server_state import ServerEvent, ServerState
from cloudlb.domain.settings import HEARTBEAT_INTERVAL, HEARTBEAT_THRESHOLD
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
        return {server.name: server.state for server in self.rows()}

    def rows(self) -> list[Server]:
        """Of all servers."""
        rows: list[Server] = self.successResultOf(self.first.database.read(lambda txn: txn.servers.all()))
        return rows

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

    def test_live_settings(self) -> None:
        """The interval and the threshold count from the next heartbeat on."""
        for name, value in ((HEARTBEAT_INTERVAL, "10000"), (HEARTBEAT_THRESHOLD, "60000")):
            self.first.set(name, value)
        self.first.advance(59)
        row = next(row for row in self.rows() if row.name == "127.0.0.1")
        self.assertTrue(1.5 < row.age < 10, row.age)
        self.assertTrue(self.first.server.membership.is_alive("127.0.0.2"))
        self.first.advance(12)
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.2"))
        self.second.stop()

    def test_a_server_that_is_about_to_be_emptied(self) -> None:
        """Lives, and is to be avoided."""
        own = self.second.server.membership.own.id
        self.second.database.run(lambda txn: txn.servers.change_state(own, ServerEvent.PREPARE_FOR_MAINTENANCE))
        self.first.advance(1.6)
        self.assertEqual(self.states()["127.0.0.2"], ServerState.PREPARING_FOR_MAINTENANCE)
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.2"))
        self.assertEqual(self.first.server.membership.avoid(("127.0.0.2",)), ("127.0.0.2",))
        self.second.stop()

    def change(self, event: ServerEvent) -> None:
        """Have the second server do something, and tell it to everybody."""
        own = self.second.server.membership.own.id

        def work(txn: Transaction) -> None:
            txn.servers.change_state(own, event)
            txn.bus.publish(SERVER_STATE, {"server_id": own}, 0)

        self.first.database.run(work)

    def test_told_of_a_change(self) -> None:
        """Every server looks at once, and does not wait for its next heartbeat."""
        first, second = self.first.server.membership, self.second.server.membership
        self.change(ServerEvent.PREPARE_FOR_MAINTENANCE)
        self.first.advance(0.05)
        self.second.advance(0.3)
        self.assertFalse(first.is_alive("127.0.0.2"))
        self.assertIs(second.state, ServerState.PREPARING_FOR_MAINTENANCE)
        self.assertFalse(second.is_alive("127.0.0.2"))
        self.change(ServerEvent.CANCEL_MAINTENANCE)
        self.first.advance(0.05)
        self.assertTrue(first.is_alive("127.0.0.2"))
        self.second.stop()

    def test_told_while_heartbeats_are_late(self) -> None:
        """Others' heartbeats are as late as the own one: nobody is judged before that."""
        self.first.advance(1.6)
        self.first.reactor.rightNow += 20
        self.first.server.membership.look()
        self.assertTrue(self.first.server.membership.is_alive("127.0.0.2"))
        self.second.stop()

    def test_looks_become_one(self) -> None:
        """What is asked for while a look is under way is one more look."""
        self.first.advance(1.6)
        looks: list[Deferred[list[Server]]] = []

        def read(work: object) -> Deferred[list[Server]]:
            looks.append(Deferred())
            return looks[-1]

        self.first.database.read = read  # type: ignore[method-assign, assignment]
        for _ in range(5):
            self.first.server.membership.look()
        self.assertEqual(len(looks), 1)
        looks[0].callback(self.rows_of_second())
        self.assertEqual(len(looks), 2)
        looks[1].callback(self.rows_of_second())
        self.assertEqual(len(looks), 2)
        del self.first.database.read
        self.second.stop()

    def rows_of_second(self) -> list[Server]:
        """All rows, as the second server reads them."""
        rows: list[Server] = self.successResultOf(self.second.database.read(lambda txn: txn.servers.all()))
        return rows

    def test_what_it_sees_of_the_others(self) -> None:
        """Is in its own row, with the moment of the last change, and is not written again while nothing changes."""
        self.first.advance(6)
        peer = self.second.server.membership.own.id
        row = next(row for row in self.rows() if row.name == "127.0.0.1")
        self.assertEqual((row.peers[peer].state, row.peers[peer].run_id), (ServerState.UP, 1_000_000_000))
        self.first.advance(30)
        view = next(row for row in self.rows() if row.name == "127.0.0.1").peers[peer]
        self.assertIs(view.state, ServerState.DOWN)
        self.assertTrue(7.5 <= view.since - 1_000_000 <= 9.5, view.since)
        self.second.stop()

    def test_cut_off(self) -> None:
        """From the threshold on, if it cannot write; a heartbeat ends it."""
        membership = self.first.server.membership
        run = self.first.database.run
        self.first.database.run = lambda work: fail(StoreUnavailable("gone"))  # type: ignore[method-assign]
        begun = self.first.reactor.seconds()
        self.first.advance(7)
        self.assertFalse(membership.cut_off)
        self.assertTrue(membership.undoubted_since(begun))
        self.first.advance(2)
        self.assertTrue(membership.cut_off)
        self.assertFalse(membership.undoubted_since(self.first.reactor.seconds()))
        self.first.database.run = run  # type: ignore[method-assign]
        meanwhile = self.first.reactor.seconds()
        self.first.advance(1.6)
        self.assertFalse(membership.cut_off)
        self.assertFalse(membership.undoubted_since(meanwhile))
        self.assertTrue(membership.undoubted_since(self.first.reactor.seconds()))
        self.second.stop()

    def test_a_server_that_was_removed_while_it_hung(self) -> None:
        """Registers again when it goes on, under the id that its hosts and packets have; the others saw it go."""
        before = self.second.server.membership.own
        self.first.database.run(lambda txn: txn.servers.remove(before.id))
        self.first.advance(1.6)
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.2"))
        self.assertEqual(self.first.server.membership.avoid(("127.0.0.2",)), ())
        self.second.advance(1.6)
        again = self.second.server.membership.own
        self.assertEqual(again.id, before.id)
        self.assertNotEqual(again.uuid, before.uuid)
        self.first.advance(1.6)
        self.assertTrue(self.first.server.membership.is_alive("127.0.0.2"))
        self.second.stop()

    def test_an_address_of_nobody_is_neither_alive_nor_avoided(self) -> None:
        """It may be a server that is about to be added."""
        self.assertFalse(self.first.server.membership.is_alive("127.0.0.9"))
        self.assertEqual(self.first.server.membership.avoid(("127.0.0.9",)), ())
        self.second.stop()
