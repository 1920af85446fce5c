"""Connections that have not said yet which host they are: how many may there be, and who goes at the limit."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.net.sparse_log import SparseLog


class Abortable(Protocol):
    """A connection that can be cut."""

    def abort(self, reason: str) -> None:
        """Close at once."""


@define
class _Address:
    """The connections of one address."""

    count: int = 0
    silent: OrderedDict[Abortable, None] = field(factory=OrderedDict)


class HalfOpen:
    """Half-open connections, and which of them we wait for, in the order in which that began.

    At a limit the first of these is closed, of that address if it is the address's limit: who has sent nothing for
    longest is least likely to be an agent, while to refuse newcomers would let a few silent sockets lock out the fleet.
    Those that wait for us are not to blame; if all others do, the newcomer goes. Every operation takes constant time.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, limit: int, limit_per_address: int) -> None:
        """Prepare; both limits are numbers of connections, at least 1."""
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._connections: dict[Abortable, str] = {}
        self._addresses: dict[str, _Address] = {}
        # Not dict: finding the first key of one that lost many first keys takes longer and longer.
        self._silent: OrderedDict[Abortable, None] = OrderedDict()
        self._sparse_log = SparseLog(clock, self._log)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._connections)

    def add(self, connection: Abortable, address: str) -> None:
        """Take in a new connection, and close the one that is silent for longest if there are too many now."""
        self._connections[connection] = address
        neighbours = self._addresses.setdefault(address, _Address())
        neighbours.count += 1
        self.answered(connection)
        if neighbours.count > self._limit_per_address:
            self._close(next(iter(neighbours.silent)), "too many half-open connections from its address")
        if len(self._connections) > self._limit:
            self._close(next(iter(self._silent)), "too many half-open connections")

    def heard(self, connection: Abortable) -> None:
        """A connection has sent something, and waits for us; harmless for one that is not here."""
        if connection in self._silent:
            del self._silent[connection]
            del self._addresses[self._connections[connection]].silent[connection]

    def answered(self, connection: Abortable) -> None:
        """It is the connection's turn to say something; harmless for one that is not here."""
        if connection in self._connections:
            self._silent[connection] = self._addresses[self._connections[connection]].silent[connection] = None

    def remove(self, connection: Abortable) -> None:
        """Forget a connection that was admitted or lost; harmless for one that is not here."""
        self.heard(connection)
        address = self._connections.pop(connection, None)
        if address is None:
            return
        neighbours = self._addresses[address]
        neighbours.count -= 1
        if not neighbours.count:
            del self._addresses[address]

    def _close(self, connection: Abortable, reason: str) -> None:
        address = self._connections[connection]
        self.remove(connection)
        self._sparse_log.info("Closed the oldest connection of {address}: {reason}", address=address, reason=reason)
        connection.abort(reason)
