"""What makes servers sure of each other: certificates of the deployment's CA, for the addresses in servers' rows."""

from __future__ import annotations

import ssl
from typing import Protocol

from cloudlb.domain.models import Server
from cloudlb.net.certificate_names import CertificateMismatch, certificate_guid, check_server_name
from cloudlb.net.tls import Identity, client_context
from cloudlb.wire import TlsChannel
from cloudlb.wire.link import Channel


class PeerTrust(Protocol):
    """How links between servers are sealed, and whom their ends take for whom."""

    def channel(self) -> Channel:
        """What seals one link to another server."""
        ...

    def check(self, certificate: bytes | None, server: Server) -> None:
        """Hold what the other end of a link has shown against the row of the server that it should be.

        Raises:
            CertificateMismatch: it is another one's, or nobody's.
        """
        ...


class TlsTrust:
    """By this server's own certificate, and by those of the others; that they are of our CA TLS has checked."""

    def __init__(self, identity: Identity) -> None:
        self._context = client_context(identity)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3

    def channel(self) -> TlsChannel:
        """See PeerTrust."""
        return TlsChannel(self._context, server_side=False)

    def check(self, certificate: bytes | None, server: Server) -> None:
        """See PeerTrust; strictness (``ca.plugin.root.auth.strictness``) is for agents and makes no difference."""
        if certificate is None:
            raise CertificateMismatch("it has shown no certificate")
        if certificate_guid(certificate) is not None:
            raise CertificateMismatch("its certificate is that of an agent")
        check_server_name(certificate, server.address)
