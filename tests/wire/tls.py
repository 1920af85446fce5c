"""TLS contexts for the tests of the wire, with certificates made once per run."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cloudlb.wire.link import Link
from cloudlb.wire.tls_channel import ALPN, TlsChannel

TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3


@cache
def certificate(name: str) -> tuple[str, str]:
    """A self-signed P-256 certificate and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM).decode(), private.decode()


def _context(protocol: int, own: str | None, trusted: str, version: ssl.TLSVersion, alpn: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.minimum_version = TLS12
    context.maximum_version = version
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.load_verify_locations(cadata=certificate(trusted)[0])
    if own is not None:
        with TemporaryDirectory() as folder:
            pair = Path(folder, "pair.pem")
            pair.write_text("".join(certificate(own)))
            context.load_cert_chain(pair)
    if alpn:
        context.set_alpn_protocols([ALPN])
    return context


@cache
def server_context(
    *, strict: bool = True, version: ssl.TLSVersion = TLS13, alpn: bool = True, tickets: int = 0
) -> ssl.SSLContext:
    """A server's context that trusts "agent"."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, "server", "agent", version, alpn)
    context.verify_mode = ssl.CERT_REQUIRED if strict else ssl.CERT_OPTIONAL
    context.num_tickets = tickets
    return context


@cache
def client_context(
    *, own: str | None = "agent", trusted: str = "server", version: ssl.TLSVersion = TLS13, alpn: bool = True
) -> ssl.SSLContext:
    """A client's context with a certificate "agent", unless told otherwise."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, own, trusted, version, alpn)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_link(context: ssl.SSLContext | None = None) -> Link:
    """A client's end, started."""
    link = Link(TlsChannel(context or client_context(), server_side=False))
    link.start()
    return link


def server_link(context: ssl.SSLContext | None = None, max_message: int = 2**20) -> Link:
    """A server's end, started."""
    link = Link(TlsChannel(context or server_context(), server_side=True), max_message)
    link.start()
    return link


def exchange_bytes(one: Link, other: Link) -> tuple[list[bytes], list[bytes]]:
    """Carry bytes both ways until nothing moves; return what each end received."""
    received: tuple[list[bytes], list[bytes]] = ([], [])
    moved = True
    while moved:
        moved = False
        for sender, receiver, messages in ((one, other, received[1]), (other, one, received[0])):
            if data := sender.data_to_send():
                messages.extend(receiver.receive_data(data))
                moved = True
    return received


def established_pair(
    client: ssl.SSLContext | None = None, server: ssl.SSLContext | None = None, max_message: int = 2**20
) -> tuple[Link, Link]:
    """A client and a server that have shaken hands."""
    pair = client_link(client), server_link(server, max_message)
    exchange_bytes(*pair)
    return pair
