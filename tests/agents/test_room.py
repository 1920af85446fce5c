"""Who finds room for an admission, who has to wait, and until when."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from typing import cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.room import MAX_RETRY_AFTER, RETRY_AFTER, Room
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol
from tests.agents.server import FakeLink

LIMIT = 10
HERD = 1000
PACE = 0.02
"""Seconds of an admission."""


class RoomTests(SynchronousTestCase):
    """A small room."""

    def setUp(self) -> None:
        """Nobody is in it."""
        self.clock = Clock()
        self.room = Room(self.clock, HalfOpen(self.clock, 100, 100), LIMIT)
        self.let_in: list[str] = []

    def fill(self, *, known: bool = True) -> int:
        """Take all places that there are; return their number."""
        taken = 0
        while self.room.enter(known=known):
            taken += 1
        return taken

    def wait(self, name: str, *, known: bool) -> FakeLink:
        """Have an agent wait."""
        link = FakeLink()
        self.room.wait(cast("LinkProtocol", link), lambda: self.let_in.append(name), known=known)
        return link

    def leave(self, count: int = 1, *, after: float = 0.0) -> Sequence[str]:
        """Admissions end, one in so many seconds; who is let in for them."""
        self.let_in.clear()
        for _ in range(count):
            self.clock.advance(after)
            self.room.leave(served=True)
        return self.let_in

    def test_newcomers_have_half_of_the_room(self) -> None:
        """The other half is for those who were here before."""
        self.assertEqual(self.fill(known=False), LIMIT // 2)
        self.assertEqual(self.fill(known=True), LIMIT // 2)
        self.leave()
        self.assertFalse(self.room.enter(known=False))
        self.assertTrue(self.room.enter(known=True))

    def test_known_agents_first(self) -> None:
        """Whoever came first of those who wait; newcomers when the room is half empty."""
        self.fill()
        for name in ("new 1", "old 1", "new 2", "old 2"):
            self.wait(name, known=name.startswith("old"))
        self.assertEqual(self.leave(3), ["old 1", "old 2"])
        self.assertEqual(self.leave(LIMIT // 2 - 1), [])
        self.assertEqual(self.leave(2), ["new 1", "new 2"])

    def test_who_goes_is_forgotten(self) -> None:
        """Both kinds; and nothing is left on the clock."""
        self.fill()
        for known in (True, False):
            self.wait("gone", known=known).lose()
        self.assertEqual(self.leave(LIMIT), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def told(self, count: int = 1) -> list[int]:
        """What agents are told that find no room."""
        return [self.room.come_again() for _ in range(count)]

    def learn(self, seconds: float) -> None:
        """Have the room see that an admission takes so many seconds in a crowd."""
        for _ in range(20 * LIMIT):
            self.fill()
            self.leave(after=seconds)
        self.fill()

    def test_before_anything_was_seen(self) -> None:
        """A full room takes two seconds by experience of others, and longer by those that nothing happens in."""
        self.fill()
        self.assertEqual(self.told(), [3])
        self.clock.advance(7)
        self.assertEqual(self.told(), [10])

    def test_each_has_a_later_turn(self) -> None:
        """At the pace at which admissions have gone: as many are told a second as can be admitted in it."""
        self.learn(0.1)
        told = self.told(100)
        self.assertEqual(told, sorted(told))
        self.assertEqual((told[0], told[-1]), (2, 12))
        self.assertTrue(all(8 <= told.count(second) <= 12 for second in range(3, 11)), told)
        self.clock.advance(4)
        self.assertEqual(self.told(), [8])

    def test_those_who_wait_have_their_turn_before(self) -> None:
        """CloudStack's agents, which cannot be told."""
        self.learn(0.5)
        for number in range(4):
            self.wait(f"{number}", known=number % 2 == 0)
        self.assertEqual(self.told(), [8])

    def test_one_alone_tells_nothing(self) -> None:
        """It takes the database as long as many together."""
        room = Room(self.clock, HalfOpen(self.clock, 100, 100))
        for _ in range(5000):
            room.enter(known=True)
            self.clock.advance(0.05)
            room.leave(served=True)
        while room.enter(known=True):
            pass
        self.assertEqual(room.come_again(), 3)

    def test_turns_are_bounded(self) -> None:
        """However many come, and however slow the database is; and what was told is not held against later ones."""
        self.learn(10.0)
        self.assertEqual(set(self.told(5)), {MAX_RETRY_AFTER})
        self.learn(0.01)
        self.leave(LIMIT)
        self.clock.advance(MAX_RETRY_AFTER)
        self.fill()
        self.assertLessEqual(self.told()[0], 3)

    def test_no_database(self) -> None:
        """Nobody comes before it is tried again."""
        self.room.enter(known=True)
        self.room.leave(served=False)
        told = self.told(5)
        self.assertTrue(RETRY_AFTER <= told[0] <= RETRY_AFTER + 1, told)

    def test_a_herd_that_does_as_it_is_told(self) -> None:
        """Nobody keeps a place for those who were told, and yet the room is never empty long and few come in vain."""
        self.learn(PACE)
        self.leave(LIMIT)
        start, rng = self.clock.seconds(), random.Random(1)
        due = [(start, number) for number in range(HERD)]
        visits, inside = 0, 0
        while due or inside:
            while due and due[0][0] <= self.clock.seconds():
                _, number = heapq.heappop(due)
                visits += 1
                if self.room.enter(known=True):
                    inside += 1
                else:
                    told = self.room.come_again()
                    heapq.heappush(due, (self.clock.seconds() + rng.uniform(told, 2 * told), number))
            self.clock.advance(PACE)
            if inside:
                self.room.leave(served=True)
                inside -= 1
        self.assertLess(self.clock.seconds() - start, 2.5 * HERD * PACE)
        self.assertLess(visits, 3 * HERD)
