"""The walk over the list."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from agent.hosts import AVOID_SECONDS, SETTLED_SECONDS, Hosts
from cloudlb.domain.host_list import MAX_ADDRESSES, HostList

ABC = HostList(("a", "b", "c"), "static")
EVENTS = st.sampled_from(["next", "worked", "lost", "lost soon", "avoid", "replace", "refused", "busy"])


def walk(hosts: Hosts, steps: int, now: float = 0) -> str:
    """The next servers; a pause shows as a dot."""
    taken = [hosts.next(now) for _ in range(steps)]
    return "".join(("." if step.delay else "") + step.address for step in taken)


class HostsTests(SynchronousTestCase):
    """Order and pauses."""

    def hosts(self, hosts: HostList = ABC, seen: str = "") -> Hosts:
        """A walk that begins."""
        return Hosts(hosts, random.Random(1), base=5, bound=60, seen=seen)

    def test_in_order(self) -> None:
        """The first pass has no pauses; each further one begins with one."""
        self.assertEqual(walk(self.hosts(), 9), "abc.abc.abc")

    def test_behind_the_lost_one(self) -> None:
        """After a loss the walk goes on behind the lost server, and the next pass begins at the head."""
        for lost, order in (("a", "bca.abc"), ("b", "cab.abc"), ("c", "abc.abc")):
            hosts = self.hosts()
            hosts.worked(lost)
            hosts.lost(lost, SETTLED_SECONDS)
            self.assertEqual(walk(hosts, 6), order)

    def test_lost_soon(self) -> None:
        """A server that drops us at once is passed, and a list of such servers is not raced around."""
        hosts = self.hosts()
        for address in "abc":
            self.assertEqual(walk(hosts, 1), address)
            hosts.worked(address)
            hosts.lost(address, 0.1)
        self.assertEqual(walk(hosts, 4), ".abc.a")

    def test_only_one_and_lost_soon(self) -> None:
        """A single server that drops us is asked again after a pause."""
        hosts = self.hosts(HostList(("a",)))
        self.assertEqual(walk(hosts, 1), "a")
        hosts.worked("a")
        hosts.lost("a", 0)
        self.assertEqual(walk(hosts, 2), ".a.a")

    def test_avoided(self) -> None:
        """Avoided servers come last, as long as the hint is fresh."""
        hosts = self.hosts()
        hosts.avoid(["a", "b"], 0)
        self.assertEqual(walk(hosts, 3), "cab")
        self.assertEqual(walk(hosts, 3, AVOID_SECONDS), ".abc")

    def test_avoided_in_the_middle(self) -> None:
        """A pass that has begun comes to them after the others, and last to a server of an earlier list."""
        hosts = self.hosts(HostList(tuple("abcd")), seen="zabcd")
        self.assertEqual(walk(hosts, 1), "a")
        hosts.avoid(["a", "b"], 0)
        self.assertEqual(walk(hosts, 5), "cdbz.c")

    def test_all_avoided(self) -> None:
        """When nothing else is left, avoided servers are tried."""
        hosts = self.hosts()
        hosts.avoid("abc", 0)
        self.assertEqual(walk(hosts, 4), "abc.a")

    def test_hint_withdrawn(self) -> None:
        """The latest word counts."""
        hosts = self.hosts()
        hosts.avoid(["a"], 0)
        hosts.avoid([], 1)
        self.assertEqual(walk(hosts, 3, 1), "abc")

    def test_earlier_servers(self) -> None:
        """When a new list fails in full, those of the lists before are tried, one in a pass, and first who sent it."""
        hosts = self.hosts()
        hosts.worked("b")
        hosts.replace(HostList(("x", "y")), "b")
        hosts.lost("b", 100)
        self.assertEqual(walk(hosts, 15), "xyb.xya.xyc.xyb.xya")

    def test_worked_meanwhile(self) -> None:
        """That a server of the new list worked does not have the others forgotten."""
        hosts = self.hosts()
        hosts.replace(HostList(("b",)), "a")
        hosts.worked("b")
        hosts.lost("b", 100)
        self.assertEqual(walk(hosts, 6), "ba.bc.ba")

    def test_worked_beside_the_list(self) -> None:
        """A server that is in no list, and worked, is the first of them."""
        hosts = self.hosts()
        hosts.worked("z")
        self.assertEqual(walk(hosts, 5), "abcz.a")

    def test_earlier_servers_of_an_earlier_run(self) -> None:
        """They are remembered over a restart, but not if somebody else has written the list."""
        before = self.hosts()
        before.replace(HostList(("b", "d")), "a")
        self.assertEqual(before.seen, tuple("abdc"))
        self.assertEqual(walk(self.hosts(before.current, "".join(before.seen)), 7), "bda.bdc.b")
        self.assertEqual(walk(self.hosts(HostList(("b", "x")), "".join(before.seen)), 4), "bx.bx")

    def test_many_servers(self) -> None:
        """What is kept has an end, and the latest stay."""
        hosts = self.hosts()
        for number in range(1000):
            hosts.replace(HostList((f"{number}", "b")), "a")
        self.assertEqual(len(hosts.seen), MAX_ADDRESSES)
        self.assertEqual(hosts.seen[:4], ("a", "999", "b", "998"))

    def test_new_list(self) -> None:
        """A new list is walked from its head without pauses; the same list changes nothing."""
        hosts = self.hosts()
        self.assertEqual(walk(hosts, 4), "abc.a")
        hosts.replace(HostList(("a", "b", "c"), "static"), "a")
        self.assertEqual(walk(hosts, 1), "b")
        hosts.replace(HostList(("c", "a"), "static"), "a")
        self.assertEqual(walk(hosts, 4), "cab.c")

    def test_again(self) -> None:
        """A server can be tried once more before the others."""
        hosts = self.hosts()
        self.assertEqual(walk(hosts, 1), "a")
        hosts.again("a")
        self.assertEqual(walk(hosts, 3), "abc")

    def test_refused(self) -> None:
        """After a refusal the next server waits long."""
        hosts = self.hosts()
        hosts.next(0)
        hosts.refused()
        step = hosts.next(0)
        self.assertEqual(step.address, "b")
        self.assertTrue(30 <= step.delay <= 60)
        self.assertEqual(hosts.next(0).delay, 0)

    def test_busy(self) -> None:
        """After a server without room the others are tried at once, and all again no sooner than it said."""
        hosts = self.hosts()
        self.assertEqual(walk(hosts, 1), "a")
        hosts.busy(20)
        self.assertEqual(walk(hosts, 2), "bc")
        step = hosts.next(0)
        self.assertEqual(step.address, "a")
        self.assertTrue(20 <= step.delay <= 40, step)
        self.assertEqual(walk(hosts, 2), "bc")
        for seconds, least, most in ((10**9, 30, 60), (-5, 0, 10)):
            hosts.busy(seconds)
            step = hosts.next(0)
            self.assertTrue(least <= step.delay <= most, step)
            self.assertEqual(walk(hosts, 2), "bc")

    def test_known(self) -> None:
        """Servers that one without room has named come after those of the list, in any order, unless to be avoided."""
        seen = set()
        for seed in range(20):
            hosts = Hosts(HostList(("a", "b")), random.Random(seed), base=5, bound=60, seen="zab")
            self.assertEqual(walk(hosts, 1), "a")
            hosts.know(["b", "d", "c", "e"])
            hosts.avoid(["e"], 0)
            self.assertEqual(walk(hosts, 2), "bz")
            self.assertEqual(walk(hosts, 2), ".ab")
            seen.add(walk(hosts, 3))
        self.assertEqual({"cdz", "dcz"}, seen)

    def test_pauses_grow(self) -> None:
        """The upper end of the pauses doubles up to the bound."""
        highest = [0.0] * 12
        for seed in range(300):
            hosts = Hosts(HostList(("a",)), random.Random(seed), base=5, bound=60)
            for turn in range(12):
                highest[turn] = max(highest[turn], hosts.next(0).delay)
        for turn, bound in enumerate([0, 5, 10, 20, 40] + [60] * 7):
            self.assertLessEqual(highest[turn], bound)
            self.assertGreaterEqual(highest[turn], bound * 0.9)

    def test_month(self) -> None:
        """A walk of thousands of passes stays within its bound."""
        hosts = Hosts(HostList(("a",)), random.Random(1), base=5, bound=60)
        self.assertLessEqual(max(hosts.next(0).delay for _ in range(5000)), 60)

    def test_better(self) -> None:
        """Better than a server is what stands before it in the list and is not avoided."""
        hosts = self.hosts()
        self.assertEqual(hosts.better_than("a", 0), ())
        self.assertEqual(hosts.better_than("c", 0), ("a", "b"))
        self.assertEqual(hosts.better_than("z", 0), ("a", "b", "c"))
        hosts.avoid(["a"], 0)
        self.assertEqual(hosts.better_than("c", 0), ("b",))
        self.assertEqual(hosts.better_than("c", AVOID_SECONDS), ("a", "b"))

    def test_others(self) -> None:
        """Where to go when told to leave."""
        hosts = self.hosts()
        hosts.avoid(["a", "b"], 0)
        self.assertEqual(hosts.others("b", 0), ("c",))

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(EVENTS, st.text("abcdefg", min_size=1, max_size=4)), max_size=30))
    def test_any_history(self, history: list[tuple[str, str]]) -> None:
        """Whatever happened, each pass names every server of the list, pauses are bounded, one pause per pass."""
        hosts = self.hosts()
        for event, names in history:
            match event:
                case "next":
                    hosts.next(0)
                case "worked":
                    hosts.worked(names[0])
                case "lost":
                    hosts.lost(names[0], 100)
                case "lost soon":
                    hosts.lost(names[0], 1)
                case "avoid":
                    hosts.avoid(names, 0)
                case "replace":
                    hosts.replace(HostList(tuple(dict.fromkeys(names))), names[0])
                case "refused":
                    hosts.refused()
                case "busy":
                    hosts.busy(20)
        steps = [hosts.next(0) for _ in range(16)]
        self.assertLessEqual(set(hosts.current.addresses), {step.address for step in steps})
        self.assertTrue(all(0 <= step.delay <= 60 for step in steps))
        self.assertLessEqual(sum(step.delay > 0 for step in steps), 16 // len(hosts.current.addresses) + 2)
