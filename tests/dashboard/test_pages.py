"""The files of the dashboard, as a browser gets them."""

from __future__ import annotations

import gzip
import re
from importlib.resources import files

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.pages import notFound
from twisted.web.server import Site

from cloudlb.dashboard.pages import dashboard_pages
from tests.api.world import Response, read_response


class Pages(SynchronousTestCase):
    """GET of what stands at the root."""

    def setUp(self) -> None:
        """A site with nothing else."""
        root = notFound()
        for name, page in dashboard_pages().items():
            root.putChild(name.encode(), page)
        self.site = Site(root)
        self.index = self.get("/").content.decode()
        (self.folder,) = set(re.findall(r'"(/ui/[0-9a-f]+)/', self.index))

    def get(self, path: str, method: str = "GET", **headers: str) -> Response:
        """Ask for a path, just as it stands."""
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.9", 50000))
        channel = self.site.buildProtocol(transport.getPeer())
        assert channel is not None
        channel.makeConnection(transport)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
        return read_response(transport.value())

    def test_policy(self) -> None:
        """Every file comes with a policy that lets nothing in from elsewhere, and nothing that stands in the page."""
        for path in ("/", f"{self.folder}/main.js", f"{self.folder}/base.css", f"{self.folder}/icon.svg"):
            headers = self.get(path).headers
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            self.assertEqual(policy.pop("default-src"), "'none'")
            self.assertEqual(policy.pop("frame-ancestors"), "'none'")
            self.assertEqual(policy.pop("base-uri"), "'none'")
            self.assertEqual(set(policy.values()), {"'self'"})
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")

    def test_dark_twice(self) -> None:
        """Dark is the same whether the system has it or somebody has switched to it."""
        tokens = self.get(f"{self.folder}/tokens.css").content.decode()
        by_system, switched = (
            dict(re.findall(r"(--[\w-]+): ([^;]+);", tokens.split(f"{begin} {{")[1].split("}")[0]))
            for begin in (':root:not([data-theme="light"])', ':root[data-theme="dark"]')
        )
        self.assertIn("--ground", switched)
        self.assertEqual(by_system, switched)

    def test_nothing_inline(self) -> None:
        """No script, style or listener stands in a page, and nothing is asked of another place."""
        for entry in files("cloudlb.dashboard").joinpath("static").iterdir():
            text = entry.read_text(encoding="utf-8")
            self.assertNotRegex(
                text, r"(?i)(innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function)"
            )
            self.assertEqual(set(re.findall(r"\w+://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}, set(), entry)
        self.assertNotRegex(self.index, r"(?i)<style|\sstyle=|\son\w+=|<script(?![^>]*src=)")

    def test_types(self) -> None:
        """Each kind of file has its type."""
        for name, content_type in (
            ("main.js", "text/javascript; charset=utf-8"),
            ("base.css", "text/css; charset=utf-8"),
            ("icon.svg", "image/svg+xml"),
        ):
            self.assertEqual(self.get(f"{self.folder}/{name}").headers["content-type"], content_type)
        self.assertEqual(self.get("/").headers["content-type"], "text/html; charset=utf-8")

    def test_caching(self) -> None:
        """Files are kept for good under a name that changes with them; the page is asked for anew."""
        self.assertIn("immutable", self.get(f"{self.folder}/main.js").headers["cache-control"])
        page = self.get("/")
        self.assertEqual(page.headers["cache-control"], "no-cache")
        again = self.get("/", If_None_Match=page.headers["etag"])
        self.assertEqual((again.status, again.content), (304, b""))
        self.assertIn("content-security-policy", again.headers)
        self.assertEqual(self.get("/", If_None_Match='"another"').status, 200)

    def test_gzip(self) -> None:
        """Who takes gzip gets it, and who does not, does not."""
        plain = self.get(f"{self.folder}/main.js")
        self.assertNotIn("content-encoding", plain.headers)
        zipped = self.get(f"{self.folder}/main.js", Accept_Encoding="br, gzip")
        self.assertEqual(zipped.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(zipped.content), plain.content)
        self.assertNotIn("content-encoding", self.get("/", Accept_Encoding="gzip;q=0").headers)
        self.assertEqual(zipped.headers["vary"], "Accept-Encoding")

    def test_everything_is_there(self) -> None:
        """Whatever the page and its modules name is there."""
        names = set(re.findall(rf'"{self.folder}/([^"]+)"', self.index))
        seen: set[str] = set()
        while names - seen:
            name = (names - seen).pop()
            seen.add(name)
            response = self.get(f"{self.folder}/{name}")
            self.assertEqual(response.status, 200, name)
            names |= set(re.findall(r'(?:from|import|URL\() ?"\./([^"]+)"', response.content.decode()))
        self.assertGreater(len(seen), 20)
        there = {entry.name for entry in files("cloudlb.dashboard").joinpath("static").iterdir()}
        self.assertEqual(there - seen, {"index.html"})

    def test_nothing_else(self) -> None:
        """Names that lead out of the folder, or to the package's own files, lead nowhere."""
        for path in (
            f"{self.folder}/../pages.py",
            f"{self.folder}/%2e%2e/pages.py",
            f"{self.folder}/..%2fpages.py",
            f"{self.folder}/index.html",
            f"{self.folder}/main.js/more",
            "/ui",
            "/ui/",
            self.folder,
            "/ui/0000/main.js",
            "/pages.py",
            "//etc/passwd",
        ):
            self.assertEqual(self.get(path).status, 404, path)

    def test_methods(self) -> None:
        """HEAD has the head alone, and nothing is posted."""
        head = self.get("/", "HEAD")
        self.assertEqual((head.status, head.content), (200, b""))
        self.assertEqual(self.get("/", "POST").status, 405)
