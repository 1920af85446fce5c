"""Tests of the HTTP around the API: methods, forms, limits, failures and what is logged."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from cloudlb.api.site import IDLE_TIMEOUT, MAX_BODY, MAX_CONNECTIONS_PER_ADDRESS
from cloudlb.domain.models import HostId
from tests.api.world import API_KEY, SECRET, ApiTestCase, encode, sign

LIST_ZONES = {"command": "listZones", "response": "json", "apiKey": API_KEY}


class HttpTests(ApiTestCase):
    """One endpoint."""

    def test_get_and_post(self) -> None:
        """A query and a form say the same, and may be mixed."""
        signed = sign(LIST_ZONES)
        self.assertEqual({"listzonesresponse": {}}, self.get(signed).json)
        self.assertEqual({"listzonesresponse": {}}, self.post(signed).json)
        body = encode({"signature": signed.pop("signature")})
        head = (
            b"POST /client/api?" + encode(signed) + b" HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        )
        mixed = self.send(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.assertEqual({"listzonesresponse": {}}, mixed.json)

    def test_headers(self) -> None:
        """CloudStack's content type, and no copies kept."""
        headers = self.get(sign(LIST_ZONES)).headers
        self.assertEqual("application/json; charset=UTF-8", headers["content-type"])
        self.assertEqual("no-store", headers["cache-control"])

    def test_xml_is_the_default(self) -> None:
        """As in CloudStack."""
        response = self.get(sign({"command": "listZones", "apiKey": API_KEY}))
        self.assertEqual("listzonesresponse", response.xml.tag)
        response = self.get({"command": "listZones"})
        self.assertEqual((401, "401"), (response.status, response.xml.findtext("errorcode")))

    def test_unknown_command(self) -> None:
        """Error 432 in the envelope of errors; commands' names are case-sensitive."""
        for name in ("noSuchThing", "listzones", ""):
            response = self.get(sign({**LIST_ZONES, "command": name}))
            self.assertEqual(432, response.status)
            self.assertEqual(432, response.json["errorresponse"]["errorcode"])

    def test_other_methods_and_paths(self) -> None:
        """Nothing else is there."""
        query = encode(sign(LIST_ZONES))
        for method, path, status in (
            (b"PUT", b"/client/api", 405),
            (b"DELETE", b"/client/api", 405),
            (b"GET", b"/", 404),
            (b"GET", b"/client", 404),
            (b"GET", b"/client/api/more", 404),
        ):
            response = self.send(method + b" " + path + b"?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(status, response.status, (method, path))

    def test_head(self) -> None:
        """The headers alone."""
        response = self.send(b"HEAD /client/api?" + encode(sign(LIST_ZONES)) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((200, b""), (response.status, response.content))

    def test_malformed_parameters(self) -> None:
        """Not UTF-8, not ASCII, too many; another body than a form."""
        for query in (b"command=%ff", b"command=\xff", b"&".join(b"a%d=1" % number for number in range(300))):
            response = self.send(b"GET /client/api?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(400, response.status, query)
        head = b"POST /client/api HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        self.assertEqual(400, self.send(head + b"{}").status)

    def test_long_query(self) -> None:
        """A request line over 16 KiB is not answered at all."""
        request = b"GET /client/api?a=" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(b"", self.send_raw(request))

    def test_long_body(self) -> None:
        """A form over the limit ends the connection when the limit is passed, whatever its length was said to be."""
        form = b"POST /client/api HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        piece = b"a" * (MAX_BODY // 2)
        said = form + b"Content-Length: 99999999999\r\n\r\n" + piece * 3
        chunk = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        for request in (said, form + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 4):
            self.assertEqual(413, self.send(request).status)
        just = b"a=" + b"x" * (MAX_BODY - 2)
        self.assertEqual(401, self.send(form + f"Content-Length: {len(just)}\r\n\r\n".encode() + just).status)

    def test_idle_connection(self) -> None:
        """Somebody who sends half a request and waits is not waited for."""
        transport = StringTransportWithDisconnection()
        channel = self.site.buildProtocol(transport.getPeer())
        transport.protocol = channel
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /client/api?com")
        self.clock.advance(IDLE_TIMEOUT + 1)
        self.assertFalse(transport.connected)


class ConnectionTests(ApiTestCase):
    """How many connections there may be."""

    def connect(self) -> StringTransportWithDisconnection:
        """Connect, and say nothing."""
        transport = StringTransportWithDisconnection()
        self.patch(transport, "abortConnection", transport.loseConnection)
        transport.protocol = self.site.buildProtocol(transport.getPeer())
        transport.protocol.makeConnection(transport)
        return transport

    def test_many(self) -> None:
        """Who holds many open loses the oldest, however busily they trickle; who waits for an answer does not."""
        waiting, held = self.connect(), Deferred[None]()
        self.patch(self.database, "read", lambda work: held)
        waiting.protocol.dataReceived(b"GET /client/api?command=listZones HTTP/1.1\r\nHost: x\r\n\r\n")
        trickling = [self.connect() for _ in range(MAX_CONNECTIONS_PER_ADDRESS - 1)]
        for each in trickling:
            each.protocol.dataReceived(b"GET /")
        late = self.connect()
        self.assertEqual([False, True], [each.connected for each in trickling[:2]])
        self.assertTrue(waiting.connected and late.connected)
        held.callback(None)
        self.assertIn(b"401", waiting.value())

    def test_answered(self) -> None:
        """After its answer it is the youngest of those that say nothing; one that has gone counts no more."""
        first, second = self.connect(), self.connect()
        first.protocol.dataReceived(b"GET /client/api HTTP/1.1\r\nHost: x\r\n\r\n")
        gone = self.connect()
        gone.loseConnection()
        for _ in range(MAX_CONNECTIONS_PER_ADDRESS - 2):
            self.connect()
        self.assertTrue(first.connected and second.connected)
        self.connect()
        self.assertEqual([True, False], [first.connected, second.connected])


class FailureTests(ApiTestCase):
    """Failures reach the caller, and the log without secrets."""

    def test_database_away(self) -> None:
        """Error 503, so that a client tries another server."""
        self.successResultOf(Deferred.fromCoroutine(self.database.stop()))
        response = self.get(sign(LIST_ZONES))
        self.assertEqual(503, response.status)
        self.assertEqual(503, response.json["listzonesresponse"]["errorcode"])

    def test_mistake_of_ours(self) -> None:
        """Error 530 that tells nothing of the inside, and a traceback in the log."""

        class BrokenOperations:
            async def delete_host(self, host_id: HostId, account_id: int) -> bool:
                raise RuntimeError("inside")

        self.add_site()
        self.add_host("a")
        object.__setattr__(self.context, "operations", BrokenOperations())
        self.assertNotIn("inside", self.failed(530, "deleteHost", id="1"))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_nothing_secret_is_logged(self) -> None:
        """Neither of calls that succeed nor of those that are refused or fail."""
        events: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            events.append(repr(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.get(signed := sign(LIST_ZONES))
        self.post(signed)
        self.get(sign({**LIST_ZONES, "command": "nothing"}))
        self.get(sign(LIST_ZONES, "another"))
        self.assertTrue(any("/client/api" in event for event in events), "refused calls are logged")
        for secret in (SECRET, API_KEY, encode({"": signed["signature"]})[1:].decode(), signed["signature"]):
            self.assertFalse([event for event in events if secret in event])
