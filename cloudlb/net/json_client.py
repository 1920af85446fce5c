"""Reading one JSON object over HTTP or HTTPS from a machine that is not trusted to behave.

A GET takes no more memory than its limit and leaves no connection behind, however it ends; whoever calls bounds its
time by cancelling it. Certificates are verified against the machine's trust store (``SSL_CERT_FILE`` names another
one), their names too. Credentials go to the origin that was asked for only, and into no message and no log.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from cloudlb._version import __version__
from cloudlb.net.https_policy import TrustStore

MAX_ANSWER = 2**20
"""Bytes of an answer, headers included; resources of a Redfish service have some 10 KiB."""
MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)


class NoJson(Exception):
    """The machine gave no JSON object; the message says why, without credentials."""


class JsonClient:
    """GETs with Basic authentication [RFC 7617]."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS | None = None) -> None:
        """Prepare to read.

        Args:
            reactor: opens connections and resolves names.
            policy: whom to trust over HTTPS; the machine's trust store if None.
        """
        self._reactor = reactor
        self._policy = policy or TrustStore()

    async def get(self, url: str, username: str, password: str) -> Mapping[str, Any]:
        """Read the object at a URL.

        Redirects are followed within the URL's origin (scheme, host and port).

        Raises:
            NoJson: whatever else came, or nothing did.
        """
        for _ in range(MAX_REDIRECTS + 1):
            redirect, body = await self._get_once(url, username, password)
            if redirect is None:
                return _object(body)
            url = _within(url, redirect)
        raise NoJson(f"it redirects more than {MAX_REDIRECTS} times")

    async def _get_once(self, url: str, username: str, password: str) -> tuple[str | None, bytes]:
        """Where the URL redirects to, or the body."""
        connection = _Connection(self._reactor, self._policy)
        agent: IAgent = Agent.usingEndpointFactory(self._reactor, connection)  # type: ignore[no-untyped-call]  # Twisted has no types
        try:
            response = await agent.request(b"GET", url.encode("ascii"), _headers(username, password))
            answer = await _redirect_or_body(response)
        except NoJson:
            raise
        except Exception as error:  # what Twisted raises for connections, names and answers has no common base
            cause = _cause(error)
            if isinstance(cause, CancelledError):
                raise cause from None
            raise NoJson(connection.complaint or _text(cause)) from error
        finally:
            connection.abort()
        if connection.complaint is not None:
            # Nothing said how long the body was, so that it seemed to have ended where it was cut off.
            raise NoJson(connection.complaint)
        return answer


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Connection:
    """Makes the one connection of a GET, and ends it."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._policy = policy
        self._bounded: _Bounded | None = None

    @property
    def complaint(self) -> str | None:
        """Why this end has ended it."""
        return self._bounded.complaint if self._bounded is not None else None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 - Twisted's name
        """Where to connect to."""
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        self._endpoint = endpoint
        return cast("IStreamClientEndpoint", self)

    def connect(self, factory: Any) -> Deferred[IProtocol]:
        """Connect."""
        bounded = WrappingFactory(factory)  # type: ignore[no-untyped-call]  # as above
        bounded.protocol = _Bounded
        bounded.noisy = False
        connected: Deferred[Any] = self._endpoint.connect(bounded)
        return connected.addCallback(self._keep)

    def _keep(self, bounded: _Bounded) -> IProtocol:
        self._bounded = bounded
        wrapped: IProtocol = bounded.wrappedProtocol
        return wrapped

    def abort(self) -> None:
        """End the connection, if there is one; asked nicely, the other side could keep it."""
        if self._bounded is not None:
            self._bounded.abort()


class _Bounded(ProtocolWrapper):
    """Hands on what comes, up to the limit."""

    complaint: str | None = None
    _left = MAX_ANSWER

    def dataReceived(self, data: bytes) -> None:
        """Hand it on, unless it is too much."""
        self._left -= len(data)
        if self._left < 0:
            self.complaint = f"its answer is longer than {MAX_ANSWER} bytes"
            self.abort()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]  # as above

    def abort(self) -> None:
        """End the connection now."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


class _Body(Protocol):
    """Gathers a body."""

    def __init__(self) -> None:
        self.gathered: Deferred[bytes] = Deferred(lambda _: None)
        self._data = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self._data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, one way or the other."""
        if self.gathered.called:
            return
        # Data loss is possible where nothing says how long the body is; then JSON itself has to have its end.
        if isinstance(reason.value, ResponseDone | PotentialDataLoss):
            self.gathered.callback(bytes(self._data))
        else:
            self.gathered.errback(reason)


async def _redirect_or_body(response: IResponse) -> tuple[str | None, bytes]:
    if response.code in _REDIRECTS:
        return (response.headers.getRawHeaders("location") or [""])[0], b""
    if response.code != 200:
        raise NoJson(_status(response.code))
    body = _Body()
    response.deliverBody(body)  # type: ignore[no-untyped-call]  # as above
    return None, await body.gathered


def _headers(username: str, password: str) -> Headers:
    credentials = b64encode(f"{username}:{password}".encode()).decode("ascii")
    return Headers(
        {
            "Accept": ["application/json"],
            "Authorization": [f"Basic {credentials}"],
            "OData-Version": ["4.0"],
            "User-Agent": [f"cloudlb/{__version__}"],
        }
    )


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoJson("its answer is no JSON") from error
    if not isinstance(found, dict):
        raise NoJson("its answer is no JSON object")
    return found


def _within(url: str, redirect: str) -> str:
    """Where a redirect leads, if that is in the same origin."""
    try:
        target = urljoin(url, redirect)
        one, other = urlsplit(url), urlsplit(target)
    except ValueError:
        raise NoJson("it redirects to what is no URL") from None
    if (one.scheme, one.netloc) != (other.scheme, other.netloc):
        raise NoJson("it redirects to another place")
    return target


def _status(code: int) -> str:
    meanings = {401: "it does not take the user name and the password", 403: "it does not let this user look"}
    return f"{meanings.get(code, 'it answers')} (HTTP {code})"


def _cause(error: BaseException) -> BaseException:
    """What went wrong, found below what wraps it."""
    if isinstance(error, ResponseNeverReceived | ResponseFailed) and error.reasons:
        return _cause(error.reasons[0].value)
    return error


def _text(error: BaseException) -> str:
    details = error.args[0] if error.args else ""
    if isinstance(details, list):
        # OpenSSL's errors are lists of (library, function, reason).
        details = "; ".join(str(part[-1]) for part in details if part)
    return f"{type(error).__name__}: {details or error}"
