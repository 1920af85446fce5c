"""A BMC that is played by a real HTTP server on loopback, well or badly."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

SYSTEM = "/redfish/v1/Systems/1"
USERNAME, PASSWORD = "operator", "s3cret-päss"


def listen(factory: object, context: object = None) -> tuple[Any, int]:
    """Listen on a free port of loopback; what listens, and the port's number."""
    opener: Any = reactor
    if context is None:
        port = opener.listenTCP(0, factory, interface="127.0.0.1")
    else:
        port = opener.listenSSL(0, factory, context, interface="127.0.0.1")
    return port, port.getHost().port


class PlayedBmc(Resource):
    """A Redfish service with one machine, and an answer of its own for any path."""

    isLeaf = True

    def __init__(self, power: object = "On", **site: Any) -> None:
        super().__init__()
        self.pages: dict[str, object | Callable[[Request], bytes | int]] = {
            "/redfish/v1/Systems": {"Members": [{"@odata.id": SYSTEM}], "Members@odata.count": 1},
            SYSTEM: {"Id": "1", "PowerState": power},
        }
        """What is answered: an object, or a function of the request."""
        self.asked: list[str] = []
        self.factory = Site(self, **site)
        self.factory.noisy = False

    def listen(self, context: Any = None) -> str:
        """Listen on a free port of loopback, with TLS if there is a context; the URL."""
        self.port, number = listen(self.factory, context)
        return f"http{'s' if context else ''}://127.0.0.1:{number}"

    def stop(self) -> object:
        """Listen no more."""
        return self.port.stopListening()

    def render_GET(self, request: Request) -> bytes | int:
        path = (request.path or b"").decode()
        self.asked.append(path)
        scheme, _, credentials = (request.getHeader("authorization") or "").partition(" ")
        if scheme != "Basic" or b64decode(credentials).decode() != f"{USERNAME}:{PASSWORD}":
            return fail(401)(request)
        page = self.pages.get(path, fail(404))
        if callable(page):
            done: bytes | int = page(request)
            return done
        request.setHeader("Content-Type", "application/json")
        return json.dumps(page).encode()


def fail(code: int, body: bytes = b"no") -> Callable[[Request], bytes]:
    """Answer with a status."""

    def page(request: Request) -> bytes:
        request.setResponseCode(code)
        return body

    return page


def redirect(target: str, code: int = 308) -> Callable[[Request], bytes]:
    """Answer with a redirect."""

    def page(request: Request) -> bytes:
        request.setResponseCode(code)
        request.setHeader("Location", target)
        return b""

    return page


def silence(request: Request) -> int:
    """Never answer."""
    return NOT_DONE_YET


class Endless(Protocol):
    """No HTTP server at all: it answers anything with bytes that never end."""

    def __init__(self, ended: Deferred[int], begin: bytes, chunk: bytes) -> None:
        self._ended, self._begin, self._chunk = ended, begin, chunk
        self.sent = 0

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self._begin)  # type: ignore[union-attr]
        self.transport.registerProducer(self, streaming=False)  # type: ignore[union-attr]

    def resumeProducing(self) -> None:
        self.sent += len(self._chunk)
        self.transport.write(self._chunk)  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        self._ended.callback(self.sent)


class EndlessFactory(Factory):
    """Makes one :class:`Endless`."""

    noisy = False

    def __init__(self, begin: bytes, chunk: bytes) -> None:
        self._bytes = begin, chunk
        self.ended: Deferred[int] = Deferred()
        """Fires with how much was sent, when the other side has gone."""

    def listen(self) -> str:
        """Listen on a free port of loopback; what follows the scheme in the URL."""
        self.port, number = listen(self)
        return f"://127.0.0.1:{number}"

    def buildProtocol(self, addr: object) -> Endless:
        return Endless(self.ended, *self._bytes)
