"""A set in the order of its additions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.in_order import InOrder


class InOrderTests(SynchronousTestCase):
    """It is a set, and has an order."""

    def test_order(self) -> None:
        """Members come in the order in which they were added; one that was there keeps its place."""
        members = InOrder[str]()
        for each in ("c", "a", "b", "a"):
            members.add(each)
        self.assertEqual(["c", "a", "b"], list(members))
        members.discard("c")
        members.discard("c")
        members.add("c")
        self.assertEqual(["a", "b", "c"], list(members))
        self.assertEqual((3, True, False), (len(members), "a" in members, "d" in members))
