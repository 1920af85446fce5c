"""An in-memory TCP network on one task.Clock, with the faults of a real one.

Each machine runs one process, which sees the network through a reactor of its own: Twisted's TCP transports, ports
and connectors as they are, on the sockets of tests.support.sockets. Everything goes through the clock, nothing calls
back into a caller, and equal seeds give equal runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from twisted.internet.task import Clock

from tests.support.machine import Machine
from tests.support.sockets import Address, Socket

LATENCY = 0.0002
"""Seconds from one machine to another, at least; at most twice as much."""
RETRANSMISSION = 0.4
"""Seconds from the end of a cut until a kernel tries again, at most."""
MIN_SEGMENTED = 64
"""Bytes from which on a write may arrive in pieces of any size; less arrives in pieces too, but in fewer."""


class Network:
    """Machines, and the packets between them."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self.clock = clock
        self.running: str | None = None
        """The address of the machine whose process has its turn, or had the last one."""
        self._rng = rng
        self._machines: dict[str, Machine] = {}
        self._listening: dict[Address, Socket] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._without_power: set[str] = set()
        self._delays: dict[str, float] = {}
        self._waiting_for_repair: dict[Socket, None] = {}
        self._last_descriptor = 10**6
        self._last_port = 49151

    def machine(self, address: str) -> Machine:
        """The process on a machine; a new one if the last was killed."""
        machine = self._machines.get(address)
        if machine is None or not machine.alive:
            machine = self._machines[address] = Machine(self, address)
            if address in self._without_power:
                self._without_power.discard(address)
                self._retransmit()
        return machine

    # Faults.

    def kill(self, machine: Machine) -> None:
        """SIGKILL: no code of the process runs any more; its kernel closes its sockets."""
        machine.end()

    def power_off(self, machine: Machine) -> None:
        """Have a machine end without a word: no FIN, no RST, until :meth:`machine` makes a new process there."""
        self._without_power.add(machine.address)
        machine.end(silently=True)

    def freeze(self, machine: Machine) -> None:
        """SIGSTOP: the kernel accepts and acknowledges, the process does nothing."""
        machine.frozen = True

    def thaw(self, machine: Machine) -> None:
        """SIGCONT: timers fire late."""
        machine.frozen = False
        machine.wake()

    def cut(self, source: str, target: str, *, one_way: bool = False) -> None:
        """Have packets between two addresses vanish: no RST, no error; ``one_way``: only those from ``source``."""
        self._cuts.add((source, target))
        if not one_way:
            self._cuts.add((target, source))

    def mend(self, one: str, other: str) -> None:
        """End the cuts between two addresses; the kernels retransmit before long."""
        self._cuts.difference_update([(one, other), (other, one)])
        self._retransmit()

    def heal(self) -> None:
        """End every cut and delay; the kernels retransmit before long."""
        self._cuts.clear()
        self._delays.clear()
        self._retransmit()

    def delay(self, machine: Machine, seconds: float) -> None:
        """Have every packet from and to a machine take longer by ``seconds``."""
        self._delays[machine.address] = seconds

    def _retransmit(self) -> None:
        for each in self._waiting_for_repair:
            self.clock.callLater(self._rng.uniform(0, RETRANSMISSION), each.deliver)
        self._waiting_for_repair.clear()

    # What sockets ask.

    def is_cut(self, source: str, target: str) -> bool:
        """Tell whether packets vanish in this direction."""
        return (source, target) in self._cuts or not self._without_power.isdisjoint((source, target))

    def latency(self, source: str, target: str) -> float:
        """Seconds for one packet."""
        slow = self._delays.get(source, 0) + self._delays.get(target, 0)
        return slow + self._rng.uniform(LATENCY, 2 * LATENCY)

    def segments(self, data: bytes) -> Iterator[bytes]:
        """Split what a process wrote as a network may."""
        start = 0
        while start < len(data):
            end = start + self._rng.randint(1, max(MIN_SEGMENTED, len(data) - start))
            yield data[start:end]
            start = end

    def next_descriptor(self) -> int:
        """A descriptor's number."""
        self._last_descriptor += 1
        return self._last_descriptor

    def next_port(self) -> int:
        """An ephemeral port."""
        self._last_port += 1
        return self._last_port

    def listen(self, address: Address, listener: Socket) -> bool:
        """Have SYNs to an address go to a socket; False if it is taken."""
        return self._listening.setdefault(address, listener) is listener

    def stop_listening(self, address: Address) -> None:
        """Refuse SYNs to an address."""
        del self._listening[address]

    def wait_for_repair(self, sender: Socket) -> None:
        """Have a socket send again when the cuts are over."""
        self._waiting_for_repair[sender] = None

    def connection_asked(self, client: Socket, address: Address) -> None:
        """A SYN arrives. On an address where no machine ever was, it vanishes."""
        if (listener := self._listening.get(address)) is not None:
            listener.accept_connection(client, client.getsockname())
        elif address[0] in self._machines:
            back = address[0], client.getsockname()[0]
            self.clock.callLater(self.latency(*back), self._refuse, client, back)

    def _refuse(self, client: Socket, way: tuple[str, str]) -> None:
        if not self.is_cut(*way):
            client.connection_refused()
