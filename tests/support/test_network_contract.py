"""What a Twisted protocol may expect of TCP, checked on the in-memory network and on real loopback sockets alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    UserError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IListeningPort,
    IPushProducer,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.support.network import Network
from tests.support.virtual_clock import VirtualClock

SERVER, CLIENT = "127.0.0.1", "127.0.0.2"
MEGABYTE = random.Random(1).randbytes(2**20)


class Recorder(Protocol):
    """Keeps what happens to it."""

    transport: Any
    """Twisted's TCP connection, whose methods have no types."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: list[Failure] = []
        self.events: list[str] = []
        self.echo = False

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.events.append("data")
        self.received += data
        if self.echo:
            self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append("lost")
        self.lost.append(reason)


@define
class Listener(ServerFactory):
    """Makes a recorder of every connection, or refuses it."""

    protocols: list[Recorder] = field(factory=list)
    refuses: bool = False
    asked: int = 0

    def buildProtocol(self, addr: IAddress | None) -> Recorder | None:
        self.asked += 1
        if self.refuses:
            return None
        self.protocols.append(Recorder())
        return self.protocols[-1]


@define
class Caller(ClientFactory[Recorder]):
    """Makes one recorder and keeps what the connector tells."""

    protocol_made: Recorder | None = None
    events: list[str] = field(factory=list)
    reasons: list[Failure] = field(factory=list)

    def startedConnecting(self, connector: IConnector) -> None:
        self.events.append("started")

    def buildProtocol(self, addr: IAddress | None) -> Recorder:
        self.events.append("built")
        self.protocol_made = Recorder()
        return self.protocol_made

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.events.append("failed")
        self.reasons.append(reason)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        self.events.append("lost")
        self.reasons.append(reason)


@implementer(IPushProducer)
class Source:
    """A producer that counts what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class TcpContract(TestCase if TYPE_CHECKING else object):  # type: ignore[misc]  # no test case by itself
    """The stories; a subclass says where the reactors come from and how time passes."""

    server_reactor: IReactorTCP
    client_reactor: IReactorTCP

    def at_end(self, tidy: Callable[[], Any]) -> None:
        """Have something tidied up, if it is real."""
        raise NotImplementedError

    async def pass_time(self) -> None:
        raise NotImplementedError

    async def until(self, happened: Callable[[], object], what: str) -> None:
        """Wait for something that must happen soon."""
        for _ in range(2000):
            if happened():
                return
            await self.pass_time()
        raise AssertionError(f"did not happen: {what}")

    async def stopped(self, port: IListeningPort) -> None:
        """Stop listening and wait for it."""
        stopping = maybeDeferred(port.stopListening)
        await self.until(lambda: stopping.called, "the port to close")

    def listen(self, factory: Listener) -> tuple[IListeningPort, int]:
        port = self.server_reactor.listenTCP(0, factory, interface=SERVER)
        self.at_end(port.stopListening)
        return port, cast("IPv4Address", port.getHost()).port

    def call(self, port: int) -> tuple[Caller, IConnector]:
        caller = Caller()
        connector = self.client_reactor.connectTCP(SERVER, port, caller, timeout=5)
        self.at_end(connector.disconnect)
        return caller, connector

    async def connected(self) -> tuple[Recorder, Recorder]:
        """A client's protocol and its server's."""
        listener = Listener()
        caller, _ = self.call(self.listen(listener)[1])
        await self.until(lambda: caller.protocol_made and listener.protocols, "a connection")
        client, server = caller.protocol_made, listener.protocols[0]
        assert client is not None
        self.at_end(server.transport.abortConnection)
        return client, server

    async def test_bytes(self) -> None:
        """A megabyte comes back whole and in order through an echo."""
        client, server = await self.connected()
        server.echo = True
        client.transport.write(MEGABYTE[:1])
        client.transport.writeSequence([MEGABYTE[1:70000], MEGABYTE[70000:]])
        await self.until(lambda: len(client.received) == len(MEGABYTE), "the echo")
        self.assertTrue(bytes(client.received) == MEGABYTE)

    async def test_close_flushes(self) -> None:
        """What was written before loseConnection arrives; both sides see a clean end, once."""
        client, server = await self.connected()
        client.transport.write(MEGABYTE)
        client.transport.loseConnection()
        self.assertEqual(client.lost, [])  # Never from within the call.
        await self.until(lambda: client.lost and server.lost, "the end")
        self.assertTrue(bytes(server.received) == MEGABYTE)
        for each in (client, server):
            self.assertEqual([reason.type for reason in each.lost], [ConnectionDone])
            self.assertEqual(each.events[-1], "lost")

    async def test_abort(self) -> None:
        """An abort drops what was not yet written and is no clean end for the peer."""
        client, server = await self.connected()
        server.transport.pauseProducing()
        client.transport.write(MEGABYTE * 16)
        await self.pass_time()
        client.transport.abortConnection()
        self.assertEqual(client.lost, [])
        await self.until(lambda: client.lost, "the own end")
        server.transport.resumeProducing()
        await self.until(lambda: server.lost, "the peer's end")
        self.assertEqual(client.lost[0].type, ConnectionAborted)
        self.assertEqual(server.lost[0].type, ConnectionLost)
        self.assertTrue(len(server.received) < 16 * 2**20)

    async def test_refused(self) -> None:
        """Where nobody listens, the factory hears of it after connectTCP has returned."""
        port, number = self.listen(Listener())
        await self.stopped(port)
        caller, connector = self.call(number)
        self.assertEqual(caller.events, ["started"])
        await self.until(lambda: caller.reasons, "the refusal")
        self.assertEqual(caller.events, ["started", "failed"])
        self.assertEqual(caller.reasons[0].type, Refused)
        self.assertEqual(cast("IPv4Address", connector.getDestination()).port, number)

    async def test_connector(self) -> None:
        """A connector tells its factory the start, the protocol and the loss, and connects again when asked."""
        listener = Listener()
        caller, connector = self.call(self.listen(listener)[1])
        self.assertEqual(caller.events, ["started"])
        await self.until(lambda: listener.protocols, "a connection")
        listener.protocols[0].transport.loseConnection()
        await self.until(lambda: caller.reasons, "its loss")
        self.assertEqual(caller.events, ["started", "built", "lost"])
        connector.connect()
        await self.until(lambda: len(listener.protocols) == 2, "another connection")
        self.assertEqual(caller.events[3:5], ["started", "built"][: len(caller.events) - 3])
        connector.disconnect()
        await self.until(lambda: listener.protocols[1].lost, "its end")

    async def test_stop_connecting(self) -> None:
        """An attempt that is given up fails with UserError and makes no protocol."""
        listener = Listener()
        caller, connector = self.call(self.listen(listener)[1])
        connector.stopConnecting()
        await self.until(lambda: caller.reasons, "the failure")
        for _ in range(5):
            await self.pass_time()
        self.assertEqual(caller.events, ["started", "failed"])
        self.assertEqual(caller.reasons[0].type, UserError)

    async def test_turned_away(self) -> None:
        """A server's factory that makes no protocol closes the connection."""
        listener = Listener(refuses=True)
        caller, _ = self.call(self.listen(listener)[1])
        await self.until(lambda: caller.reasons, "the end")
        self.assertEqual(listener.asked, 1)
        self.assertEqual(caller.events, ["started", "built", "lost"])

    async def test_back_pressure(self) -> None:
        """A peer that does not read pauses the producer; when it reads, the producer goes on."""
        client, server = await self.connected()
        server.transport.pauseProducing()
        source = Source()
        client.transport.registerProducer(source, True)
        client.transport.write(MEGABYTE * 16)
        for _ in range(20):
            await self.pass_time()
        self.assertEqual(source.calls, ["pause"])
        self.assertEqual(bytes(server.received), b"")
        server.transport.resumeProducing()
        await self.until(lambda: len(server.received) == 16 * 2**20, "all of it")
        await self.until(lambda: source.calls == ["pause", "resume"], "the producer to go on")
        client.transport.loseConnection()
        await self.until(lambda: client.lost, "the end")
        self.assertEqual(source.calls, ["pause", "resume", "stop"])

    async def test_addresses(self) -> None:
        """Each side's peer is the other's host."""
        client, server = await self.connected()
        self.assertEqual(client.transport.getPeer(), server.transport.getHost())
        self.assertEqual(server.transport.getPeer(), client.transport.getHost())
        self.assertEqual(cast("IPv4Address", client.transport.getPeer()).host, SERVER)

    async def test_options(self) -> None:
        """Options stay as they were set."""
        client, _ = await self.connected()
        client.transport.setTcpNoDelay(True)
        client.transport.setTcpKeepAlive(True)
        self.assertEqual([client.transport.getTcpNoDelay(), client.transport.getTcpKeepAlive()], [True, True])
        client.transport.setTcpNoDelay(False)
        self.assertEqual([client.transport.getTcpNoDelay(), client.transport.getTcpKeepAlive()], [False, True])

    async def test_stop_listening(self) -> None:
        """A port that stops refuses newcomers and leaves its connections alone; its number can be taken again."""
        listener = Listener()
        port, number = self.listen(listener)
        old, _ = self.call(number)
        await self.until(lambda: old.protocol_made and listener.protocols, "a connection")
        await self.stopped(port)
        new, _ = self.call(number)
        await self.until(lambda: new.reasons, "a refusal")
        assert old.protocol_made is not None
        old.protocol_made.transport.write(b"still here")
        await self.until(lambda: bytes(listener.protocols[0].received) == b"still here", "data on the old connection")
        again = self.server_reactor.listenTCP(number, Listener(), interface=SERVER)
        self.at_end(again.stopListening)

    async def test_late_write(self) -> None:
        """Writing to a peer that has gone harms nobody and ends the connection once."""
        client, server = await self.connected()
        server.transport.loseConnection()
        await self.until(lambda: server.lost, "the server's end")
        client.transport.write(MEGABYTE)
        await self.until(lambda: client.lost, "the client's end")
        client.transport.write(b"too late")
        client.transport.loseConnection()
        client.transport.abortConnection()
        for _ in range(5):
            await self.pass_time()
        self.assertEqual([len(client.lost), len(server.lost)], [1, 1])

    async def test_exception(self) -> None:
        """A protocol that raises loses its connection, and nobody else's."""
        client, server = await self.connected()

        def fail(data: bytes) -> None:
            raise RuntimeError("a bug")

        server.dataReceived = fail  # type: ignore[method-assign]  # this one's bug
        other_client, other_server = await self.connected()
        client.transport.write(b"?")
        await self.until(lambda: client.lost and server.lost, "the end")
        self.assertEqual(server.lost[0].type, RuntimeError)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        other_client.transport.write(b"!")
        await self.until(lambda: bytes(other_server.received) == b"!", "the other's data")


class LoopbackTests(TcpContract, TestCase):
    """The contract over the kernel's TCP."""

    timeout = 20

    def setUp(self) -> None:
        self.server_reactor = self.client_reactor = cast("IReactorTCP", reactor)

    def at_end(self, tidy: Callable[[], Any]) -> None:
        self.addCleanup(tidy)

    async def pass_time(self) -> None:
        await deferLater(cast("IReactorTime", reactor), 0.001)


class NetworkTests(TcpContract, TestCase):
    """The contract over the in-memory network."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
        network = Network(self.clock, random.Random(7))
        self.server_reactor, self.client_reactor = network.machine(SERVER), network.machine(CLIENT)

    def at_end(self, tidy: Callable[[], Any]) -> None:
        pass

    async def pass_time(self) -> None:
        self.clock.advance(0.001)
