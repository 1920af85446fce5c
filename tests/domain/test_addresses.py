"""One spelling for each address, and no address for what is none."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.addresses import InvalidAddress, is_ip_address, normalize_address

LABELS = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: not name.split(".")[-1].isdigit())
MACHINES = st.ip_addresses().filter(
    lambda ip: not (ip.is_unspecified or ip.is_multicast or getattr(ip, "ipv4_mapped", None) or int(ip) == 2**32 - 1)
)
"""Addresses that one machine may have."""
ADDRESSES = st.one_of(NAMES, MACHINES.map(str))


class Addresses(SynchronousTestCase):
    """normalize_address and is_ip_address."""

    def test_spellings(self) -> None:
        """Each of these means the address beside it."""
        for text, address in (
            ("127.0.0.1", "127.0.0.1"),
            (" 127.0.0.1\t", "127.0.0.1"),
            ("MS1.Example.ORG.", "ms1.example.org"),
            ("localhost", "localhost"),
            ("ms_1", "ms_1"),
            ("[::1]", "::1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("::FFFF:10.0.0.1", "10.0.0.1"),
            ("a" * 63 + ".b", "a" * 63 + ".b"),
            ("1.2.3.4.example", "1.2.3.4.example"),
        ):
            self.assertEqual(normalize_address(text), str(ipaddress.ip_address(address)) if ":" in address else address)

    def test_no_addresses(self) -> None:
        """What an operator may mistype is refused with the text quoted."""
        for text in (
            "",
            " ",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a,b",
            "ms1:8250",
            "127.0.0.1:8250",
            "127.0.0.256",
            "127.0.0",
            "1",
            "127.0.0.01",
            "::1]",
            "[::1",
            "[ms1]",
            "1::2::3",
            "a@b",
            "ms1/24",
            "10.0.0.0/8",
            "müller.example",
            "١٢٧.0.0.1",
            "a" * 64,
            ".".join(["a" * 60] * 5),
            "a\nb",
            "a\0",
        ):
            with self.assertRaises(InvalidAddress, msg=repr(text)) as caught:
                normalize_address(text)
            self.assertIn(repr(text.strip()[:80]), str(caught.exception))

    def test_scoped_addresses(self) -> None:
        """An address with an interface's name means something else on every machine, and could hide any character."""
        for text in ("fe80::1%eth0", "fe80::1%a@b", "[fe80::1%a b]"):
            with self.assertRaises(InvalidAddress):
                normalize_address(text)
            self.assertFalse(is_ip_address(text.strip("[]")))

    @given(ADDRESSES)
    @settings(max_examples=200)
    def test_idempotent(self, text: str) -> None:
        """A normalized address is its own normal form, whatever the case it was written in."""
        address = normalize_address(text)
        self.assertEqual(normalize_address(address), address)
        self.assertEqual(normalize_address(text.upper()), address)

    def test_not_one_machine(self) -> None:
        """Nobody's, everybody's and a group's addresses would strand whoever connects to them."""
        for text in ("0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"):  # noqa: S104
            self.assertRaises(InvalidAddress, normalize_address, text)

    def test_ipv4_in_ipv6(self) -> None:
        """Is the IPv4 address, or one machine could stand in a list twice."""
        self.assertEqual(normalize_address("::ffff:127.0.0.1"), "127.0.0.1")

    @given(MACHINES)
    @settings(max_examples=100)
    def test_equal_addresses_are_equal_strings(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        """All spellings of an IP address become one."""
        self.assertEqual(normalize_address(address.exploded), normalize_address(address.compressed))
        self.assertTrue(is_ip_address(normalize_address(address.exploded)))

    @given(st.text(max_size=40))
    @settings(max_examples=300)
    def test_any_text(self, text: str) -> None:
        """Any text is either an address without anything that separates addresses in lists, or refused."""
        try:
            address = normalize_address(text)
        except InvalidAddress:
            return
        self.assertTrue(address.isascii())
        self.assertFalse(set(address) & set(",@ \t\r\n\0=#"), address)
        self.assertEqual(normalize_address(address), address)
