"""Lists of servers as agents keep them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.addresses import normalize_address
from cloudlb.domain.host_list import HostList, InvalidHostList, parse_addresses
from tests.domain.test_addresses import ADDRESSES


class HostLists(SynchronousTestCase):
    """HostList.parse and parse_addresses."""

    def test_forms(self) -> None:
        """With and without algorithm, with spaces, names and IPv6."""
        for text, addresses, algorithm in (
            ("127.0.0.1", ("127.0.0.1",), ""),
            ("B, a ,[::1]@roundrobin", ("b", "a", "::1"), "roundrobin"),
            ("a@", ("a",), ""),
            ("a@ somebody's own ", ("a",), "somebody's own"),
        ):
            self.assertEqual(HostList.parse(text), HostList(addresses, algorithm))

    def test_head(self) -> None:
        """The preferred server is the first."""
        self.assertEqual(HostList.parse("b,a@static").preferred, "b")

    def test_bad_lists(self) -> None:
        """A bad list is refused with the place of what is wrong in it."""
        for text, message in (
            ("", "the list of servers is empty"),
            (" @static", "the list of servers is empty"),
            ("a,,b", "address 2 of the list is empty"),
            ("a,", "address 2 of the list is empty"),
            ("a,b c", "address 2: 'b c' is neither"),
            ("a,127.0.0.300", "address 2: '127.0.0.300' is neither"),
            ("a,b,A", "a stands twice in the list"),
            ("::1,[0::1]", "::1 stands twice"),
        ):
            with self.assertRaises(InvalidHostList) as caught:
                HostList.parse(text)
            self.assertIn(message, str(caught.exception))

    def test_a_hostile_list(self) -> None:
        """A stranger's text is refused by its length, at once, and is not quoted."""
        names = ",".join(f"server-{number}" for number in range(100_000))
        with self.assertRaises(InvalidHostList) as caught:
            HostList.parse(names)
        self.assertEqual(str(caught.exception), "the list has more than 256 servers")
        with self.assertRaises(InvalidHostList) as caught:
            HostList.parse("!" * 100_000)
        self.assertTrue(len(str(caught.exception)) < 200)

    @given(
        st.lists(ADDRESSES, min_size=1, max_size=6, unique_by=normalize_address),
        st.sampled_from(["", "static", "roundrobin", "shuffle", "rendezvous", "x@y"]),
    )
    @settings(max_examples=100)
    def test_round_trip(self, addresses: list[str], algorithm: str) -> None:
        """What is written into the property is read back as the same list."""
        hosts = HostList(parse_addresses(",".join(addresses)), algorithm)
        self.assertEqual(HostList.parse(str(hosts)), hosts)
        self.assertEqual(len(hosts.addresses), len(addresses))

    @given(st.text(alphabet=st.sampled_from("aB1.:[]%@, \n\t=-_é"), max_size=30))
    @settings(max_examples=300)
    def test_any_text(self, text: str) -> None:
        """Any text is a list that survives a round trip, or refused."""
        try:
            hosts = HostList.parse(text)
        except InvalidHostList:
            return
        self.assertEqual(HostList.parse(str(hosts)), hosts)
