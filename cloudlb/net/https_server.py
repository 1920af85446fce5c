"""TLS of the API and the dashboard: OpenSSL's, as Twisted's web server wants it."""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer

from cloudlb.net.tls import TlsConfigurationError


@implementer(IOpenSSLContextFactory)
class HttpsContext:
    """One context for all connections: TLS 1.2 or newer, and no certificate asked of anybody."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Read the files, in PEM; the certificate may be followed by those that lead to its root.

        Raises:
            TlsConfigurationError: one of them cannot be used.
        """
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        for path, use in (
            (certificate, self._context.use_certificate_chain_file),
            (private_key, self._context.use_privatekey_file),
        ):
            try:
                use(str(path))
            except SSL.Error as error:
                raise TlsConfigurationError(f"{path} cannot be used for HTTPS: {_reason(error)}") from error
        try:
            self._context.check_privatekey()
        except SSL.Error as error:
            raise TlsConfigurationError(f"{private_key} is not the key of {certificate}") from error

    def getContext(self) -> SSL.Context:  # noqa: N802 - Twisted's name
        """The context."""
        return self._context


def _reason(error: SSL.Error) -> str:
    """OpenSSL's last words, or that it has none."""
    queue = error.args[0] if error.args else ()
    return str(queue[-1][-1]) if queue else "no such file, or not readable"
