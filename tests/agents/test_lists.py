"""How agents come to hold the list that they should hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.models import ClusterId, Server, ServerId
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL, LB_WEIGHTS
from cloudlb.wire import (
    Answer,
    Flag,
    PingAnswer,
    PingCommand,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListAnswer,
    SetupMSListCommand,
)
from tests.agents.server import FakeLink, ServerFixture

SERVERS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
RESPONSE = Flag(0)


class ListTests(SynchronousTestCase):
    """One server of three, the others being rows with heartbeats only."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent, host=",".join(SERVERS))
        self.addCleanup(self.fixture.stop)
        for number, address in enumerate(SERVERS[1:], start=2):
            self.register(ServerId(number), address)
        # The next heartbeat sees them.
        self.fixture.advance(2)

    def register(self, server_id: ServerId, address: str) -> None:
        """Give another server a row with a fresh heartbeat."""
        work: Deferred[Server] = self.fixture.database.run(
            lambda txn: txn.servers.register(
                name=address, address=address, port=8250, version="0", candidate_id=server_id
            )
        )
        self.successResultOf(work)

    def up(self, number: int, held: str) -> FakeLink:
        """Connect an agent that holds a list, and make it Up."""
        link = self.fixture.startup(number, ms_host_list=held)
        header, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        return link

    def change(self, name: str, value: str, cluster_id: ClusterId | None = None) -> None:
        """Change a setting as the API does."""
        self.successResultOf(Deferred.fromCoroutine(self.fixture.server.settings.change(name, value, cluster_id)))

    def orders(self, link: FakeLink, *, answer: Answer | None = None) -> Sequence[SetupMSListCommand]:
        """What an agent was told, each acknowledged unless said otherwise."""
        orders = []
        for header, command in link.take():
            assert isinstance(command, SetupMSListCommand), command
            orders.append(command)
            link.receive([answer or SetupMSListAnswer()], sequence=header.sequence, flags=RESPONSE)
        return orders

    def test_a_change_of_the_algorithm_reaches_every_agent(self) -> None:
        """Each gets its own rotation, and whose head is another server is then sent there."""
        links = [self.up(number, f"{','.join(SERVERS)}@static") for number in (1, 2, 3)]
        self.change(LB_ALGORITHM, "roundrobin")
        self.fixture.advance(0.5)
        told = [self.orders(link) for link in links]
        self.assertEqual(
            [orders[0].ms_list for orders in told], [SERVERS, SERVERS[1:] + SERVERS[:1], SERVERS[2:] + SERVERS[:2]]
        )
        self.assertTrue(all(orders[0].lb_algorithm == "roundrobin" for orders in told))
        self.assertFalse(any(order.trigger_host_lb for orders in told for order in orders))
        self.fixture.advance(1)
        triggers = [[order.trigger_host_lb for order in self.orders(link)] for link in links]
        self.assertEqual(triggers, [[], [True], [True]])

    def test_a_change_of_the_weights_moves_agents_to_the_heavier_server(self) -> None:
        """Under rendezvous those whose list it heads now are sent there; under another algorithm nobody is told."""
        links = [self.up(number, f"{','.join(SERVERS)}@static") for number in range(1, 7)]
        self.change(LB_WEIGHTS, "127.0.0.3=2")
        self.fixture.advance(2)
        self.assertEqual([self.orders(link) for link in links], [[]] * 6)
        self.change(LB_ALGORITHM, "rendezvous")
        self.fixture.advance(0.5)
        before = [self.orders(link)[-1].ms_list[0] for link in links]
        self.fixture.advance(2)
        for link in links:
            self.orders(link)
        self.change(LB_WEIGHTS, "127.0.0.3=1000")
        self.fixture.advance(0.5)
        told = [self.orders(link) for link in links]
        self.fixture.advance(2)
        heads = [orders[0].ms_list[0] if orders else head for orders, head in zip(told, before, strict=True)]
        self.assertEqual(set(heads), {"127.0.0.3"})
        self.assertNotEqual(set(before), set(heads))
        for link, head in zip(links, before, strict=True):
            self.assertEqual(any(order.trigger_host_lb for order in self.orders(link)), head != "127.0.0.3")

    def test_nobody_is_sent_to_a_server_that_is_down(self) -> None:
        """The list is sent all the same, and the order to move when the server has come up, once."""
        link = self.up(1, f"{','.join(SERVERS)}@static")
        self.fixture.advance(10)
        self.change(HOST, "127.0.0.2,127.0.0.1")
        self.fixture.advance(1)
        (order,) = self.orders(link)
        self.assertEqual((order.ms_list, order.trigger_host_lb), (("127.0.0.2", "127.0.0.1"), False))
        self.assertEqual(order.avoid_ms_list, ("127.0.0.2",))
        self.fixture.advance(2)
        self.assertEqual(self.orders(link), [])
        self.register(ServerId(2), "127.0.0.2")
        self.fixture.advance(2)
        self.assertEqual([order.trigger_host_lb for order in self.orders(link)], [False])
        self.fixture.advance(1)
        self.assertEqual([order.trigger_host_lb for order in self.orders(link)], [True])
        self.fixture.advance(20)
        self.assertEqual(self.orders(link), [])

    def test_a_new_list_with_ready_is_followed_by_an_order_to_move(self) -> None:
        """An agent on its first contact comes to its preferred server without waiting for a check."""
        self.change(HOST, "127.0.0.2,127.0.0.1,127.0.0.3")
        link = self.up(1, "127.0.0.1")
        self.fixture.advance(1)
        (order,) = self.orders(link)
        self.assertTrue(order.trigger_host_lb)
        self.assertEqual(order.ms_list[0], "127.0.0.2")

    def test_a_list_that_ready_could_not_bring_is_sent_again(self) -> None:
        """An agent that is ready but says something of its list is not taken to hold it."""
        link = self.fixture.startup(1, ms_host_list="127.0.0.1")
        header, _ = link.take()[-1]
        link.receive([ReadyAnswer(details="address 2: no")], sequence=header.sequence, flags=RESPONSE)
        (order,) = self.orders(link)
        self.assertEqual((order.ms_list, order.trigger_host_lb), (SERVERS, False))

    def test_an_agent_off_its_preferred_server_with_the_right_list_stays(self) -> None:
        """It has failed over; the periodic check brings it back, and nothing else."""
        self.change(HOST, "127.0.0.2,127.0.0.1,127.0.0.3")
        link = self.up(1, "127.0.0.2,127.0.0.1,127.0.0.3@static")
        self.fixture.advance(5)
        self.assertEqual(self.orders(link), [])

    def test_a_change_of_the_interval_is_sent_with_the_list_that_the_agent_holds(self) -> None:
        """And moves nobody."""
        link = self.up(1, f"{','.join(SERVERS)}@static")
        self.change(LB_CHECK_INTERVAL, "30")
        self.fixture.advance(2)
        (order,) = self.orders(link)
        self.assertEqual((order.lb_check_interval, order.ms_list, order.trigger_host_lb), (30, SERVERS, False))

    def test_a_clusters_interval_counts_before_the_global_one(self) -> None:
        """And a reset returns to that."""
        link = self.up(1, f"{','.join(SERVERS)}@static")
        self.change(LB_CHECK_INTERVAL, "30")
        self.change(LB_CHECK_INTERVAL, "7", ClusterId(1))
        self.fixture.advance(2)
        self.assertEqual(self.orders(link)[-1].lb_check_interval, 7)
        settings = self.fixture.server.settings
        self.successResultOf(Deferred.fromCoroutine(settings.reset(LB_CHECK_INTERVAL, ClusterId(1))))
        self.fixture.advance(2)
        self.assertEqual(self.orders(link)[-1].lb_check_interval, 30)

    def test_a_shuffled_list_of_the_same_servers_stays(self) -> None:
        """Its order says nothing, so nothing is sent when the agent comes back."""
        self.change(LB_ALGORITHM, "shuffle")
        link = self.fixture.startup(1, ms_host_list="127.0.0.3,127.0.0.1,127.0.0.2@shuffle")
        _, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        self.assertIsNone(ready.ms_host_list)
        link.lose()

    def test_a_list_that_was_not_acknowledged_is_sent_again_with_the_next_change(self) -> None:
        """What an agent did not confirm does not count as held."""
        link = self.up(1, f"{','.join(SERVERS)}@static")
        self.change(LB_ALGORITHM, "rendezvous")
        self.fixture.advance(1)
        self.assertEqual(len(self.orders(link, answer=SetupMSListAnswer(result=False, details="disk full"))), 1)
        self.change(LB_CHECK_INTERVAL, "5")
        self.fixture.advance(1)
        self.assertEqual(self.orders(link)[0].lb_algorithm, "rendezvous")

    def test_a_change_taken_back_before_the_agent_confirmed_it(self) -> None:
        """What an agent confirms late is compared with what it should hold by then."""
        link = self.up(1, f"{','.join(SERVERS)}@static")
        self.change(LB_ALGORITHM, "roundrobin")
        self.fixture.advance(0.3)
        ((header, _),) = link.take()
        self.change(LB_ALGORITHM, "static")
        self.fixture.advance(1)
        self.assertEqual(link.take(), [])
        link.receive([SetupMSListAnswer()], sequence=header.sequence, flags=RESPONSE)
        (order,) = self.orders(link)
        self.assertEqual((order.lb_algorithm, order.ms_list), ("static", SERVERS))

    def test_who_avoids_a_server_is_told_when_it_is_back(self) -> None:
        """The agent would not return there before its next ping, and nobody else needs to hear of it."""
        told = self.up(1, f"{','.join(SERVERS)}@static")
        other = self.up(2, f"{','.join(SERVERS)}@static")
        self.fixture.advance(10)
        told.receive([PingCommand(host_id=1)], sequence=1)
        ((_, answer),) = told.take()
        assert isinstance(answer, PingAnswer)
        self.assertEqual(set(answer.avoid_ms_list), {"127.0.0.2", "127.0.0.3"})
        self.register(ServerId(2), "127.0.0.2")
        self.fixture.advance(2)
        (order,) = self.orders(told)
        self.assertEqual((order.avoid_ms_list, order.trigger_host_lb), (("127.0.0.3",), False))
        self.assertEqual(self.orders(other), [])

    def test_a_thousand_agents_are_told_within_seconds(self) -> None:
        """The pace bounds the moves, not the lists."""
        links = [self.up(number, f"{','.join(SERVERS)}@static") for number in range(1, 301)]
        self.change(LB_ALGORITHM, "roundrobin")
        self.fixture.advance(0.45)
        told = [self.orders(link) for link in links]
        self.assertTrue(all(orders and orders[0].lb_algorithm == "roundrobin" for orders in told))
        self.fixture.advance(1.0)
        moved = sum(order.trigger_host_lb for link in links for order in self.orders(link))
        # Five in each tenth of a second, from when the first lists were acknowledged.
        self.assertTrue(40 <= moved <= 70, moved)
