"""The attache of a host whose resource runs in the server."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.attache import Attache
from cloudlb.agents.direct_attache import THREADS, WORKERS, DirectAttache
from cloudlb.agents.direct_resources import Loaded
from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, CommandCancelled, LinkLost
from cloudlb.agents.outcomes import answered
from cloudlb.domain.models import HostId
from cloudlb.resource.interface import (
    Answer,
    Command,
    Opaque,
    PingCommand,
    PingRoutingCommand,
    ServerResource,
    StartupCommand,
)
from cloudlb.wire import (
    CheckHealthCommand,
    Flag,
    MaintainCommand,
    read_body,
    read_contents,
    read_header,
    write_contents,
    write_packet,
)
from tests.agents.investigating import host

T = TypeVar("T")


@frozen(kw_only=True)
class UnregisteredAnswer(Answer):
    """A class that the wire has no name for."""


class Resource(ServerResource):
    """Answers health checks at once, and anything else when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Answer]] = []
        self.cancelled: list[Deferred[Answer]] = []
        self.closed = 0
        self.next_ping: object = PingCommand(host_id=1)

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Never called here."""
        raise AssertionError

    def startup(self) -> Sequence[StartupCommand]:
        """Never called here."""
        raise AssertionError

    def ping(self, host_id: int) -> Any:
        """As the test wants it."""
        if isinstance(self.next_ping, Exception):
            raise self.next_ping
        return self.next_ping

    def execute(self, command: Command | Opaque) -> Answer | Awaitable[Answer]:
        """At once, or later."""
        if isinstance(command, CheckHealthCommand):
            return Answer(details="healthy")
        self.asked.append(Deferred(self.cancelled.append))
        return self.asked[-1]

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class BlockingResource(Resource):
    """May block."""

    blocking = True

    def execute(self, command: Command | Opaque) -> Answer:
        """On a thread."""
        return Answer(details="from a thread")


@define
class FakeThreads:
    """As many threads as the real one has; what runs on them returns when the test says so."""

    work: list[Callable[[], None]] = field(factory=list)
    most: int = 0

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        result: Deferred[Any] = Deferred()

        def do() -> None:
            maybeDeferred(work).chainDeferred(result)

        self.work.append(do)
        self.most = max(self.most, len(self.work))
        return result

    def stop(self) -> None:
        """Nothing to stop."""

    def step(self, index: int = 0) -> None:
        self.work.pop(index)()


@define(eq=False)
class Owner:
    """Keeps what it is told."""

    clock: Clock
    heard_at: list[float] = field(factory=list)
    gateways: list[bool] = field(factory=list)
    reasons: list[str] = field(factory=list)

    def pinged(self, attache: Attache, *, gateway: bool) -> None:
        self.heard_at.append(self.clock.seconds())
        self.gateways.append(gateway)

    def lost(self, attache: Attache, reason: str) -> None:
        self.reasons.append(reason)


class DirectAttacheTests(SynchronousTestCase):
    """One session of one host."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.owner = Owner(self.clock)
        self.threads = FakeThreads()
        self.resource = Resource()
        self.attache = self.attach(Loaded(self.resource, None))

    def attach(self, loaded: Loaded) -> DirectAttache:
        attache = DirectAttache(
            loaded, self.owner, self.clock, random.Random(1), guid="guid-1-Resource", ping_interval=60
        )
        attache.admit(host(1), 0)
        return attache

    def attach_blocking(self) -> DirectAttache:
        self.attache.close("replaced by one that may block")
        self.owner.reasons.clear()
        self.resource = BlockingResource()
        return self.attach(Loaded(self.resource, self.threads))

    # Requests.

    def test_a_request(self) -> None:
        """It is carried out here, with an answer for each command."""
        sent = self.attache.send([CheckHealthCommand(), MaintainCommand()], timeout=5)
        self.assertNoResult(sent)
        self.resource.asked[0].callback(Answer(details="empty"))
        self.assertEqual(self.successResultOf(sent), [Answer(details="healthy"), Answer(details="empty")])

    def relay(self, body: bytes, flags: Flag = Flag.REQUEST) -> Deferred[bytes]:
        """Have another server's request carried out."""
        packet = write_packet(sequence=9, server_id=5, agent_id=1, via=20_000, flags=flags, body=body)
        return self.attache.relay(packet, read_header(packet), timeout=5)

    def response(self, relayed: Deferred[bytes]) -> list[Any]:
        """What came back for it."""
        packet = self.successResultOf(relayed)
        header = read_header(packet)
        self.assertEqual((header.sequence, header.server_id, header.is_request), (9, 5, False))
        return read_contents(read_body(packet, header, 2**16))

    def test_of_another_server(self) -> None:
        """It is read here, there being nobody else, and the answers are written."""
        relayed = self.relay(write_contents([CheckHealthCommand(), MaintainCommand()]))
        self.resource.asked[0].callback(Answer(details="empty"))
        self.assertEqual(self.response(relayed), [Answer(details="healthy"), Answer(details="empty")])
        self.assertFalse(self.response(self.relay(b"{"))[0].result)

    def test_of_another_server_in_sequence(self) -> None:
        """One that waits for its turn may be withdrawn, and one that does not is left alone."""
        body, flags = write_contents([MaintainCommand()]), Flag.REQUEST | Flag.IN_SEQUENCE
        first, second = self.relay(body, flags), self.relay(body, flags)
        for relayed in (second, first):
            self.attache.withdraw(relayed)
        self.failureResultOf(second, CommandCancelled)
        self.assertNoResult(first)
        self.assertEqual((len(self.resource.asked), self.resource.cancelled), (1, []))

    def test_stop_on_error(self) -> None:
        """As on an agent."""
        flags = Flag.STOP_ON_ERROR
        sent = self.attache.send([MaintainCommand(), CheckHealthCommand()], timeout=5, flags=flags)
        self.resource.asked[0].callback(Answer(result=False))
        [_, second] = self.successResultOf(sent)
        assert isinstance(second, Answer)
        self.assertEqual(second.details, "Stopped by previous failure")

    def test_in_sequence(self) -> None:
        """One after another; when the running one times out it is called off, and the next goes."""
        flags = Flag.IN_SEQUENCE
        first = self.attache.send([MaintainCommand()], timeout=5, flags=flags)
        second = self.attache.send([MaintainCommand()], timeout=10, flags=flags)
        self.assertEqual(len(self.resource.asked), 1)
        self.clock.advance(5)
        self.failureResultOf(first, AgentTimedOut)
        self.assertEqual(self.resource.cancelled, self.resource.asked[:1])
        self.resource.asked[1].callback(Answer())
        self.assertEqual(self.successResultOf(second), [Answer()])

    def test_an_answer_that_makes_no_sense(self) -> None:
        """It fails with the reason, and the end of a job can be written of it."""
        wrong: Any = "yes"
        for answer in (Answer(details="\udcff"), Answer(result=wrong), UnregisteredAnswer()):
            sent = self.attache.send([MaintainCommand()], timeout=5)
            self.resource.asked[-1].callback(answer)
            [given] = self.successResultOf(sent)
            assert isinstance(given, Answer)
            self.assertIn("The answer to MaintainCommand cannot be written", given.details or "")
            self.assertIs(json.loads(json.dumps(dict(answered(given).result)).encode())["result"], False)

    def test_one_that_blocks(self) -> None:
        """Its commands occupy its own threads, and never the one that pings need."""
        attache = self.attach_blocking()
        sent = [attache.send([CheckHealthCommand()], timeout=600) for _ in range(WORKERS + 3)]
        self.assertEqual(len(self.threads.work), WORKERS)
        self.clock.advance(60)
        self.assertEqual(len(self.threads.work), WORKERS + 1)
        self.assertEqual(self.owner.heard_at, [])
        self.threads.step(WORKERS)
        self.assertEqual(self.owner.heard_at, [60])
        while self.threads.work:
            self.threads.step()
        for each in sent:
            self.assertEqual(self.successResultOf(each), [Answer(details="from a thread")])
        self.assertLessEqual(self.threads.most, THREADS)

    # Pings.

    def test_it_pings(self) -> None:
        """Once an interval, the first time somewhere within one; whoever watches is told."""
        watched: list[PingCommand] = []
        self.attache.watch_pings(watched.append)
        for _ in range(180):
            self.clock.advance(1)
        first, second, third = self.owner.heard_at
        self.assertEqual((second - first, third - second), (60, 60))
        self.assertEqual(watched, [PingCommand(host_id=1)] * 3)

    def test_its_gateway(self) -> None:
        """A ping that says that the host does not reach it is told as such; most say nothing of it."""
        for ping in (
            PingCommand(host_id=1),
            PingRoutingCommand(host_id=1),
            PingRoutingCommand(host_id=1, gateway_accessible=False),
        ):
            self.resource.next_ping = ping
            self.clock.advance(60)
        self.assertEqual(self.owner.gateways, [True, True, False])

    def test_a_mute_resource(self) -> None:
        """While a ping has not returned it is silent, and occupies one thread."""
        self.attach_blocking()
        self.clock.pump([60] * 4)
        self.assertEqual((self.owner.heard_at, len(self.threads.work)), ([], 1))
        self.threads.step()
        self.assertEqual(len(self.owner.heard_at), 1)
        self.clock.advance(60)
        self.threads.step()
        self.assertEqual(len(self.owner.heard_at), 2)

    def test_a_ping_that_fails(self) -> None:
        """It is no sign of life, and the next one may be."""
        for bad in (ZeroDivisionError("no"), "pong", None):
            self.resource.next_ping = bad
            self.clock.advance(60)
        self.assertEqual(self.owner.heard_at, [])
        self.resource.next_ping = PingCommand(host_id=1)
        self.clock.advance(60)
        self.assertEqual(len(self.owner.heard_at), 1)

    # The end.

    def test_closed(self) -> None:
        """What is under way fails and is called off, the resource is closed, and the owner told, once."""
        sent = self.attache.send([MaintainCommand()], timeout=5)
        self.attache.close("maintenance of the server")
        self.attache.close("again")
        self.assertIn("maintenance of the server", str(self.failureResultOf(sent, LinkLost).value))
        self.assertEqual((self.resource.cancelled, self.resource.closed), (self.resource.asked, 1))
        self.assertEqual(self.owner.reasons, ["maintenance of the server"])
        self.failureResultOf(self.attache.send([CheckHealthCommand()], timeout=5), AgentUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_ping_that_returns_too_late(self) -> None:
        """Nobody hears of a session that has ended."""
        attache = self.attach_blocking()
        self.clock.advance(60)
        attache.close("gone")
        while self.threads.work:
            self.threads.step()
        self.assertEqual((self.owner.heard_at, self.resource.closed), ([], 1))

    def test_superseded(self) -> None:
        """It ends when what is under way has ended."""
        sent = self.attache.send([MaintainCommand()], timeout=5)
        self.attache.supersede()
        self.failureResultOf(self.attache.send([CheckHealthCommand()], timeout=5), AgentUnavailable)
        self.assertEqual(self.resource.closed, 0)
        self.resource.asked[0].callback(Answer())
        self.assertEqual(self.successResultOf(sent), [Answer()])
        self.assertEqual((self.resource.closed, self.attache.connected), (1, False))

    def test_deleted(self) -> None:
        """Nobody is told to stay away: there is nobody."""
        self.attache.send_away("deleteHost")
        self.assertEqual((self.resource.closed, self.owner.reasons), (1, ["deleteHost"]))

    def test_admitted_again(self) -> None:
        """It goes on pinging as before."""
        self.attache.admit(evolve(host(1), id=HostId(1)), 0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
