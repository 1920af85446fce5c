"""Connections that have not said yet which host they are: how many may there be, and who goes at the limit."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.net.sparse_log import SparseLog


class Abortable(Protocol):
    """A connection that can be cut."""

    def abort(self, reason: str) -> None:
        """Close at once."""


class HalfOpen:
    """Half-open connections in the order in which they came.

    At a limit the oldest one is closed, of that address if it is the address's limit: who has sent nothing for longest
    is least likely to be an agent, while to refuse newcomers would let a few silent sockets lock out the fleet. Every
    operation takes constant time.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, limit: int, limit_per_address: int) -> None:
        """Prepare; both limits are numbers of connections, at least 1."""
        self._limit = limit
        self._limit_per_address = limit_per_address
        # Not dict: finding the first key of one that lost many first keys takes longer and longer.
        self._addresses: OrderedDict[Abortable, str] = OrderedDict()
        self._by_address: dict[str, OrderedDict[Abortable, None]] = {}
        self._sparse_log = SparseLog(clock, self._log)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._addresses)

    def add(self, connection: Abortable, address: str) -> None:
        """Take in a new connection, and close the oldest one if there are too many now."""
        self._addresses[connection] = address
        neighbours = self._by_address.setdefault(address, OrderedDict())
        neighbours[connection] = None
        if len(neighbours) > self._limit_per_address:
            self._close(next(iter(neighbours)), "too many half-open connections from its address")
        if len(self._addresses) > self._limit:
            self._close(next(iter(self._addresses)), "too many half-open connections")

    def remove(self, connection: Abortable) -> None:
        """Forget a connection that was admitted or lost; harmless for one that is not here."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        neighbours = self._by_address[address]
        del neighbours[connection]
        if not neighbours:
            del self._by_address[address]

    def _close(self, connection: Abortable, reason: str) -> None:
        address = self._addresses[connection]
        self.remove(connection)
        self._sparse_log.info("Closed the oldest connection of {address}: {reason}", address=address, reason=reason)
        connection.abort(reason)
