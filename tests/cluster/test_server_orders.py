"""Orders to management servers, given on any of them."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.resource_states import NotPossible
from cloudlb.cluster.membership import SERVER_STATE
from cloudlb.cluster.server_orders import ServerOrders
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, HostFacts, HostId, Job, JobStatus, Server, ServerId, StatusChange
from cloudlb.domain.ports import Admission, Location, NotFound, Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.server_state import ServerEvent, ServerState
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.api.world import add_site
from tests.storage.sqlite import new_database

ALPHA, BETA, GAMMA = ServerId(1), ServerId(2), ServerId(3)
ADMIN = 7
S = ServerState


class Rebalancer:
    """Notes who asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def request(self, account_id: int) -> Job:
        """Note it."""
        self.asked.append(account_id)
        return Job(
            uuid="evens-out",
            command="rebalanceAgents",
            status=JobStatus.RUNNING,
            result_code=0,
            result={},
            account_id=account_id,
            server_id=ALPHA,
            host_id=None,
            created=1000.0,
            completed=None,
        )


class OrdersTestCase(SynchronousTestCase):
    """Three servers, all of `host`, at 127.0.0.1 to 127.0.0.3."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.database = Database(
            new_database(Path(self.mktemp())),
            writer=InlineExecutor(),
            reader=InlineExecutor(),
            clock=self.clock.seconds,
        )
        self.wait(self.database.start())
        self.addCleanup(lambda: self.wait(self.database.stop()))
        self.orders = ServerOrders(self.database, self.clock)
        self.rebalancer = self.orders.rebalancer = Rebalancer()

        def work(txn: Transaction) -> None:
            txn.settings.set("host", "127.0.0.1,127.0.0.2,127.0.0.3", None)
            txn.settings.set("management.server.maintenance.timeout", "2", None)
            for name, server in (("alpha", ALPHA), ("beta", BETA), ("gamma", GAMMA)):
                txn.servers.register(
                    name=name, address=f"127.0.0.{server}", port=8250, version="0.1", candidate_id=server
                )

        self.stored(work)

    def wait(self, work: Coroutine[Deferred[Any], Any, Any]) -> Any:
        """What must be done already."""
        return self.successResultOf(Deferred.fromCoroutine(work))

    def order(self, name: str) -> Any:
        """The method that gives an order."""
        return getattr(self.orders, name)

    def stored(self, work: Any) -> Any:
        """Run work in a transaction of its own."""
        return self.successResultOf(self.database.run(work))

    def refused(self, work: Coroutine[Deferred[Any], Any, Any]) -> str:
        """The reason why an order is not possible; neither servers nor drains nor events are changed by it."""
        before = self.everything()
        failure = self.failureResultOf(Deferred.fromCoroutine(work), NotPossible)
        self.assertEqual(self.everything(), before)
        return str(failure.value)

    def everything(self) -> Any:
        """What orders change."""
        return self.stored(
            lambda txn: (
                txn.servers.all(),
                txn.drains.all(),
                txn.events.list(EventFilter(), 0, None),
                txn.bus.last_sequence(),
            )
        )

    def server(self, server_id: ServerId = ALPHA) -> Server:
        """A server's row."""
        (found,) = (server for server in self.stored(lambda txn: txn.servers.all()) if server.id == server_id)
        assert isinstance(found, Server)
        return found

    def drain(self, server_id: ServerId = ALPHA) -> Drain | None:
        """A server's latest drain."""
        drain: Drain | None = self.stored(lambda txn: txn.drains.get(server_id))
        return drain

    def step(self, event: ServerEvent, server_id: ServerId = ALPHA) -> None:
        """Have something happen to a server."""
        self.assertIsNotNone(self.stored(lambda txn: txn.servers.change_state(server_id, event)))

    def end(self, end: DrainEnd) -> None:
        """Have alpha's drain end."""
        drain = self.drain()
        assert drain is not None
        self.stored(lambda txn: txn.drains.progress(evolve(drain, ended=self.clock.seconds(), end=end)))

    def die(self, *servers: ServerId) -> None:
        """Have some servers stop."""
        for server_id in servers:
            self.stored(lambda txn, server_id=server_id: txn.servers.stop(server_id))

    def add_host(self, server_id: ServerId = ALPHA, guid: str = "a") -> HostId:
        """A host that is Up on a server."""

        def work(txn: Transaction) -> HostId:
            if not txn.topology.zones():
                add_site(txn)
            facts = HostFacts(guid=guid, name=guid, type="Routing", ip_address="10.0.0.1", hypervisor="KVM")
            location = Location(zone="1", pod="1", cluster="1")
            (host,) = txn.hosts.admit([Admission(facts=facts, location=location, server_id=server_id)], 1.0)
            assert isinstance(host, Host), host
            ready = StatusChange(
                host_id=host.id, session=host.session, event=HostEvent.READY, server_id=server_id, reason="a test"
            )
            assert txn.hosts.transition([ready], 2.0) != [None]
            return host.id

        host_id: HostId = self.stored(work)
        return host_id

    def told(self) -> list[tuple[str, str, ServerId | None, int | None]]:
        """Every event of the servers, the oldest first."""
        events, _ = self.stored(lambda txn: txn.events.list(EventFilter(keyword="management server"), 0, None))
        return [(event.type, event.description, event.server_id, event.account_id) for event in reversed(events)]

    def messages(self) -> list[Any]:
        """What all servers are told."""
        messages = self.stored(lambda txn: txn.bus.after(0, 100))
        return [message.payload for message in messages if message.topic == SERVER_STATE]


class EmptyingTests(OrdersTestCase):
    """prepare_for_maintenance, prepare_for_shutdown, trigger_shutdown."""

    def test_what_is_written(self) -> None:
        """The state, a drain that has not begun, an event and a message."""
        for order, state, event, text in (
            ("prepare_for_maintenance", S.PREPARING_FOR_MAINTENANCE, "MS.MAINTENANCE.PREPARE", "maintenance"),
            ("prepare_for_shutdown", S.PREPARING_FOR_SHUTDOWN, "MS.SHUTDOWN.PREPARE", "shutdown"),
            ("trigger_shutdown", S.SHUTTING_DOWN, "MS.SHUTDOWN", "shut down"),
        ):
            self.setUp()
            self.wait(self.order(order)(ALPHA, ADMIN, algorithm=Algorithm.SHUFFLE, forced=True))
            self.assertIs(self.server().state, state)
            self.assertEqual(
                self.drain(),
                Drain(server_id=ALPHA, number=1, algorithm=Algorithm.SHUFFLE, forced=True, timeout=120.0),
            )
            ((told, description, server_id, account_id),) = self.told()
            self.assertEqual((told, server_id, account_id), (event, ALPHA, ADMIN))
            self.assertRegex(description, f"^management server alpha .*{text}")
            self.assertEqual(self.messages(), [{"server_id": ALPHA}])
            self.assertEqual([self.server(other).state for other in (BETA, GAMMA)], [ServerState.UP, ServerState.UP])

    def test_several_in_turn(self) -> None:
        """As long as one of `host` stays Up; the last one is refused, with the states of the others."""
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.wait(self.orders.prepare_for_shutdown(BETA, ADMIN))
        text = self.refused(self.orders.prepare_for_maintenance(GAMMA, ADMIN))
        self.assertIn("alpha is PreparingForMaintenance, beta is PreparingForShutDown", text)
        self.wait(self.orders.cancel_maintenance(ALPHA, ADMIN))
        self.wait(self.orders.prepare_for_maintenance(GAMMA, ADMIN))

    def test_only_one_of_host(self) -> None:
        """Servers that are not in `host`, or that are Down, take no agents."""
        self.stored(lambda txn: txn.settings.set("host", "alpha,127.0.0.2", None))
        self.die(BETA)
        self.assertIn("(beta is Down)", self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN)))
        self.stored(lambda txn: txn.settings.set("host", "127.0.0.1", None))
        self.assertIn("(it names no other one)", self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN)))

    def test_last_one_is_shut_down(self) -> None:
        """If it has no hosts; otherwise the way to do it all the same is told."""
        self.die(BETA, GAMMA)
        self.add_host()
        for order in (self.orders.prepare_for_shutdown, self.orders.trigger_shutdown):
            self.assertIn("end its process", self.refused(order(ALPHA, ADMIN)))

    def test_shutdown_of_one_that_is_empty(self) -> None:
        """Needs no other server."""
        self.die(BETA, GAMMA)
        self.wait(self.orders.prepare_for_shutdown(ALPHA, ADMIN))
        self.wait(self.orders.trigger_shutdown(ALPHA, ADMIN))
        self.assertIs(self.server().state, S.SHUTTING_DOWN)

    def test_wrong_state(self) -> None:
        """Is named, with what fits."""
        self.wait(self.orders.prepare_for_shutdown(ALPHA, ADMIN))
        text = self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.assertIn(
            "alpha is PreparingForShutDown, where prepareForMaintenance is not possible; "
            "possible are: triggerShutdown, cancelShutdown",
            text,
        )
        self.wait(self.orders.trigger_shutdown(ALPHA, ADMIN))
        self.assertIn("to wait until it has ended", self.refused(self.orders.cancel_shutdown(ALPHA, ADMIN)))

    def test_one_that_is_down(self) -> None:
        """Cannot follow orders; it can be removed."""
        self.die(ALPHA)
        for order in (
            self.orders.prepare_for_maintenance,
            self.orders.prepare_for_shutdown,
            self.orders.trigger_shutdown,
            self.orders.cancel_maintenance,
            self.orders.cancel_shutdown,
        ):
            text = self.refused(order(ALPHA, ADMIN))
            self.assertIn("alpha is Down", text)
            self.assertIn("removeManagementServer", text)

    def test_one_that_died_while_it_was_emptied(self) -> None:
        """Is Down, whatever its row says."""
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.die(ALPHA)
        self.assertIn("alpha is Down", self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN, forced=True)))

    def test_unknown_server(self) -> None:
        """Of every order."""
        for order in (
            self.orders.prepare_for_maintenance,
            self.orders.cancel_maintenance,
            self.orders.prepare_for_shutdown,
            self.orders.trigger_shutdown,
            self.orders.cancel_shutdown,
            self.orders.remove,
        ):
            self.failureResultOf(Deferred.fromCoroutine(order(ServerId(99), ADMIN)), NotFound)


class AgainTests(OrdersTestCase):
    """An order that was given before."""

    def test_while_it_is_under_way(self) -> None:
        """Exactly the same is refused; otherwise the new one counts."""
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        text = self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.assertIn("PreparingForMaintenance already; readyForShutdown tells how far", text)
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN, forced=True))
        self.assertEqual(self.drain(), Drain(server_id=ALPHA, number=2, forced=True, timeout=120.0))
        self.assertIs(self.server().state, S.PREPARING_FOR_MAINTENANCE)

    def test_with_another_time(self) -> None:
        """It goes on with the setting in force now, so a drain can be shortened."""
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN, forced=True))
        self.stored(lambda txn: txn.settings.set("management.server.maintenance.timeout", "1", None))
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN, forced=True))
        self.assertEqual(self.drain(), Drain(server_id=ALPHA, number=2, forced=True, timeout=60.0))
        self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN, forced=True))

    def test_after_its_time_was_over(self) -> None:
        """It goes on, with the time of the setting in force; so for a shutdown that was triggered."""
        for order, state in (
            ("prepare_for_maintenance", S.PREPARING_FOR_MAINTENANCE),
            ("prepare_for_shutdown", S.PREPARING_FOR_SHUTDOWN),
            ("trigger_shutdown", S.SHUTTING_DOWN),
        ):
            self.setUp()
            self.wait(self.order(order)(ALPHA, ADMIN))
            self.end(DrainEnd.TIMED_OUT)
            self.stored(lambda txn: txn.settings.set("management.server.maintenance.timeout", "5", None))
            self.wait(self.order(order)(ALPHA, ADMIN))
            self.assertEqual(self.drain(), Drain(server_id=ALPHA, number=2, timeout=300.0))
            self.assertIs(self.server().state, state)
            self.assertEqual(len(self.told()), 2)
            self.assertEqual(self.messages(), [{"server_id": ALPHA}] * 2)

    def test_when_nobody_is_left(self) -> None:
        """To take the agents, it is refused like a first order."""
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.end(DrainEnd.TIMED_OUT)
        self.die(BETA, GAMMA)
        self.assertIn("beta is Down, gamma is Down", self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN)))

    def test_in_maintenance(self) -> None:
        """There is nothing to go on with."""
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.end(DrainEnd.DONE)
        self.step(ServerEvent.DRAINED)
        text = self.refused(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.assertIn("possible are: cancelMaintenance, triggerShutdown", text)


class CancellingTests(OrdersTestCase):
    """cancel_maintenance and cancel_shutdown."""

    def test_under_way(self) -> None:
        """The server is Up again, and its drain has ended for good."""
        for prepare, cancel, event in (
            ("prepare_for_maintenance", "cancel_maintenance", "MS.MAINTENANCE.CANCEL"),
            ("prepare_for_shutdown", "cancel_shutdown", "MS.SHUTDOWN.CANCEL"),
        ):
            self.setUp()
            self.wait(self.order(prepare)(ALPHA, ADMIN))
            under_way = self.drain()
            assert under_way is not None
            self.clock.advance(3.0)
            self.wait(self.order(cancel)(ALPHA, ADMIN))
            self.assertIs(self.server().state, S.UP)
            self.assertEqual(self.drain(), evolve(under_way, ended=1003.0, end=DrainEnd.CANCELLED))
            self.assertEqual([told[0] for told in self.told()][1:], [event])
            self.assertEqual(self.messages(), [{"server_id": ALPHA}] * 2)
            self.assertFalse(self.stored(lambda txn, late=under_way: txn.drains.progress(late)))

    def test_what_has_ended(self) -> None:
        """Stays as it ended."""
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.end(DrainEnd.DONE)
        self.step(ServerEvent.DRAINED)
        before = self.drain()
        self.wait(self.orders.cancel_maintenance(ALPHA, ADMIN))
        self.assertEqual(self.drain(), before)
        self.assertIs(self.server().state, S.UP)

    def test_nothing_to_cancel(self) -> None:
        """What is possible instead is said."""
        text = self.refused(self.orders.cancel_maintenance(ALPHA, ADMIN))
        self.assertIn("possible are: prepareForMaintenance, prepareForShutdown, triggerShutdown", text)
        self.assertEqual(self.rebalancer.asked, [])

    def test_rebalance(self) -> None:
        """Unless it is not wanted, and never after a shutdown that was cancelled."""
        for rebalance, asked in ((True, [ADMIN]), (False, [ADMIN])):
            self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
            self.wait(self.orders.cancel_maintenance(ALPHA, ADMIN, rebalance=rebalance))
            self.assertEqual(self.rebalancer.asked, asked)
        self.wait(self.orders.prepare_for_shutdown(ALPHA, ADMIN))
        self.wait(self.orders.cancel_shutdown(ALPHA, ADMIN))
        self.assertEqual(self.rebalancer.asked, [ADMIN])


class RemovingTests(OrdersTestCase):
    """remove."""

    def test_removed(self) -> None:
        """With its drain; hosts that it had last still name it."""
        host_id = self.add_host()
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.lose(host_id)
        self.die(ALPHA)
        self.wait(self.orders.remove(ALPHA, ADMIN))
        self.assertEqual([server.name for server in self.stored(lambda txn: txn.servers.all())], ["beta", "gamma"])
        self.assertIsNone(self.drain())
        self.assertEqual(
            self.told()[-1], ("MANAGEMENT.SERVER.REMOVE", "management server alpha is removed", ALPHA, ADMIN)
        )
        self.assertEqual(self.messages()[-1], {"server_id": ALPHA})

    def lose(self, host_id: HostId) -> None:
        """Have a host Disconnected."""

        def work(txn: Transaction) -> None:
            host = txn.hosts.get(host_id)
            assert host is not None
            change = StatusChange(
                host_id=host.id,
                session=host.session,
                event=HostEvent.MANAGEMENT_SERVER_DOWN,
                server_id=BETA,
                reason="a test",
            )
            assert txn.hosts.transition([change], 5.0) != [None]

        self.stored(work)

    def test_one_that_runs(self) -> None:
        """Its state is told, and how it is ended."""
        self.assertIn("triggerShutdown", self.refused(self.orders.remove(ALPHA, ADMIN)))
        self.wait(self.orders.prepare_for_maintenance(ALPHA, ADMIN))
        self.step(ServerEvent.DRAINED)
        self.assertIn("alpha is Maintenance", self.refused(self.orders.remove(ALPHA, ADMIN)))

    def test_what_it_leaves_behind(self) -> None:
        """Must be in other hands first, since the others find that by its row."""
        self.add_host()
        self.stored(
            lambda txn: txn.jobs.start(
                command="sendCommand", account_id=ADMIN, server_id=ALPHA, host_id=HostId(1), now=1.0
            )
        )
        self.die(ALPHA)
        self.assertIn("hosts: 1, jobs: 1", self.refused(self.orders.remove(ALPHA, ADMIN)))
        self.lose(HostId(1))
        self.assertIn("hosts: 0, jobs: 1", self.refused(self.orders.remove(ALPHA, ADMIN)))
