"""Addresses of management servers as operators write them: IPv4, IPv6 or a DNS name, without a port."""

from __future__ import annotations

import ipaddress
import re

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
MAX_NAME_LENGTH = 253
"""Longest DNS name in its textual form (RFC 1035, 2.3.4)."""


class InvalidAddress(ValueError):
    """An address is no IPv4 or IPv6 address and no DNS name."""


def normalize_address(text: str) -> str:
    """Return the one spelling of an address, so that equal addresses are equal strings.

    IPv6 is compressed and loses its brackets, IPv4 in IPv6 becomes IPv4, names are lower-cased.

    Raises:
        InvalidAddress: the text is no address; the message quotes it.
    """
    text = text.strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if is_ip_address(bare):
        return _one_machine(ipaddress.ip_address(bare))
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    # A name of digits and dots only is a mistyped IPv4 address, never a host.
    if name and len(name) <= MAX_NAME_LENGTH and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit():
        return name
    raise InvalidAddress(f"{text[:80]!r} is neither an IPv4 nor an IPv6 address nor a host name")


def _one_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An IPv4 address in IPv6's clothes is the IPv4 address; one that is nobody's or everybody's is none."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        raise InvalidAddress(f"{address} is not the address of one machine")
    return str(address)


def is_ip_address(text: str) -> bool:
    """Tell an IP address from a name.

    An IPv6 address with a scope ("fe80::1%eth0") is none: it means another machine on each machine.
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_loopback(address: str) -> bool:
    """Whether an address is reached from its own machine only; a name is, if it is localhost."""
    return ipaddress.ip_address(address).is_loopback if is_ip_address(address) else address == "localhost"
