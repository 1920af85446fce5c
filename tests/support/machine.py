"""One machine of the in-memory network, seen from the process that runs on it: its reactor."""

# The methods that Twisted calls have Twisted's names.
# ruff: noqa: N802, N803

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet import posixbase, tcp
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorTCP,
    IReactorTime,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from tests.support.sockets import Socket

if TYPE_CHECKING:
    from tests.support.network import Network


@implementer(IReactorTime, IReactorTCP, IReactorFDSet, IReactorFromThreads)
class Machine(Clock, posixbase._DisconnectSelectableMixin):
    """A process's reactor: the network's time, its own timers, sockets and turns."""

    _log = Logger()

    def __init__(self, network: Network, address: str) -> None:
        super().__init__()
        self.address = address
        self.alive = True
        self.frozen = False
        self._network = network
        self._sockets: dict[Socket, None] = {}
        self._readers: dict[Any, None] = {}
        self._writers: dict[Any, None] = {}
        self._next_turn: IDelayedCall | None = None

    # Timers.

    def seconds(self) -> float:
        """The network's time."""
        return self._network.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002
        """See IReactorTime; the call dies with the process."""
        call = super().callLater(delay, callable, *args, **kw)
        call.resetter = lambda _: self._plan_turn()  # type: ignore[attr-defined]  # of Twisted's DelayedCall
        self._plan_turn()
        return call

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kw: object) -> None:  # noqa: A002
        """See IReactorFromThreads; there are no other threads."""
        self.callLater(0, callable, *args, **kw)

    # Sockets.

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> tcp.Connector:
        """See IReactorTCP."""
        connector = _Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> IListeningPort:
        """See IReactorTCP."""
        listening = _Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def create_socket(self) -> Socket:
        """A socket of this process."""
        return Socket(self._network, self)

    def addReader(self, reader: IReadDescriptor) -> None:
        """See IReactorFDSet."""
        self._readers[reader] = None
        self.look()

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See IReactorFDSet."""
        self._writers[writer] = None
        self.look()

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See IReactorFDSet."""
        self._readers.pop(reader, None)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See IReactorFDSet."""
        self._writers.pop(writer, None)

    def removeAll(self) -> list[Any]:
        """See IReactorFDSet."""
        everything = list(self._readers | self._writers)
        self._readers.clear()
        self._writers.clear()
        return everything

    def getReaders(self) -> list[Any]:
        """See IReactorFDSet."""
        return list(self._readers)

    def getWriters(self) -> list[Any]:
        """See IReactorFDSet."""
        return list(self._writers)

    # What the kernel and the network do with the process.

    def own(self, each: Socket) -> None:
        """Count a socket as the process's."""
        self._sockets[each] = None

    def forget(self, each: Socket) -> None:
        """A socket was closed."""
        self._sockets.pop(each, None)

    def look(self) -> None:
        """Something may be ready: have the process take a turn soon."""
        self._plan_turn(now=True)

    def end(self, *, silently: bool = False) -> None:
        """Stop for ever; the kernel closes what was open, unless it ends too."""
        self.alive = False
        self.calls.clear()
        self.removeAll()
        for each in list(self._sockets):
            if silently:
                each.vanish()
            else:
                each.close()

    @property
    def open_sockets(self) -> int:
        """How many sockets the process has open, listening ones too."""
        return len(self._sockets)

    def _plan_turn(self, now: bool = False) -> None:
        if self.frozen or not self.alive:
            return
        time = self.seconds()
        if not now:
            if not self.calls:
                return
            time = max(time, min(call.getTime() for call in self.calls))
        if self._next_turn is not None and self._next_turn.active():
            if self._next_turn.getTime() <= time:
                return
            self._next_turn.cancel()
        self._next_turn = self._network.clock.callLater(time - self.seconds(), self._take_turn)

    def _take_turn(self) -> None:
        # Like a reactor's loop: first the timers that are due, then what is ready.
        if self.frozen or not self.alive:
            return
        self._run_due_calls()
        for selectable in list(self._readers):
            if selectable in self._readers and selectable.socket.readable:
                self._work(selectable, selectable.doRead, is_read=True)
        for selectable in list(self._writers):
            if selectable in self._writers and selectable.socket.writable:
                self._work(selectable, selectable.doWrite, is_read=False)
        ready = any(each.socket.readable for each in self._readers) or any(
            each.socket.writable for each in self._writers
        )
        self._plan_turn(now=ready)

    def _run_due_calls(self) -> None:
        now = self.seconds()
        self._sortCalls()
        while self.calls and self.calls[0].getTime() <= now:
            call = self.calls.pop(0)
            call.called = 1
            try:
                call.func(*call.args, **call.kw)
            except Exception:  # noqa: BLE001 (a reactor outlives every call)
                self._log.failure("a delayed call on {address} failed", address=self.address)
            self._sortCalls()

    def _work(self, selectable: Any, work: Callable[[], Any], *, is_read: bool) -> None:
        try:
            why = work()
        except Exception as error:  # noqa: BLE001 (a reactor outlives every transport)
            self._log.failure("a transport on {address} failed", address=self.address)
            why = error
        if why:
            self._disconnectSelectable(selectable, why, is_read)


class _Port(tcp.Port):
    reactor: Machine

    def createInternetSocket(self) -> Any:
        return self.reactor.create_socket()


class _Client(tcp.Client):
    reactor: Machine

    def createInternetSocket(self) -> Any:
        return self.connector.reactor.create_socket()


class _Connector(tcp.Connector):
    def _makeTransport(self) -> tcp.Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)
