"""Handshakes of many links at once, on a clock that stands still unless a step lets time go by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.half_open import HalfOpen
from cloudlb.net.handshakes import BUDGET, Handshakes
from cloudlb.net.link_protocol import LinkProtocol
from tests.net.test_link_protocol import CLIENT, REQUIRED, End, LinkTestCase, sending

WHOLE_TURN = 1.01 * BUDGET


def turn(clock: Clock) -> None:
    """Let the reactor turn once: a Clock would go on with what the calls themselves put on it."""
    due = [call for call in clock.calls if call.getTime() <= clock.seconds()]
    for call in due:
        clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)


class PunctualClock(Clock):
    """A clock that, as the reactor does, takes no delays that are over already."""

    def callLater(  # noqa: N802 - Twisted's name
        self, delay: float, call: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        """Take a call."""
        assert delay >= 0, f"{delay} is not greater than or equal to 0 seconds"
        delayed: IDelayedCall = super().callLater(delay, call, *args, **kw)
        return delayed


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

    def step(self, number: int, seconds: float = 0.4 * BUDGET) -> None:
        """A step that takes its time."""
        self.clock.rightNow += seconds
        self.taken.append(number)

    def add(self, *numbers: int, seconds: float = 0.4 * BUDGET) -> None:
        """One step each of new connections."""
        for number in numbers:
            self.handshakes.add(self.connection, self.handshakes.begin(), partial(self.step, number, seconds))

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

    def test_those_who_wait_go_before_those_who_come(self) -> None:
        """Whatever is left of a turn's time is for the queue."""
        self.add(1, 2, 3, 4)
        self.handshakes.add(self.connection, self.handshakes.begin(), partial(self.add, 9))
        self.assertEqual(self.turn(), [4, 9])

    def test_oldest_first(self) -> None:
        """The second steps of old connections go before the first ones of new ones: handshakes end in their order."""
        ages = [self.handshakes.begin() for _ in range(4)]
        for number in (3, 2, 1, 0):
            self.handshakes.add(self.connection, ages[number], partial(self.step, number, WHOLE_TURN))
        self.assertEqual(self.taken, [3])
        self.assertEqual(self.turn(), [0])
        self.handshakes.add(self.connection, ages[0], partial(self.step, 10, WHOLE_TURN))
        self.assertEqual([self.turn(), self.turn(), self.turn()], [[10], [1], [2]])

    def test_who_comes_again_waits_again(self) -> None:
        """A stranger that opens connection after connection is behind everybody who came before."""
        self.add(1, 2, 3, seconds=WHOLE_TURN)

        def come_again() -> None:
            self.clock.rightNow += WHOLE_TURN
            self.handshakes.add(self.connection, self.handshakes.begin(), come_again)

        come_again()
        self.add(4, seconds=WHOLE_TURN)
        self.assertEqual([self.turn() for _ in range(4)], [[2], [3], [], [4]])
        self.handshakes.stop()

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
        self.handshakes.add(bad, self.handshakes.begin(), fail)
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
        self.handshakes = Handshakes(self.clock, HalfOpen(self.clock, 100, 100))
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

        self.handshakes.add(Connection(), -1, step)

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
        data = self.client.transport.take()
        self.server.link.dataReceived(data[:100])
        self.assertEqual(self.server.transport.producerState, "producing")
        self.server.link.dataReceived(data[100:])
        self.assertEqual(self.server.transport.producerState, "paused")
        turn(self.clock)
        self.assertEqual(self.server.transport.producerState, "producing")
        self.pump()
        self.clock.advance(0)
        self.pump()
        self.assertEqual(self.server.owner.established, 1)

    def test_waiting_takes_no_time_from_the_peer(self) -> None:
        """The deadline is for what the peer does itself, however long the server has no time for it."""
        self.clock.rightNow += 6
        self.send()
        for _ in range(5):
            self.occupy(8.0)
            turn(self.clock)
        turn(self.clock)
        self.assertFalse(self.server.transport.disconnected)
        self.clock.advance(3.9)
        self.assertFalse(self.server.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(self.server.transport.disconnected)
        self.server.lose()
        self.assertEqual(self.server.owner.lost, ["handshake not finished within 10 s"])

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
