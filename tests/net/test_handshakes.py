"""Handshakes of many links at once, on a clock that stands still unless a step lets time go by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.half_open import HalfOpen
from cloudlb.net.handshakes import BUDGET, MAX_ADDRESSES, MAX_BUDGET, Handshakes, Place
from cloudlb.net.link_protocol import LinkProtocol
from tests.net.link_ends import CLIENT, REQUIRED, End, LinkTestCase, sending

WHOLE_TURN = 1.01 * BUDGET


def turn(clock: Clock) -> None:
    """Let the reactor turn once: a Clock would go on with what the calls themselves put on it."""
    due = [call for call in clock.calls if call.getTime() <= clock.seconds()]
    for call in due:
        if not call.active():
            continue
        clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)


class PunctualClock(Clock):
    """A clock that, as the reactor does, takes no delays that are over already."""

    def callLater(  # noqa: N802 - Twisted's name
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - as above
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """Take a call."""
        assert delay >= 0, f"{delay} is not greater than or equal to 0 seconds"
        call: IDelayedCall = super().callLater(delay, callable, *args, **kw)
        return call


class Connection:
    """One whose steps wait."""

    def __init__(self) -> None:
        self.aborted: list[str] = []

    def abort(self, reason: str) -> None:
        """Remember why."""
        self.aborted.append(reason)


class Pace(SynchronousTestCase):
    """How many steps are taken when."""

    def setUp(self) -> None:
        """Nothing waits."""
        self.clock = Clock()
        self.connection = Connection()
        self.half_open = HalfOpen(self.clock, 100, 100)
        self.handshakes = Handshakes(self.clock, self.half_open)
        self.taken: list[int] = []
        self.addresses = 0

    def step(self, number: int, seconds: float = 0.4 * BUDGET) -> None:
        """A step that takes its time."""
        self.clock.rightNow += seconds
        self.taken.append(number)

    def add(self, *numbers: int, seconds: float = 0.4 * BUDGET) -> None:
        """One step each of new connections from addresses of their own."""
        for number in numbers:
            self.handshakes.add(self.connection, self.place(), partial(self.step, number, seconds))

    def place(self, address: str = "") -> Place:
        """That of a new connection, from an address of its own unless told otherwise."""
        self.addresses += 1
        return self.handshakes.place(address or f"10.0.0.{self.addresses}")

    def add_long(self, place: Place, number: int) -> None:
        """A step that takes a whole turn."""
        self.handshakes.add(self.connection, place, partial(self.step, number, WHOLE_TURN))

    def turn(self) -> list[int]:
        """What one turn has taken."""
        self.taken.clear()
        turn(self.clock)
        return list(self.taken)

    def test_at_once_while_there_is_time(self) -> None:
        """A step that comes alone does not wait; those beyond the budget of the turn do."""
        self.add(1, 2, 3, 4, 5, 6, 7)
        self.assertEqual(self.taken, [1, 2, 3])
        self.assertEqual(len(self.handshakes), 4)
        self.assertEqual(self.turn(), [4, 5, 6])
        self.assertEqual(self.turn(), [7])
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.add(8)
        self.assertEqual(self.taken, [8])

    def test_one_step_at_least(self) -> None:
        """However long a step takes, each turn takes one."""
        self.add(1, 2, 3, seconds=5 * BUDGET)
        self.assertEqual([self.turn(), self.turn(), self.turn()], [[2], [3], []])

    def test_a_share_of_long_turns(self) -> None:
        """Where everything else takes long, half of that time, up to a bound."""
        self.add(*range(100), seconds=0.6 * BUDGET)
        self.assertEqual(len(self.taken), 2)
        for elsewhere, steps in ((0.5 * BUDGET, 2), (5.9 * BUDGET, 5), (1000 * BUDGET, 9), (0.0, 2)):
            self.clock.rightNow += elsewhere
            self.assertEqual(len(self.turn()), steps, elsewhere)
        self.handshakes.stop()

    def test_those_who_wait_go_before_those_who_come(self) -> None:
        """Whatever is left of a turn's time is for the queue."""
        self.add(1, 2, 3, 4)
        self.handshakes.add(self.connection, self.place(), partial(self.add, 9))
        self.assertEqual(self.turn(), [4, 9])

    def test_oldest_first(self) -> None:
        """The second steps of old connections go before the first ones of new ones: handshakes end in their order."""
        places = [self.place() for _ in range(4)]
        for number in (3, 2, 1, 0):
            self.add_long(places[number], number)
        self.assertEqual(self.taken, [3])
        self.assertEqual(self.turn(), [0])
        self.add_long(places[0], 10)
        self.assertEqual([self.turn(), self.turn(), self.turn()], [[10], [1], [2]])

    def test_oldest_first_behind_one_address(self) -> None:
        """Agents that share an address end in their order, too, also while others come."""
        places = [self.place("10.9.9.9") for _ in range(3)]
        self.add_long(places[0], 0)
        self.add_long(places[1], 1)
        self.add_long(places[2], 2)
        self.add_long(places[0], 10)
        self.assertEqual([self.turn(), self.turn()], [[10], [1]])
        self.add_long(self.place("10.9.9.9"), 3)
        self.add_long(places[1], 11)
        self.assertEqual([self.turn() for _ in range(4)], [[11], [2], [3], []])

    def test_each_address_in_its_turn(self) -> None:
        """Who has many connections delays others by one of them, and those by two of others."""
        for number in range(5):
            self.add_long(self.place("10.6.6.6"), number)
        self.add_long(self.place("10.1.1.1"), 10)
        for number in (20, 21):
            self.add_long(self.place("10.2.2.2"), number)
        self.assertEqual([self.turn() for _ in range(4)], [[10], [20], [1], [21]])
        self.add_long(self.place("10.3.3.3"), 30)
        self.assertEqual([self.turn() for _ in range(5)], [[30], [2], [3], [4], []])

    def test_who_comes_later_begins_with_the_round_that_it_is(self) -> None:
        """It does not go before those of the same round who came before."""
        for number in range(3):
            self.add_long(self.place("10.6.6.6"), number)
        for number in (10, 11):
            self.add_long(self.place("10.7.7.7"), number)
        self.assertEqual([self.turn(), self.turn()], [[10], [1]])
        self.add_long(self.place("10.8.8.8"), 20)
        self.assertEqual([self.turn() for _ in range(4)], [[11], [20], [2], []])

    def test_who_comes_again_waits_again(self) -> None:
        """A stranger that opens connection after connection is behind everybody who came before, and who comes new."""
        self.add(1, 2, 3, seconds=WHOLE_TURN)

        def come_again() -> None:
            self.clock.rightNow += WHOLE_TURN
            self.handshakes.add(self.connection, self.place("10.6.6.6"), come_again)

        come_again()
        self.add(4, seconds=WHOLE_TURN)
        self.assertEqual([self.turn(), self.turn(), self.turn()], [[2], [3], []])
        self.add(5, seconds=WHOLE_TURN)
        self.assertEqual([self.turn(), self.turn(), self.turn()], [[4], [5], []])
        self.handshakes.stop()

    def test_nothing_is_remembered_when_nobody_waits(self) -> None:
        """Who has had his connections served before is as everybody else."""
        for number in range(3):
            self.add_long(self.place("10.6.6.6"), number)
        self.assertEqual([self.turn() for _ in range(3)], [[1], [2], []])
        for address, number in (("10.7.7.7", 3), ("10.6.6.6", 4), ("10.8.8.8", 5)):
            self.add_long(self.place(address), number)
        self.assertEqual([self.turn() for _ in range(3)], [[4], [5], []])

    def test_addresses_are_remembered_within_limits(self) -> None:
        """However many come while somebody waits."""
        first = self.place("10.6.6.6")
        self.assertLess(first, self.place("10.6.6.6"))
        for number in range(MAX_ADDRESSES):
            self.handshakes.place(f"fd00::{number:x}")
        self.assertEqual(self.place("10.6.6.6")[0], first[0])

    def test_who_waits_is_not_silent(self) -> None:
        """At the limits of half-open connections, and until its step was taken."""
        noticed: list[str] = []
        self.half_open.heard = lambda connection: noticed.append("heard")  # type: ignore[method-assign]
        self.half_open.answered = lambda connection: noticed.append("answered")  # type: ignore[method-assign]
        self.add(1, 2, seconds=WHOLE_TURN)
        self.assertEqual(noticed, ["heard", "answered", "heard"])
        self.turn()
        self.assertEqual(noticed[3:], ["answered"])

    def test_a_step_that_raises(self) -> None:
        """It costs its connection, and no other."""

        def fail() -> None:
            self.clock.rightNow += WHOLE_TURN
            raise ValueError("a fault of ours")

        bad = Connection()
        self.handshakes.add(bad, self.place(), fail)
        self.add(1)
        self.assertEqual((bad.aborted, self.connection.aborted), (["internal error"], []))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.turn(), [1])

    def test_clock_set_back(self) -> None:
        """Time that seems to run backwards buys nobody a longer turn."""
        self.add(1, seconds=-1000.0)
        self.add(2, 3, 4, 5)
        self.assertEqual(self.taken, [1, 2, 3, 4])

    def test_stop(self) -> None:
        """What waits is dropped."""
        self.add(1, 2, 3, 4)
        self.handshakes.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.handshakes), 0)


class PacedLinks(LinkTestCase):
    """A link whose steps have to wait for those of others."""

    def setUp(self) -> None:
        """The server's end is paced, and no turn has time left before the test says so."""
        super().setUp()
        for end in (self.server, self.client):
            end.lose()
        self.clock = PunctualClock()
        self.client = End(self.clock, CLIENT, server_side=False)
        self.half_open = HalfOpen(self.clock, 100, 100)
        self.handshakes = Handshakes(self.clock, self.half_open)
        self.server = End(self.clock, REQUIRED, server_side=True, handshakes=self.handshakes)
        self.occupy()

    def tearDown(self) -> None:
        """What waits for a lost link is dropped in its turn."""
        super().tearDown()
        self.assertEqual(len(self.handshakes), 0)

    def occupy(self, seconds: float = WHOLE_TURN) -> None:
        """Take a step of another link, which uses up the time of this turn and of everybody."""

        def step() -> None:
            self.clock.rightNow += seconds

        self.handshakes.add(Connection(), (-1, len(self.handshakes)), step)

    def send(self) -> None:
        """Have the server read what the client has written."""
        self.server.link.dataReceived(self.client.transport.take())

    def test_waits_and_goes_on(self) -> None:
        """Each step takes its turn; the messages that came with the last one are told, and later ones at once."""
        self.client.owner.on_established = sending(b"1", b"2")
        self.send()
        self.assertEqual(self.server.transport.value(), b"")
        turn(self.clock)
        self.assertNotEqual(self.server.transport.value(), b"")
        self.occupy()
        self.pump()
        self.assertEqual((self.client.owner.established, self.server.owner.established), (1, 0))
        turn(self.clock)
        self.assertEqual((self.server.owner.established, self.server.owner.messages), (1, [b"1", b"2"]))
        self.occupy()
        self.client.link.send(b"3")
        self.send()
        self.assertEqual(self.server.owner.messages, [b"1", b"2", b"3"])
        self.assertEqual(self.server.transport.producerState, "producing")
        self.clock.advance(0)

    def test_bytes_that_wait_are_few(self) -> None:
        """After a second read nothing more is read, until the step was taken."""
        self.send()
        self.assertEqual(self.server.transport.producerState, "producing")
        self.server.link.dataReceived(b"\x16")
        self.assertEqual(self.server.transport.producerState, "paused")
        turn(self.clock)
        self.assertEqual(self.server.transport.producerState, "producing")
        self.assertNotEqual(self.server.transport.value(), b"")
        self.clock.advance(0)

    def test_parts_of_a_record_are_no_steps(self) -> None:
        """However many they are, they wait for nobody, and buy neither time nor a place."""
        data = self.client.transport.take()
        self.half_open.heard = lambda connection: self.fail("it is still silent")  # type: ignore[method-assign]
        for position in range(len(data) - 1):
            self.clock.advance(9.0 / len(data))
            self.server.link.dataReceived(data[position : position + 1])
        self.assertEqual((len(self.handshakes), self.server.transport.producerState), (0, "producing"))
        self.clock.advance(1.1)
        self.assertTrue(self.server.transport.disconnected)
        self.server.lose()
        self.assertEqual(self.server.owner.lost, ["handshake not finished within 10 s"])

    def test_byte_by_byte(self) -> None:
        """Each record is one step."""
        self.client.owner.on_established = sending(b"1")
        for _ in range(3):
            for byte in self.client.transport.take():
                self.server.link.dataReceived(bytes([byte]))
                turn(self.clock)
            self.client.link.dataReceived(self.server.transport.take() or b"")
        self.assertEqual((self.server.owner.established, self.server.owner.messages), (1, [b"1"]))

    def test_waiting_takes_no_time_from_the_peer(self) -> None:
        """The deadline is for what the peer does itself, however long the server has no time for it."""
        self.clock.rightNow += 6
        self.send()
        for _ in range(4):
            self.occupy(4.0)
            turn(self.clock)
        turn(self.clock)
        self.assertFalse(self.server.transport.disconnected)
        self.clock.advance(3.9)
        self.assertFalse(self.server.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(self.server.transport.disconnected)
        self.server.lose()
        self.assertEqual(self.server.owner.lost, ["handshake not finished within 10 s"])

    def test_waiting_has_an_end(self) -> None:
        """Nobody stays for ever whose step does not come."""
        self.send()
        self.clock.rightNow += 29.9
        self.occupy(MAX_BUDGET)
        turn(self.clock)
        self.assertFalse(self.server.transport.disconnected)
        self.occupy(0.2)
        self.occupy()
        turn(self.clock)
        self.assertFalse(self.server.transport.disconnected)
        turn(self.clock)
        self.assertTrue(self.server.transport.disconnected)
        self.assertEqual(len(self.handshakes), 1)
        self.clock.advance(0)
        self.assertEqual(self.server.transport.value(), b"")
        self.server.lose()
        self.assertEqual(self.server.owner.lost, ["handshake not finished within 30 s, in which it waited for others"])

    def test_waiting_takes_of_the_last_seconds(self) -> None:
        """Its time beside the waiting does not reach beyond that end."""
        self.send()
        self.occupy(28.0)
        turn(self.clock)
        turn(self.clock)
        self.assertNotEqual(self.server.transport.value(), b"")
        self.clock.advance(1.9)
        self.assertFalse(self.server.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(self.server.transport.disconnected)

    def test_a_step_after_the_end(self) -> None:
        """It may be taken before the timer goes off, which does so all the same."""
        self.send()
        self.occupy(31.0)
        turn(self.clock)
        turn(self.clock)
        self.clock.advance(0)
        self.assertTrue(self.server.transport.disconnected)

    def test_late_timer(self) -> None:
        """What is read when the time is over ends the link, though the timer of that has not gone off yet."""
        self.clock.rightNow += 10.05
        self.send()
        self.assertTrue(self.server.transport.disconnected)
        self.server.lose()
        self.assertEqual(self.server.owner.lost, ["handshake not finished within 10 s"])
        self.clock.advance(0)

    def test_garbage_waits_too(self) -> None:
        """It ends its link in its turn, and is kept no longer."""
        self.server.link.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertFalse(self.server.transport.disconnecting)
        turn(self.clock)
        self.assertTrue(self.server.transport.disconnecting)
        self.clock.advance(0)

    def test_lost_while_waiting(self) -> None:
        """Its step is nothing any more."""
        self.send()
        self.server.lose()
        self.clock.advance(0)
        self.assertEqual((self.server.owner.lost, self.server.transport.value()), (["closed by the peer"], b""))

    def test_cut_while_waiting(self) -> None:
        """So is that of a link that this side has closed or cut."""
        for end in (LinkProtocol.close, LinkProtocol.abort):
            self.send()
            end(self.server.link, "no room")
            turn(self.clock)
            self.assertEqual(self.server.transport.value(), b"")
            self.server.lose()
            self.assertEqual(self.server.owner.lost, ["no room"])
            self.server = End(self.clock, REQUIRED, server_side=True, handshakes=self.handshakes)
            self.occupy()
            self.client.lose()
            self.client = End(self.clock, CLIENT, server_side=False)
        self.clock.advance(0)
