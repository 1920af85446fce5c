"""The web site that a server listens with."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.pages import notFound
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from cloudlb.api.commands import COMMANDS
from cloudlb.api.context import ApiContext
from cloudlb.api.resource import ApiResource
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.sparse_log import SparseLog

MAX_BODY = 2**20
"""Bytes of a posted form; a longer one ends the connection. Twisted bounds a request's line and headers to 16 KiB."""
IDLE_TIMEOUT = 30.0
"""Seconds without a byte of a request after which its connection is closed."""
MAX_CONNECTIONS = 4096
"""Connections; beyond, the one that has been without a whole request for longest is closed. Agents need descriptors."""
MAX_CONNECTIONS_PER_ADDRESS = 1024


class ApiRequest(Request):
    """A request with a bounded body, and nothing of it in its repr."""

    _received = 0

    def __repr__(self) -> str:
        return f"<ApiRequest {self.method!r}>"

    def gotLength(self, length: int | None) -> None:  # noqa: N802 Twisted calls it
        """Keep the body in memory: it is small, and holds secrets that have no business in a temporary file."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 Twisted calls it
        """Take a part of the body, up to the limit."""
        self._received += len(data)
        if self._received <= MAX_BODY:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]  # Twisted's
        elif self._received - len(data) <= MAX_BODY:
            channel: Any = self.channel
            channel.writeHeaders(b"HTTP/1.1", b"413", b"Content Too Large", [(b"Connection", b"close")])
            channel.loseConnection()


class ApiChannel(http.HTTPChannel):
    """A connection, which may be one too many."""

    factory: ApiSite

    def connectionMade(self) -> None:
        """Have it counted."""
        super().connectionMade()  # type: ignore[no-untyped-call]  # Twisted's, here and below
        transport: Any = self.transport
        self.factory.connections.add(self, getattr(transport.getPeer(), "host", ""))

    def allContentReceived(self) -> None:  # noqa: N802 Twisted calls it
        """It waits for us now."""
        self.factory.connections.heard(self)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Request) -> None:  # noqa: N802 Twisted calls it
        """We wait for the next request, which may be there already."""
        self.factory.connections.answered(self)
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's differ among themselves
        """It counts no more."""
        self.factory.connections.remove(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def abort(self, reason: str) -> None:
        """Close at once."""
        transport: Any = self.transport
        transport.abortConnection()


class ApiSite(Site):
    """A site whose log tells of calls that were refused or failed, never of their queries."""

    protocol = ApiChannel  # type: ignore[assignment]  # Twisted's chooses between this and HTTP/2
    _log = Logger()
    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime) -> None:
        # The API reads posted forms itself, strictly.
        super().__init__(  # type: ignore[no-untyped-call]  # Twisted's
            root, requestFactory=ApiRequest, timeout=IDLE_TIMEOUT, reactor=clock, parsePOSTFormSubmission=False
        )
        self.connections = HalfOpen(clock, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS)
        self._refusals = SparseLog(clock, self._log)

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802 Twisted asks for them under TLS
        """HTTP/1.1 alone: other channels would not be counted."""
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """Note a call that has been answered with an error."""
        # To a probe, which asks every few seconds, a no is an answer like any other.
        if request.code >= http.BAD_REQUEST and request.path != b"/readyz":
            self._refusals.info(
                "{method} {path} from {peer} was answered with {status}",
                method=request.method.decode("ascii", "replace"),
                path=request.path.decode("ascii", "replace"),
                peer=getattr(request.getClientAddress(), "host", None),
                status=request.code,
            )


def api_site(context: ApiContext, pages: Mapping[str, IResource] = MappingProxyType({})) -> Site:
    """Make the site with /client/api.

    Args:
        pages: what else stands at the root, by name.
    """
    root, client = notFound(), notFound()
    root.putChild(b"client", client)
    client.putChild(b"api", ApiResource(context, COMMANDS))
    for name, page in pages.items():
        root.putChild(name.encode(), page)
    return ApiSite(root, context.clock)
