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
from twisted.logger import Logger
from zope.interface import implementer

from tests.support.sockets import Socket
from tests.support.virtual_clock import Timers

if TYPE_CHECKING:
    from tests.support.network import Network


@implementer(IReactorTime, IReactorTCP, IReactorFDSet, IReactorFromThreads)
class Machine(posixbase._DisconnectSelectableMixin):
    """A process's reactor: the network's time, its own timers, sockets and turns."""

    _log = Logger()

    def __init__(self, network: Network, address: str) -> None:
        self.address = address
        self.alive = True
        self.frozen = False
        self._network = network
        self._sockets: dict[Socket, None] = {}
        self._timers = Timers(self.seconds)
        self._readers = _Selectables()
        self._writers = _Selectables()
        self._touched: dict[Socket, None] = {}
        self._next_turn: IDelayedCall | None = None

    # Timers.

    def seconds(self) -> float:
        """The network's time."""
        return self._network.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002
        """See IReactorTime; the call dies with the process."""
        call = self._timers.add(delay, callable, args, kw, brought_forward=self._plan_turn)
        self._plan_turn()
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See IReactorTime."""
        return list(self._timers.pending())

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
        self.look(self._readers.add(reader))

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See IReactorFDSet."""
        self.look(self._writers.add(writer))

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See IReactorFDSet."""
        self._readers.remove(reader)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See IReactorFDSet."""
        self._writers.remove(writer)

    def removeAll(self) -> list[Any]:
        """See IReactorFDSet."""
        everything = list(dict.fromkeys([*self.getReaders(), *self.getWriters()]))
        self._readers = _Selectables()
        self._writers = _Selectables()
        return everything

    def getReaders(self) -> list[Any]:
        """See IReactorFDSet."""
        return self._readers.all()

    def getWriters(self) -> list[Any]:
        """See IReactorFDSet."""
        return self._writers.all()

    # What the kernel and the network do with the process.

    def own(self, each: Socket) -> None:
        """Count a socket as the process's."""
        self._sockets[each] = None

    def forget(self, each: Socket) -> None:
        """A socket was closed."""
        self._sockets.pop(each, None)

    def look(self, touched: Socket) -> None:
        """A socket may be ready: have the process take a turn soon."""
        if self.alive:
            self._touched[touched] = None
            self._plan_turn(now=True)

    def wake(self) -> None:
        """The process goes on after it was frozen."""
        self._plan_turn(now=True)

    def end(self, *, silently: bool = False) -> None:
        """Stop for ever; the kernel closes what was open, unless it ends too."""
        self.alive = False
        self._timers.clear()
        self._touched.clear()
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
            due = self._timers.next_time()
            if due is None:
                return
            time = max(time, due)
        if self._next_turn is not None and self._next_turn.active():
            if self._next_turn.getTime() <= time:
                return
            self._next_turn.cancel()
        self._next_turn = self._network.clock.callLater(time - self.seconds(), self._take_turn)

    def _take_turn(self) -> None:
        # Like a reactor's loop: first the timers that are due, then what is ready.
        if self.frozen or not self.alive:
            return
        self._network.running = self.address
        self._run_due_calls()
        touched, self._touched = self._touched, {}
        for each in touched:
            if (reader := self._readers.of(each)) is not None and each.readable:
                self._work(reader, reader.doRead, is_read=True)
        for each in touched:
            if (writer := self._writers.of(each)) is not None and each.writable:
                self._work(writer, writer.doWrite, is_read=False)
        for each in touched:
            if (each.readable and self._readers.of(each)) or (each.writable and self._writers.of(each)):
                self._touched[each] = None
        self._plan_turn(now=bool(self._touched))

    def _run_due_calls(self) -> None:
        now = self.seconds()
        while (due := self._timers.next_time()) is not None and due <= now:
            call = self._timers.pop()
            try:
                call.func(*call.args, **call.kw)
            except Exception:  # noqa: BLE001 (a reactor outlives every call)
                self._log.failure("a delayed call on {address} failed", address=self.address)

    def _work(self, selectable: Any, work: Callable[[], Any], *, is_read: bool) -> None:
        try:
            why = work()
        except Exception as error:  # noqa: BLE001 (a reactor outlives every transport)
            self._log.failure("a transport on {address} failed", address=self.address)
            why = error
        if why:
            self._disconnectSelectable(selectable, why, is_read)


class _Selectables:
    """Who wants to hear of which sockets; a selectable may have let go of its socket when it is removed."""

    def __init__(self) -> None:
        self._sockets: dict[Any, Socket] = {}
        self._selectables: dict[Socket, Any] = {}

    def add(self, selectable: Any) -> Socket:
        """Its socket."""
        each: Socket = selectable.socket
        self._sockets[selectable] = each
        self._selectables[each] = selectable
        return each

    def remove(self, selectable: Any) -> None:
        """It may not be there."""
        each = self._sockets.pop(selectable, None)
        if each is not None:
            del self._selectables[each]

    def of(self, each: Socket) -> Any:
        """Who wants to hear of a socket, None if nobody does."""
        return self._selectables.get(each)

    def all(self) -> list[Any]:
        """Everybody."""
        return list(self._sockets)


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
