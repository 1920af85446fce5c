"""The stream as viewers get it: who may follow, what comes, and what becomes of those who do not read."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.pages import notFound

from cloudlb.api.sessions import COOKIE, Session, Sessions
from cloudlb.api.site import ApiSite
from cloudlb.dashboard.stream import CARE_INTERVAL, PATIENCE, SILENCE, Stream
from cloudlb.dashboard.visitors import LoggedIn
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.users import Account, Role
from tests.dashboard.viewing import NOW, FleetTestCase, Told, inflate, read_events


class _Transport(StringTransport):
    """A connection that may be aborted."""

    aborted = False

    def abortConnection(self) -> None:  # noqa: N802 Twisted calls it
        """End it at once."""
        self.aborted = True
        self.loseConnection()


class _Follower:
    """A connection that asked for the stream."""

    def __init__(self, site: ApiSite, request: bytes) -> None:
        self.transport = _Transport(peerAddress=IPv4Address("TCP", "127.0.0.9", 50000))
        self._channel: Any = site.buildProtocol(self.transport.getPeer())
        self._channel.makeConnection(self.transport)
        self._channel.dataReceived(request)
        self._seen = 0

    @property
    def head(self) -> str:
        """Status and headers."""
        written: bytes = self.transport.value()
        return written.partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> bytes:
        """What came after them, out of its chunks."""
        rest, body = self.transport.value().partition(b"\r\n\r\n")[2], b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return body

    @property
    def told(self) -> list[Told]:
        """All events that came."""
        return read_events(inflate(self.body) if "content-encoding: gzip" in self.head.lower() else self.body)

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return [told.name for told in self.told]

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return (
            self.transport.connected and not self.transport.disconnecting and b"\r\n0\r\n" not in self.transport.value()
        )

    def leave(self) -> None:
        """Close the connection."""
        self._channel.connectionLost(Failure(ConnectionDone()))


class StreamTests(FleetTestCase):
    """A site with the stream, and a user who has logged in."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.sessions = Sessions(self.clock)
        runs = iter("RSTUVW")
        self.stream = Stream(self.database, self.clock, lambda: next(runs), LoggedIn(self.sessions, self.database))
        root = notFound()
        root.putChild(b"stream", self.stream)
        self.site = ApiSite(root, self.clock)
        self.account: Account = self.write(
            lambda txn: txn.accounts.add(username="u", role=Role.READ_ONLY, password="hash", now=NOW)
        )
        self.session = self.sessions.begin(self.account)
        self.addCleanup(self.stream.stop)

    def follow(self, session: Session | None = None, key: str | None = None, **headers: str) -> _Follower:
        """Ask for the stream."""
        session = session or self.session
        lines = [f"Cookie: {COOKIE}={session.id}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        path = f"/stream?sessionkey={session.key if key is None else key}"
        return _Follower(self.site, "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode())

    def lose(self) -> None:
        """Something happens."""
        self.step(self.a, HostEvent.AGENT_DISCONNECTED)
        self.clock.advance(1)

    def test_follow(self) -> None:
        """A snapshot comes at once, and what changes within a second, each by its position."""
        follower = self.follow()
        self.assertIn("200 OK", follower.head)
        self.assertIn("text/event-stream", follower.head)
        self.assertIn("no-store", follower.head)
        self.assertEqual(follower.names, ["snapshot"])
        self.lose()
        self.assertEqual(follower.names, ["snapshot", "delta"])
        self.assertEqual([told.position for told in follower.told], ["R.1", "R.2"])

    def test_gzip(self) -> None:
        """Whoever takes gzip gets one stream of it, from whatever moment on it follows."""
        first = self.follow(Accept_Encoding="gzip, br")
        self.lose()
        second = self.follow(Accept_Encoding="gzip")
        self.clock.advance(SILENCE)
        self.step(self.a, HostEvent.HOST_DOWN)
        self.clock.advance(1)
        self.assertEqual(first.names, ["snapshot", "delta", "delta", "delta"])
        self.assertEqual(second.told, first.told)
        self.assertEqual(self.follow().told, first.told)

    def test_no_gzip(self) -> None:
        """Whoever takes no gzip gets none."""
        for accepted in ("", "identity", "gzip;q=0, br"):
            self.assertEqual(read_events(self.follow(Accept_Encoding=accepted).body)[0].name, "snapshot")

    def test_who_may_not(self) -> None:
        """Without a session, with the key of another one, or with no key at all there is nothing."""
        other = self.sessions.begin(self.account)
        for follower in (self.follow(key=other.key), self.follow(key=""), self.follow(key="%C3%A9")):
            self.assertIn("401", follower.head)
            self.assertNotIn(b"snapshot", follower.transport.value())
        self.assertFalse(self.stream.watch.running)

    def test_last_event_id(self) -> None:
        """Who comes back gets what it has missed."""
        self.follow()
        self.lose()
        self.assertEqual(self.follow(Last_Event_ID="R.1").names, ["delta"])
        self.assertEqual(self.follow(Last_Event_ID="R.2").names, [])
        self.assertEqual(self.follow(Last_Event_ID="Q.2").names, ["snapshot", "delta"])

    def test_nobody(self) -> None:
        """When the last one has left nothing is asked of the database, until somebody comes."""
        first, second = self.follow(), self.follow()
        first.leave()
        self.assertTrue(self.stream.watch.running)
        second.leave()
        self.assertFalse(self.stream.watch.running)
        self.assertEqual((len(self.stream._viewers), self.clock.getDelayedCalls()), (0, []))
        again = self.follow()
        self.assertEqual([told.position for told in again.told], ["S.1"])

    def test_silence(self) -> None:
        """A stream on which nothing happens shows that it lives, by comments."""
        follower = self.follow()
        # Servers that do not write are Down after a while, and that is told.
        self.clock.pump([1.0] * 10)
        self.assertNotIn(b"\n\n:\n\n", follower.body)
        self.clock.pump([1.0] * int(SILENCE + CARE_INTERVAL))
        self.assertIn(b"\n\n:\n\n", follower.body)
        self.assertTrue(follower.is_open)

    def test_pause(self) -> None:
        """A viewer that reads nothing gets nothing, and goes on where it was."""
        follower, other = self.follow(), self.follow()
        assert follower.transport.producer is not None
        follower.transport.producer.pauseProducing()
        self.lose()
        self.assertEqual((follower.names, other.names), (["snapshot"], ["snapshot", "delta"]))
        follower.transport.producer.resumeProducing()
        self.assertEqual(follower.told, other.told)

    def test_slow(self) -> None:
        """A viewer that reads nothing for long is dropped, and nobody else."""
        follower, other = self.follow(), self.follow()
        assert follower.transport.producer is not None
        follower.transport.producer.pauseProducing()
        self.clock.pump([1.0] * int(PATIENCE - 1))
        self.assertFalse(follower.transport.aborted)
        self.clock.pump([1.0] * int(CARE_INTERVAL + 1))
        self.assertTrue(follower.transport.aborted)
        follower.leave()
        self.assertTrue(other.is_open)
        self.assertEqual(len(self.stream._viewers), 1)

    def test_logout(self) -> None:
        """The stream ends with its session."""
        follower = self.follow()
        self.sessions.end(self.session)
        self.clock.advance(CARE_INTERVAL)
        self.assertFalse(follower.is_open)
        self.assertEqual(len(self.stream._viewers), 0)

    def test_disabled(self) -> None:
        """And with what its user may do."""
        follower = self.follow()

        self.write(lambda txn: txn.accounts.update(evolve(self.account, disabled=True)))
        self.clock.advance(CARE_INTERVAL)
        self.assertFalse(follower.is_open)

    def test_wall(self) -> None:
        """A page that is open uses its session: what hangs on a wall stays there."""
        follower = self.follow()
        self.clock.pump([CARE_INTERVAL] * 400)
        self.assertTrue(follower.is_open)

    def test_stop(self) -> None:
        """A server that stops ends the streams in good order."""
        follower = self.follow()
        self.stream.stop()
        self.assertFalse(follower.is_open)
        self.assertFalse(self.stream.watch.running)

    def test_who_comes_back_while_it_stops(self) -> None:
        """Browsers do at once; nothing runs for them any more."""
        self.stream.stop()
        self.follow()
        self.assertFalse(self.stream.watch.running)
        self.assertEqual(len(self.stream._viewers), 0)
