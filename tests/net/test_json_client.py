"""JSON over HTTP, from servers on loopback that behave and that do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.server import Request

from cloudlb.net.https_policy import TrustStore
from cloudlb.net.json_client import MAX_ANSWER, JsonClient, NoJson
from cloudlb.net.pki import CertificateAuthority
from tests.support.bmc import (
    PASSWORD,
    SYSTEM,
    USERNAME,
    EndlessFactory,
    PlayedBmc,
    fail,
    redirect,
    silence,
)


class ClientTestCase(TestCase):
    """A BMC, and who asks it."""

    timeout = 20

    def setUp(self) -> None:
        """It runs; its machine is on."""
        self.bmc = PlayedBmc()
        self.url = self.bmc.listen()
        self.addCleanup(self.bmc.stop)
        self.client = JsonClient(reactor)

    def get(self, path: str = SYSTEM, url: str | None = None, password: str = PASSWORD) -> Deferred[Mapping[str, Any]]:
        """Read a path of the BMC's."""
        return Deferred.fromCoroutine(self.client.get((url or self.url) + path, USERNAME, password))

    async def refusal(self, **values: Any) -> str:
        """Why nothing was read."""
        with self.assertRaises(NoJson) as caught:
            await self.get(**values)
        self.assertNotIn(PASSWORD, str(caught.exception))
        return str(caught.exception)


class GetTests(ClientTestCase):
    """What is answered."""

    async def test_object(self) -> None:
        """An object is read."""
        self.assertEqual(await self.get(), {"Id": "1", "PowerState": "On"})

    async def test_status(self) -> None:
        """Every other status is named."""
        self.assertIn("HTTP 401", await self.refusal(password="wrong"))
        self.assertEqual(await self.refusal(path="/nothing"), "it answers (HTTP 404)")
        for code in (204, 403, 500, 503):
            self.bmc.pages["/bad"] = fail(code, b"" if code == 204 else b"no")
            self.assertIn(f"HTTP {code}", await self.refusal(path="/bad"))

    async def test_garbage(self) -> None:
        """What is no object is refused."""
        for body in (b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b"[" * 100_000):
            self.bmc.pages["/bad"] = lambda _, body=body: body
            self.assertIn("no JSON", await self.refusal(path="/bad"))

    async def test_nobody_there(self) -> None:
        """A port that nobody listens on is said to refuse."""
        gone = PlayedBmc()
        url = gone.listen()
        await maybeDeferred(gone.stop)
        self.assertIn("refused", await self.refusal(url=url))

    async def test_bad_urls(self) -> None:
        """What is no URL to ask is refused, not raised."""
        for url in ("ftp://127.0.0.1", "http://127.0.0.1:nothing", "http://", "http://bücher.example"):
            await self.refusal(url=url)


class RedirectTests(ClientTestCase):
    """Redirects within the origin, and out of it."""

    async def test_within(self) -> None:
        """A redirect to another path is followed, relative or not."""
        for target in (SYSTEM, f"{self.url}{SYSTEM}"):
            self.bmc.pages["/old"] = redirect(target)
            self.assertEqual((await self.get("/old"))["Id"], "1")

    async def test_elsewhere(self) -> None:
        """The password goes to nobody else, whatever the redirect looks like."""
        other = PlayedBmc()
        url = other.listen()
        self.addCleanup(other.stop)
        for target in (f"{url}{SYSTEM}", url.removeprefix("http:") + SYSTEM, f"https://127.0.0.1{SYSTEM}"):
            self.bmc.pages["/old"] = redirect(target)
            self.assertEqual(await self.refusal(path="/old"), "it redirects to another place")
        self.bmc.pages["/old"] = redirect("http://[")
        self.assertEqual(await self.refusal(path="/old"), "it redirects to what is no URL")
        self.assertEqual(other.asked, [])

    async def test_for_ever(self) -> None:
        """A redirect to itself ends, as does one that leads nowhere."""
        self.bmc.pages["/old"] = redirect("/old")
        self.assertIn("more than 3 times", await self.refusal(path="/old"))
        self.assertEqual(self.bmc.asked.count("/old"), 4)
        self.bmc.pages["/lost"] = fail(302)
        self.assertIn("more than 3 times", await self.refusal(path="/lost"))


class LimitTests(ClientTestCase):
    """What would take too much, or too long."""

    async def test_huge(self) -> None:
        """An answer over the limit is not taken, whether it says its length or not."""
        self.bmc.pages["/huge"] = lambda _: b'{"a": "' + b"x" * MAX_ANSWER + b'"}'
        self.assertIn(f"longer than {MAX_ANSWER} bytes", await self.refusal(path="/huge"))
        self.bmc.pages["/large"] = lambda _: b'{"a": "' + b"x" * (MAX_ANSWER - 10_000) + b'"}'
        self.assertEqual(len(await self.get("/large")), 1)

    async def test_endless(self) -> None:
        """Headers or bodies that never end are cut off, with the connection."""
        for begin, chunk in (
            (b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 1000 + b"\r\n"),
            (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 1000),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\n   \r\n" * 100),
        ):
            factory = EndlessFactory(begin, chunk)
            rest = factory.listen()
            self.addCleanup(factory.port.stopListening)
            self.assertIn("longer than", await self.refusal(url="http" + rest))
            await factory.ended

    async def test_no_http(self) -> None:
        """Whatever else listens there is refused."""
        factory = EndlessFactory(b"220 mail.example ESMTP\r\n", b"500 what?\r\n")
        rest = factory.listen()
        self.addCleanup(factory.port.stopListening)
        await self.refusal(url="http" + rest)
        await factory.ended

    async def test_cancelled(self) -> None:
        """A GET that nobody waits for leaves no connection, before and within the answer."""

        def begin(request: Request) -> int:
            request.write(b'{"a":')
            return silence(request)

        for page in (silence, begin):
            gone: Deferred[object] = Deferred()

            def remember(request: Request, page: Any = page, gone: Deferred[object] = gone) -> int:
                request.notifyFinish().addBoth(lambda _: gone.callback(None))
                done: int = page(request)
                return done

            self.bmc.pages["/slow"] = remember
            got = self.get("/slow")
            while "/slow" not in self.bmc.asked:
                await deferLater(reactor, 0.01)
            self.bmc.asked.clear()
            await deferLater(reactor, 0.05)
            got.cancel()
            with self.assertRaises(CancelledError):
                await got
            await gone


class TlsTests(ClientTestCase):
    """Whom the client trusts."""

    def setUp(self) -> None:
        """A certificate authority, and BMCs that it has certified."""
        super().setUp()
        self.authority = CertificateAuthority.create(Path(self.mktemp()), "BMCs")

    def trusting(self) -> JsonClient:
        """A client that trusts the authority."""
        root = ssl.Certificate.loadPEM(self.authority.path.read_bytes())
        return JsonClient(reactor, TrustStore(ssl.trustRootFromCertificates([root])))

    def certified(self, address: str) -> str:
        """The URL of a BMC with a certificate for an address."""
        pair = self.authority.issue_server("bmc", [address])
        context = ssl.PrivateCertificate.loadPEM(pair.private_key + pair.certificate).options()
        bmc = PlayedBmc()
        url = bmc.listen(context)
        self.addCleanup(bmc.stop)
        return url

    async def test_trusted(self) -> None:
        """A certificate of a CA that is trusted, for the address that is asked, will do."""
        self.client = self.trusting()
        self.assertEqual((await self.get(url=self.certified("127.0.0.1")))["Id"], "1")

    async def test_of_another_machine(self) -> None:
        """One for another address will not, although its other names are URNs, over which service_identity fails."""
        self.client = self.trusting()
        self.assertIn("certificate verify failed", await self.refusal(url=self.certified("127.0.0.9")))

    async def test_unknown_authority(self) -> None:
        """One of a CA that the machine does not know will not, and the credentials are not sent."""
        self.assertIn("certificate verify failed", await self.refusal(url=self.certified("127.0.0.1")))

    async def test_no_tls(self) -> None:
        """A plain server behind https is refused."""
        factory = EndlessFactory(b"HTTP/1.1 200 OK\r\n\r\n", b"{}")
        rest = factory.listen()
        self.addCleanup(factory.port.stopListening)
        self.assertIn("Error: ", await self.refusal(url="https" + rest))
        await factory.ended
