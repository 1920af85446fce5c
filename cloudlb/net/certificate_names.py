"""Who a certificate says its holder is.

A server's certificate carries the addresses that agents connect to, an agent's carries its GUID in a URI. The link's
TLS has checked already that our CA has signed it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, unquote

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID, IPAddressPattern, verify_service_identity

from cloudlb.domain.addresses import is_ip_address

AGENT_URI = "urn:cloudlb:agent:"
SERVER_URI = "urn:cloudlb:server:"
_JAVA_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


class CertificateMismatch(Exception):
    """A server's certificate is not for the address that was connected to."""


def agent_uri(guid: str) -> str:
    """The name of an agent in its certificate; characters that a URI cannot hold are percent-encoded."""
    return AGENT_URI + quote(guid, safe="")


def server_uri(name: str) -> str:
    """The name of a server in its certificate."""
    return SERVER_URI + quote(name, safe="")


def check_server_name(certificate: bytes, address: str) -> None:
    """Check that a certificate (DER) is for an IP address or DNS name.

    Raises:
        CertificateMismatch: it is not; the message names the address and what the certificate is for.
    """
    try:
        wanted = IPAddress_ID(address) if is_ip_address(address) else DNS_ID(address)
        names = _alternative_names(x509.load_der_x509_certificate(certificate))
        # Not its extract_patterns: that one takes every URI for one with a host, and fails over a URN.
        ips = [ip for ip in names.get_values_for_type(x509.IPAddress) if isinstance(ip, IPv4Address | IPv6Address)]
        addresses = [IPAddressPattern(ip) for ip in ips]
        hosts = [DNSPattern.from_bytes(host.encode()) for host in names.get_values_for_type(x509.DNSName)]
        verify_service_identity([*addresses, *hosts], [wanted], [])
    except VerificationError:
        found = ", ".join([str(ip) for ip in ips] + [host.pattern.decode() for host in hosts])
        raise CertificateMismatch(f"connected to {address}, but the server's certificate is for {found}") from None
    except (CertificateError, ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise CertificateMismatch(f"connected to {address}, but its certificate is for no address: {error}") from error


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def certificate_guid(certificate: bytes) -> str | None:
    """The GUID in an agent's certificate (DER); None in one without a GUID, or with several."""
    try:
        names = _alternative_names(x509.load_der_x509_certificate(certificate))
        uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(AGENT_URI)]
        if len(uris) != 1:
            return None
        return unquote(uris[0].removeprefix(AGENT_URI), errors="strict") or None
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None


def certificate_end(certificate: bytes) -> float | None:
    """When a certificate (DER) ends, in seconds since the epoch; None if it does not say."""
    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except ValueError:
        return None


def fits(guid: str, wire_guid: str, resource_name: str) -> bool:
    """Tell whether the holder of a certificate for ``guid`` may speak for a host.

    Args:
        guid: from the certificate.
        wire_guid: the GUID in a StartupCommand, which is ``<guid>-<resource name>`` [ServerResourceBase, AgentShell].
        resource_name: the resource's class name in the same command. It is the peer's own word, so it must be a Java
            identifier: "1-SimulatorResource" would turn the certificate of "agent" into one for "agent-1".
    """
    if wire_guid == guid:
        return True
    return _JAVA_IDENTIFIER.fullmatch(resource_name) is not None and wire_guid == f"{guid}-{resource_name}"
