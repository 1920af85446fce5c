"""/metrics for Prometheus, and /healthz and /readyz for whatever probes the server. None of them asks the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from twisted.web import http
from twisted.web.resource import Resource

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format, which every version of it reads."""

Networks = Iterable[IPv4Network | IPv6Network]


def allows(networks: Networks, address: str) -> bool:
    """Whether an address is in one of some networks; what is no IP address is in none.

    Args:
        networks: IPv4 and IPv6.
        address: as a socket tells it: on one that listens for both, IPv4 stands in IPv6, and a link has its name.
    """
    try:
        peer = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    return any((mapped or peer) in network for network in networks)


class _Page(Resource):
    """A page of text, made anew for each request."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """Answer with the page, to the address of the connection: what headers say of it anybody can write."""
        peer = getattr(request.getClientAddress(), "host", "")
        status, text = (http.NOT_FOUND, b"no such page\n") if request.postpath else self.page(peer)
        request.setResponseCode(status)
        request.setHeader(b"content-type", self.content_type.encode())
        request.setHeader(b"cache-control", b"no-store")
        return text

    content_type = "text/plain; charset=utf-8"

    def page(self, peer: str) -> tuple[int, bytes]:
        """The status and the text, for an address."""
        raise NotImplementedError


class MetricsPage(_Page):
    """A registry, for who may read it."""

    content_type = CONTENT_TYPE

    def __init__(self, registry: CollectorRegistry, readers: Callable[[], Networks]) -> None:
        """Prepare.

        Args:
            registry: of one server.
            readers: the networks that may read it at this moment.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._registry = registry
        self._readers = readers

    def page(self, peer: str) -> tuple[int, bytes]:
        """What the registry holds."""
        if not allows(self._readers(), peer):
            return (
                http.FORBIDDEN,
                b"this address may not read metrics: see the setting prometheus.exporter.allowed.ips\n",
            )
        return http.OK, generate_latest(self._registry)


class HealthPage(_Page):
    """Says that the process works: that it answers is the proof."""

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._text = text

    def page(self, peer: str) -> tuple[int, bytes]:
        """How it is."""
        return http.OK, f"{self._text()}\n".encode()


class ReadyPage(_Page):
    """Says whether the server does its work, and why not."""

    def __init__(self, obstacle: Callable[[], str | None]) -> None:
        """Prepare; ``obstacle`` says why the server is not ready, None if it is."""
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._obstacle = obstacle

    def page(self, peer: str) -> tuple[int, bytes]:
        """Ready, or the reason."""
        obstacle = self._obstacle()
        if obstacle is not None:
            return http.SERVICE_UNAVAILABLE, f"{obstacle}\n".encode()
        return http.OK, b"ready\n"
