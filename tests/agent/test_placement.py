"""What a server says about where the agent should be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from agent.placement import Placement, read_placement
from cloudlb.domain.host_list import HostList, InvalidHostList


class PlacementTests(SynchronousTestCase):
    """What is taken, and what is not."""

    def test_taken(self) -> None:
        """Addresses are normalized; what is avoided and is no address is left out; what is not said stays open."""
        self.assertEqual(
            read_placement(["A.example", "[::1]"], "roundrobin", 5, ["B.example", "no address!"]),
            Placement(hosts=HostList(("a.example", "::1"), "roundrobin"), check_interval=5, avoid=("b.example",)),
        )
        self.assertEqual(read_placement(["a"], None, None, []), Placement(hosts=HostList(("a",)), avoid=()))
        self.assertEqual(read_placement(None, None, None, None), Placement())

    def test_refused(self) -> None:
        """An address or an algorithm that would read otherwise from the file than it was sent is refused, in short."""
        for servers, algorithm in (
            ([], "static"),
            (["a", ""], "static"),
            (["a", "a"], "static"),
            (["a", "A."], "static"),
            (["a,b"], "static"),
            (["a", "b@evil"], "static"),
            (["a\nhost=b"], "static"),
            (["a"], "x" * 65),
            (["a"], "x" * 300_000),
            (["a"], "no such"),
            (["a"], "static\nhost=b"),
            (["a"], "st\u00e4tic"),
            (["a"], "b@static"),
        ):
            with self.subTest(servers=servers, algorithm=algorithm[:70]):
                error = self.assertRaises(InvalidHostList, read_placement, servers, algorithm, None, None)
                self.assertLess(len(str(error)), 300)

    @given(st.lists(st.text(st.sampled_from("a.:@, \n")), max_size=4), st.text(st.sampled_from("a._-@, \n")))
    def test_reads_back(self, servers: list[str], algorithm: str) -> None:
        """What is taken reads back from the file as it was taken."""
        try:
            hosts = read_placement(servers, algorithm, None, None).hosts
        except InvalidHostList:
            return
        assert hosts is not None
        self.assertEqual(len(hosts.addresses), len(servers))
        self.assertEqual(HostList.parse(str(hosts)), hosts)
