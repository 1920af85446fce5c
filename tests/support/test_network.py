"""The faults of the in-memory network do what they are called after."""

from __future__ import annotations

import random
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.trial.unittest import SynchronousTestCase

from tests.support.machine import Machine
from tests.support.network import Network
from tests.support.test_network_contract import Caller, Listener, Recorder
from tests.support.virtual_clock import START, VirtualClock

PORT = 8250


class Pair:
    """A server's machine, a client's, and what they see of each other."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock, random.Random(seed))
        self.server = self.network.machine("10.0.0.1")
        self.client = self.network.machine("10.0.0.2")
        self.listener = Listener()
        self.server.listenTCP(PORT, self.listener)

    def call(self, timeout: float = 30) -> Caller:
        """Begin to connect."""
        caller = Caller()
        self.client.connectTCP("10.0.0.1", PORT, caller, timeout=timeout)
        return caller

    def connected(self) -> tuple[Recorder, Recorder]:
        """A client's protocol and its server's."""
        caller = self.call()
        self.clock.advance(0.1)
        assert caller.protocol_made is not None
        return caller.protocol_made, self.listener.protocols[-1]


class ClockTests(SynchronousTestCase):
    """Time passes from event to event."""

    def test_events_see_their_time(self) -> None:
        """However far one advances, a call and what it plans run at their own times."""
        clock, seen = VirtualClock(), []

        def tick() -> None:
            seen.append(clock.seconds() - START)
            if len(seen) < 3:
                clock.callLater(2, tick)

        clock.callLater(1, tick)
        clock.advance(10)
        self.assertEqual(seen, [1, 3, 5])
        self.assertEqual(clock.seconds(), START + 10)


class TimerTests(SynchronousTestCase):
    """A machine's timers are its process's."""

    def setUp(self) -> None:
        self.pair = Pair()
        self.machine, self.clock = self.pair.client, self.pair.clock
        self.fired: list[float] = []

    def fire(self) -> None:
        self.fired.append(self.clock.seconds() - START)

    def test_reset(self) -> None:
        """A call can be moved to an earlier and to a later time, and cancelled."""
        earlier = self.machine.callLater(10, self.fire)
        later = self.machine.callLater(2, self.fire)
        cancelled = self.machine.callLater(3, self.fire)
        earlier.reset(1)
        later.reset(5)
        cancelled.cancel()
        self.clock.advance(20)
        self.assertEqual(self.fired, [1, 5])
        self.assertEqual(list(self.machine.getDelayedCalls()), [])

    def test_killed(self) -> None:
        """A killed process's timers never fire, and a new process on the machine has none of them."""
        self.machine.callLater(1, self.fire)
        self.pair.network.kill(self.machine)
        successor = self.pair.network.machine("10.0.0.2")
        self.assertIsNot(successor, self.machine)
        successor.callLater(2, self.fire)
        self.clock.advance(5)
        self.assertEqual(self.fired, [2])

    def test_frozen(self) -> None:
        """A frozen process's timers fire late, in order, and one can still cancel another."""
        second = self.machine.callLater(2, self.fire)
        self.machine.callLater(1, second.cancel)
        self.machine.callLater(3, self.fire)
        self.pair.network.freeze(self.machine)
        self.clock.advance(10)
        self.assertEqual(self.fired, [])
        self.pair.network.thaw(self.machine)
        self.clock.advance(0)
        self.assertEqual(self.fired, [10])

    def test_exception(self) -> None:
        """A call that raises is logged and stops no other."""
        self.machine.callLater(1, lambda: 1 / 0)
        self.machine.callLater(1, self.fire)
        self.clock.advance(1)
        self.assertEqual(self.fired, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FaultTests(SynchronousTestCase):
    """Faults between two machines."""

    def setUp(self) -> None:
        self.pair = Pair()
        self.clock, self.network = self.pair.clock, self.pair.network
        self.client, self.server = self.pair.connected()

    def reasons(self, protocol: Recorder) -> list[Any]:
        return [reason.type for reason in protocol.lost]

    def test_kill_server(self) -> None:
        """The client's connection ends, new ones are refused, the dead process hears nothing more."""
        self.network.kill(self.pair.server)
        self.clock.advance(1)
        self.assertEqual(self.reasons(self.client), [ConnectionDone])
        self.assertEqual(self.server.events, ["made"])
        refused = self.pair.call()
        self.clock.advance(1)
        self.assertEqual(refused.events, ["started", "failed"])

    def test_kill_with_unread_data(self) -> None:
        """A process that dies with data unread resets."""
        self.network.freeze(self.pair.server)
        self.client.transport.write(b"never read")
        self.clock.advance(1)
        self.network.kill(self.pair.server)
        self.clock.advance(1)
        self.assertEqual(self.reasons(self.client), [ConnectionLost])

    def test_restart(self) -> None:
        """Another process on the machine can listen on the same port and is reached."""
        self.network.kill(self.pair.server)
        listener = Listener()
        self.network.machine("10.0.0.1").listenTCP(PORT, listener)
        self.pair.call()
        self.clock.advance(1)
        self.assertEqual(len(listener.protocols), 1)
        self.assertEqual(len(self.pair.listener.protocols), 1)

    def test_frozen_server(self) -> None:
        """Its kernel accepts and acknowledges; the process takes it all up when it is thawed."""
        self.network.freeze(self.pair.server)
        caller = self.pair.call()
        self.client.transport.write(b"hello")
        self.clock.advance(3600)
        assert caller.protocol_made is not None
        self.assertEqual([self.client.lost, caller.protocol_made.lost], [[], []])
        self.assertEqual(self.server.events, ["made"])
        self.assertEqual(len(self.pair.listener.protocols), 1)
        self.network.thaw(self.pair.server)
        self.clock.advance(1)
        self.assertEqual(bytes(self.server.received), b"hello")
        self.assertEqual(len(self.pair.listener.protocols), 2)

    def test_cut_and_healed(self) -> None:
        """Packets vanish without an error; after a cut that was short enough the connection goes on, in order."""
        self.network.cut("10.0.0.1", "10.0.0.2")
        self.client.transport.write(b"one ")
        self.clock.advance(60)
        self.client.transport.write(b"two ")
        self.server.transport.write(b"back")
        self.clock.advance(60)
        self.assertEqual(bytes(self.server.received + self.client.received), b"")
        self.network.heal()
        self.client.transport.write(b"three")
        self.clock.advance(1)
        self.assertEqual(bytes(self.server.received), b"one two three")
        self.assertEqual(bytes(self.client.received), b"back")

    def test_cut_one_way(self) -> None:
        """A cut of one direction leaves the other as it is."""
        self.network.cut("10.0.0.1", "10.0.0.2", one_way=True)
        self.server.transport.write(b"lost")
        self.client.transport.write(b"arrives")
        self.clock.advance(60)
        self.assertEqual(bytes(self.server.received), b"arrives")
        self.assertEqual(bytes(self.client.received), b"")

    def test_cut_connect(self) -> None:
        """A connection over a cut, or to an address where nobody is, times out."""
        self.network.cut("10.0.0.1", "10.0.0.2")
        over_cut, nowhere = self.pair.call(timeout=7), Caller()
        self.pair.client.connectTCP("10.9.9.9", PORT, nowhere, timeout=7)
        self.clock.advance(6.9)
        self.assertEqual(over_cut.events + nowhere.events, ["started", "started"])
        self.clock.advance(0.2)
        self.assertEqual([over_cut.reasons[0].type, nowhere.reasons[0].type], [ConnectTimeout, ConnectTimeout])
        self.network.heal()
        self.clock.advance(1)
        # The SYN of the attempt that was given up comes through after all, and its connection is reset.
        self.assertEqual([self.reasons(each) for each in self.pair.listener.protocols[1:]], [[ConnectionLost]])

    def test_user_timeout(self) -> None:
        """TCP_USER_TIMEOUT ends a connection whose data nobody acknowledges; without data it stays."""
        idle_client, _ = self.pair.connected()
        for each in (self.client, idle_client):
            each.transport.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
        self.network.cut("10.0.0.1", "10.0.0.2")
        self.client.transport.write(b"?")
        self.clock.advance(59)
        self.assertEqual(self.client.lost, [])
        self.clock.advance(2)
        self.assertEqual(self.reasons(self.client), [ConnectionLost])
        self.assertEqual(idle_client.lost, [])
        self.assertEqual(self.server.lost, [])

    def test_kernel_gives_up(self) -> None:
        """Without TCP_USER_TIMEOUT a kernel tries for a quarter of an hour, also when only the way back is cut."""
        self.network.cut("10.0.0.1", "10.0.0.2", one_way=True)
        self.client.transport.write(b"?")
        self.clock.advance(900)
        self.assertEqual(bytes(self.server.received), b"?")
        self.assertEqual(self.client.lost, [])
        self.clock.advance(30)
        self.assertEqual(self.reasons(self.client), [ConnectionLost])

    def test_killed_behind_a_cut(self) -> None:
        """A peer that died behind a cut is noticed when the cut is healed."""
        self.network.cut("10.0.0.1", "10.0.0.2")
        self.network.kill(self.pair.server)
        self.clock.advance(60)
        self.assertEqual(self.client.lost, [])
        self.network.heal()
        self.clock.advance(1)
        self.assertEqual(self.reasons(self.client), [ConnectionDone])

    def test_power_off(self) -> None:
        """A machine without power says nothing; when it runs again it resets what it does not know."""
        self.network.power_off(self.pair.server)
        refused = self.pair.call(timeout=5)
        self.client.transport.write(b"anybody there?")
        self.clock.advance(100)
        self.assertEqual((self.client.lost, refused.reasons[0].type), ([], ConnectTimeout))
        self.network.machine("10.0.0.1").listenTCP(PORT, Listener())
        self.clock.advance(1)
        self.assertEqual(self.reasons(self.client), [ConnectionLost])

    def test_delay(self) -> None:
        """A delayed machine's packets arrive late, in order."""
        self.network.delay(self.pair.server, 3)
        self.client.transport.write(b"slow")
        self.clock.advance(2.9)
        self.assertEqual(bytes(self.server.received), b"")
        self.network.heal()
        self.client.transport.write(b" fast")
        self.clock.advance(0.2)
        self.assertEqual(bytes(self.server.received), b"slow fast")

    def test_nothing_left(self) -> None:
        """When a connection has ended, neither side keeps a socket, and no packet is planned."""
        self.client.transport.loseConnection()
        self.clock.advance(60)
        self.assertEqual([self.pair.client.open_sockets, self.pair.server.open_sockets], [0, 1])
        self.assertEqual(list(self.clock.getDelayedCalls()), [])


class SegmentTests(SynchronousTestCase):
    """What was written arrives in pieces of any size."""

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=20))
    def test_split_and_merged(self, seed: int, sizes: list[int]) -> None:
        """Whatever the seed and the writes, all bytes come in order."""
        pair = Pair(seed)
        client, server = pair.connected()
        data = random.Random(seed).randbytes(sum(sizes))
        start = 0
        for size in sizes:
            client.transport.write(data[start : start + size])
            start += size
            pair.clock.advance(0.0001)
        pair.clock.advance(1)
        self.assertEqual(bytes(server.received), data)

    def test_pieces(self) -> None:
        """A write does come in more than one piece, and even a short one can."""
        pieces, short_pieces = set(), set()
        for seed in range(50):
            client, server = (pair := Pair(seed)).connected()
            client.transport.write(bytes(20))
            pair.clock.advance(1)
            short_pieces.add(server.events.count("data"))
            server.events.clear()
            client.transport.write(bytes(2000))
            pair.clock.advance(1)
            pieces.add(server.events.count("data"))
        self.assertTrue(len(pieces) > 2, pieces)
        self.assertTrue(len(short_pieces) > 1, short_pieces)

    def test_deterministic(self) -> None:
        """Equal seeds give equal runs, other seeds others."""

        def run(seed: int) -> list[tuple[float, int]]:
            client, server = (pair := Pair(seed)).connected()
            client.transport.write(bytes(5000))
            seen = []
            for _ in range(100):
                pair.clock.advance(0.00002)
                seen.append((pair.clock.seconds(), len(server.received)))
            return seen

        self.assertEqual(run(1), run(1))
        self.assertNotEqual(run(1), run(2))


class ReactorTests(SynchronousTestCase):
    """What else a process asks of its reactor."""

    def test_call_from_thread(self) -> None:
        """A call handed over runs soon, not at once."""
        pair = Pair()
        calls: list[int] = []
        machine: Machine = pair.client
        machine.callFromThread(calls.append, 1)
        self.assertEqual(calls, [])
        pair.clock.advance(0)
        self.assertEqual(calls, [1])

    def test_remove_all(self) -> None:
        """A reactor tells and forgets its descriptors."""
        pair = Pair()
        client, _ = pair.connected()
        self.assertEqual(pair.client.getReaders(), [client.transport])
        self.assertEqual(pair.client.getWriters(), [])
        self.assertEqual(pair.client.removeAll(), [client.transport])
        self.assertEqual(pair.client.getReaders(), [])
