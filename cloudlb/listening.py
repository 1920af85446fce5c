"""The two ports of a management server, for agents and for the API: what encrypts them, and when they are open."""

from __future__ import annotations

import ssl
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from cloudlb.agents.live_settings import LiveSettings
from cloudlb.config import ServerConfig
from cloudlb.net.https_server import HttpsContext
from cloudlb.net.tls import Identity, server_context
from cloudlb.wire.tls_channel import TlsChannel

BACKLOG = 4096
"""Connections that the kernel holds until they are accepted: a dead server's agents come all at once."""


class TlsChannels:
    """Makes the channels of accepted connections, with the strictness in force at that moment."""

    def __init__(self, identity: Identity, settings: LiveSettings) -> None:
        """Read the files.

        Raises:
            TlsConfigurationError: one of them cannot be used.
        """
        self._settings = settings
        # Both now, so that a bad file shows at the start and not when somebody changes the setting.
        self._contexts: dict[bool, ssl.SSLContext] = {
            strict: server_context(identity, strict=strict) for strict in (True, False)
        }

    def __call__(self) -> TlsChannel:
        """One channel."""
        return TlsChannel(self._contexts[self._settings.current.auth_strictness], server_side=True)


class Ports:
    """Those of one server."""

    def __init__(self, reactor: Any, config: ServerConfig) -> None:
        """Prepare; nothing is open before :meth:`open`.

        Args:
            reactor: IReactorTCP and IReactorSSL.
            config: names the addresses, the ports, and the files for HTTPS.

        Raises:
            TlsConfigurationError: one of the files cannot be used.
        """
        self._reactor = reactor
        self._config = config
        self._https = _https(config) if config.api_tls else None
        self._open: list[IListeningPort] = []

    def open(self, links: IProtocolFactory, site: IProtocolFactory) -> None:
        """Take connections of agents and, after that, of the API.

        Raises:
            CannotListenError: somebody else does, or the address is not this machine's.
        """
        config, reactor = self._config, self._reactor
        self._open.append(reactor.listenTCP(config.port, links, backlog=BACKLOG, interface=config.bind_address))
        api = {"backlog": BACKLOG, "interface": config.api_address}
        if self._https is None:
            self._open.append(reactor.listenTCP(config.api_port, site, **api))
        else:
            self._open.append(reactor.listenSSL(config.api_port, site, self._https, **api))

    async def close(self) -> None:
        """Take no more connections; those that there are stay."""
        for port in self._open:
            await maybeDeferred(port.stopListening)


def _https(config: ServerConfig) -> HttpsContext:
    if config.api_certificate is None or config.api_private_key is None:
        return HttpsContext(config.certificate, config.private_key)
    return HttpsContext(config.api_certificate, config.api_private_key)
