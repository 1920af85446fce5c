"""The web site that a server listens with."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web import http
from twisted.web.pages import notFound
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from cloudlb.api.commands import COMMANDS
from cloudlb.api.context import ApiContext
from cloudlb.api.resource import ApiResource
from cloudlb.net.sparse_log import SparseLog

MAX_BODY = 2**20
"""Bytes of a posted form; a longer one ends the connection. Twisted bounds a request's line and headers to 16 KiB."""
IDLE_TIMEOUT = 30.0
"""Seconds without a byte of a request after which its connection is closed."""


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


class ApiSite(Site):
    """A site whose log tells of calls that were refused or failed, never of their queries."""

    _log = Logger()
    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime) -> None:
        # The API reads posted forms itself, strictly.
        super().__init__(  # type: ignore[no-untyped-call]  # Twisted's
            root, requestFactory=ApiRequest, timeout=IDLE_TIMEOUT, reactor=clock, parsePOSTFormSubmission=False
        )
        self._refusals = SparseLog(clock, self._log)

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
