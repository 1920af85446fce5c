"""The certificate authority of a cluster: ECDSA P-256, a folder with one key and one certificate."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloudlb.domain.addresses import is_ip_address, normalize_address
from cloudlb.net.atomic_file import write_atomically
from cloudlb.net.certificate_names import agent_uri, server_uri

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "private_key.pem"
CA_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=365)
_BACKDATED = timedelta(hours=1)
"""So that a certificate is valid at once on machines whose clocks are behind."""
_MAX_COMMON_NAME = 64
"""RFC 5280, ub-common-name."""


class PkiError(Exception):
    """The CA cannot be made, read or used; the message names the file."""


@frozen
class KeyPair:
    """A certificate, followed by its CA's unless it is one, and its private key, both in PEM."""

    certificate: bytes
    private_key: bytes = field(repr=False)

    def write(self, certificate: Path, private_key: Path) -> None:
        """Write both files atomically, the key readable by its owner alone. The folders must be there."""
        write_atomically(private_key, self.private_key, 0o600)
        write_atomically(certificate, self.certificate, 0o644)


def _wall_clock() -> datetime:
    return datetime.now(UTC)


@frozen
class CertificateAuthority:
    """Signs the certificates of servers and agents.

    ``now`` tells the time, with a time zone, that certificates are valid from.
    """

    _certificate: x509.Certificate = field(repr=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False)
    _now: Callable[[], datetime] = field(repr=False)
    path: Path
    """The CA's certificate, which every server and agent needs."""

    @classmethod
    def create(cls, folder: Path, name: str, now: Callable[[], datetime] = _wall_clock) -> Self:
        """Make a new CA in a folder of its own, which is made and closed to others.

        Raises:
            PkiError: there is a CA in the folder already, or it cannot be written.
        """
        path = folder / CERTIFICATE_FILE
        if path.exists():
            raise PkiError(f"{path}: there is a CA already")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key.public_key(), key.public_key(), now(), now() + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            # The certificate last: a folder with one holds a whole CA.
            _pair(certificate, key).write(path, folder / KEY_FILE)
        except OSError as error:
            raise PkiError(f"{folder}: cannot be written: {error}") from error
        return cls(certificate, key, now, path)

    @classmethod
    def load(cls, folder: Path, now: Callable[[], datetime] = _wall_clock) -> Self:
        """Read the CA that :meth:`create` made.

        Raises:
            PkiError: a file is missing, unreadable, no P-256 CA or not the other's match.
        """
        path, key_path = folder / CERTIFICATE_FILE, folder / KEY_FILE
        try:
            certificate = x509.load_pem_x509_certificate(_read(path))
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (ValueError, x509.ExtensionNotFound):
            raise PkiError(f"{path}: is no CA's certificate in PEM") from None
        if not constraints.ca:
            raise PkiError(f"{path}: is no CA's certificate")
        try:
            key = load_pem_private_key(_read(key_path), password=None)
        except (ValueError, TypeError):
            raise PkiError(f"{key_path}: is no unencrypted private key in PEM") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise PkiError(f"{key_path}: is not the key of {path}")
        return cls(certificate, key, now, path)

    def issue_server(self, name: str, addresses: Iterable[str]) -> KeyPair:
        """Make a key and a certificate for a server.

        Args:
            name: unique in the cluster.
            addresses: every IP address and DNS name that agents and other servers connect to.

        Raises:
            PkiError: the CA has expired, or there is no name or address.
            InvalidAddress: an address is none.
        """
        normalized = [normalize_address(address) for address in addresses]
        if not normalized:
            raise PkiError(f"{self.path}: a certificate for server {name!r} needs an address")
        # Servers connect to each other, too.
        return self._issue(
            name,
            [*map(_general_name, dict.fromkeys(normalized)), x509.UniformResourceIdentifier(server_uri(name))],
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        )

    def issue_agent(self, guid: str) -> KeyPair:
        """Make a key and a certificate for the agent with a GUID.

        Raises:
            PkiError: the CA has expired, or there is no GUID.
        """
        return self._issue(guid, [x509.UniformResourceIdentifier(agent_uri(guid))], [ExtendedKeyUsageOID.CLIENT_AUTH])

    def _issue(self, name: str, names: list[x509.GeneralName], usages: list[x509.ObjectIdentifier]) -> KeyPair:
        if not name:
            raise PkiError(f"{self.path}: no certificate without a name")
        now, last = self._now(), self._certificate.not_valid_after_utc
        if now >= last:
            raise PkiError(f"{self.path}: the CA expired at {last:%Y-%m-%d %H:%M} UTC")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_MAX_COMMON_NAME])])
        issuer, issuer_key = self._certificate.subject, self._key.public_key()
        certificate = (
            _builder(subject, issuer, key.public_key(), issuer_key, now, min(now + LIFETIME, last))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        # With the CA's certificate behind it OpenSSL need not look for it anew, and check it, in every handshake.
        return _pair(certificate, key, self._certificate)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    last: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(last)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(address: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(address)) if is_ip_address(address) else x509.DNSName(address)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, *issuers: x509.Certificate) -> KeyPair:
    return KeyPair(
        b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, *issuers)),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PkiError(f"{path}: cannot be read: {error.strerror}") from error
