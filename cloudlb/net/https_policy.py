"""Whom an HTTPS client of ours trusts.

Twisted's own policy takes a certificate whose names it cannot parse (service_identity fails over a URN, such as ours
have) for one that is as it should be, whatever names it has. This one takes it for what it is.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS, platformTrust
from twisted.logger import Logger
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from cloudlb.net.certificate_names import CertificateMismatch, check_server_name


@implementer(IPolicyForHTTPS)
class TrustStore:
    """Certificates of a CA that is trusted, for the address that is asked."""

    def __init__(self, root: Any = None) -> None:
        """Trust what optionsForClientTLS takes; the machine's store if None (``SSL_CERT_FILE`` names another one)."""
        self._root = root or platformTrust()  # type: ignore[no-untyped-call]  # Twisted has no types there

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:  # noqa: N802 - Twisted's name
        """Make what verifies one connection."""
        creator: IOpenSSLClientConnectionCreator = _Verified(hostname.decode("ascii"), self._root)
        return creator


@implementer(IOpenSSLClientConnectionCreator)
class _Verified:
    _log = Logger()

    def __init__(self, address: str, root: Any) -> None:
        self._address = address
        self._options: Any = optionsForClientTLS(address, trustRoot=root)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N802, N803 - Twisted's names
        """Make a connection that is verified by our own rule."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(self, _: object, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        # What is raised in here would be lost, and count as nothing.
        try:
            if ok and depth == 0:
                check_server_name(certificate.to_cryptography().public_bytes(Encoding.DER), self._address)
        except CertificateMismatch as mismatch:
            self._log.warn("HTTPS: {mismatch}", mismatch=mismatch)
            return False
        except Exception:  # noqa: BLE001 - whatever it is, it is no reason to trust
            self._log.failure("HTTPS: the certificate of {address} cannot be checked", address=self._address)
            return False
        return bool(ok)
