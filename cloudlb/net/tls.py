"""TLS contexts of the links, on the standard library's ssl.

See docs/tls.md for what each end checks.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from cloudlb.net.certificate_names import CertificateMismatch, certificate_guid, check_server_name, fits
from cloudlb.wire.tls_channel import ALPN

__all__ = [
    "CertificateMismatch",
    "Identity",
    "TlsConfigurationError",
    "certificate_guid",
    "check_server_name",
    "client_context",
    "fits",
    "server_context",
]

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2. CloudStack's Java ends choose ECDHE-RSA-AES256-GCM-SHA384 or its ECDSA twin."""


class TlsConfigurationError(Exception):
    """A certificate, key or CA file cannot be used; the message names the file."""


@frozen(kw_only=True)
class Identity:
    """Files in PEM: whom to trust, and who we are.

    An agent may be without a certificate, for servers that do not insist on one.
    """

    ca: Path
    certificate: Path | None = None
    private_key: Path | None = None


def server_context(identity: Identity, *, strict: bool) -> ssl.SSLContext:
    """Make the context of a server's links.

    Args:
        identity: with a certificate and its key.
        strict: an agent must show a certificate. One that is shown must be of our CA either way.

    Raises:
        TlsConfigurationError: a file cannot be used.
    """
    if identity.certificate is None:
        raise TlsConfigurationError("a server needs a certificate")
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity)
    context.verify_mode = ssl.CERT_REQUIRED if strict else ssl.CERT_OPTIONAL
    # Tickets of TLS 1.3 would follow the handshake unframed; resumed handshakes of TLS 1.2 end with the client's
    # flight, behind which CloudStack drops what it has read.
    context.num_tickets = 0
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols([ALPN])
    return context


def client_context(identity: Identity, *, tls12: bool = False) -> ssl.SSLContext:
    """Make the context of a client's links.

    The server's name is not checked by it: call :func:`check_server_name` once the link is established.

    Args:
        identity: the certificate and key may be missing.
        tls12: for CloudStack's servers, whose TLS 1.3 breaks the framing: offer TLS 1.2 only.

    Raises:
        TlsConfigurationError: a file cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, identity)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.set_alpn_protocols([ALPN])
    return context


def _context(protocol: int, identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    _load_ca(context, identity.ca)
    if identity.certificate is not None and identity.private_key is not None:
        _load_pair(context, identity.certificate, identity.private_key)
    elif identity.certificate is not None or identity.private_key is not None:
        raise TlsConfigurationError(f"{identity.certificate or identity.private_key}: key and certificate go together")
    return context


def _load_ca(context: ssl.SSLContext, path: Path) -> None:
    # Several of them while a CA is being replaced: one that has expired does no harm beside one that has not.
    certificates = _certificates(path)
    if all(_expired(certificate) for certificate in certificates):
        raise TlsConfigurationError(
            f"{path}: the CA expired at {certificates[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    try:
        context.load_verify_locations(cadata=b"".join(c.public_bytes(Encoding.DER) for c in certificates))
    except ssl.SSLError as error:
        raise TlsConfigurationError(f"{path}: cannot be used as a CA: {error}") from error


def _load_pair(context: ssl.SSLContext, certificate: Path, private_key: Path) -> None:
    own = _certificates(certificate)[0]
    if _expired(own):
        raise TlsConfigurationError(f"{certificate}: expired at {_end(own)}")
    try:
        key = load_pem_private_key(_read(private_key), password=None)
    except TypeError:
        raise TlsConfigurationError(f"{private_key}: is encrypted; a daemon needs it without a pass phrase") from None
    except ValueError:
        raise TlsConfigurationError(f"{private_key}: is no private key in PEM") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        raise TlsConfigurationError(f"{private_key}: is not the key of {certificate}")
    try:
        context.load_cert_chain(certificate, private_key)
    except (ssl.SSLError, OSError) as error:
        raise TlsConfigurationError(f"{certificate}: cannot be used: {error}") from error


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise TlsConfigurationError(f"{path}: is no certificate in PEM") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def _expired(certificate: x509.Certificate) -> bool:
    # The wall clock and no injected one, because that is what OpenSSL compares with in the handshake.
    return certificate.not_valid_after_utc <= datetime.now(UTC)


def _end(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
