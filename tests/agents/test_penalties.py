"""How long refused agents that come again without pause are made to wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.penalties import FORGIVEN_AFTER, FREE, MAX_COUNT, MAX_DELAY, Penalties

NOW = 1_000_000.0

KEYS = st.sampled_from(["guid-1", "guid-2", "127.0.0.1", "::1", "", "\ud800"])
REFUSALS = st.lists(st.tuples(KEYS, st.floats(min_value=0, max_value=400)), max_size=60)
"""Who is refused, and how long after the one before."""


class TestPenalties(SynchronousTestCase):
    def setUp(self) -> None:
        self.penalties = Penalties()

    def refuse(self, key: str, times: int, now: float = NOW) -> None:
        for _ in range(times):
            self.penalties.count(key, now)

    def test_a_stranger_waits_for_nothing(self) -> None:
        self.assertEqual(self.penalties.delay("guid-1", NOW), 0)

    def test_the_first_refusals_cost_nothing_and_then_the_delay_doubles_up_to_the_cap(self) -> None:
        delays = []
        for _ in range(12):
            self.penalties.count("guid-1", NOW)
            delays.append(self.penalties.delay("guid-1", NOW))
        self.assertEqual(delays, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_who_retries_as_soon_as_the_delay_is_over_stays_slow(self) -> None:
        now = NOW
        for _ in range(100):
            self.penalties.count("guid-1", now)
            now += self.penalties.delay("guid-1", now)
        self.assertGreater(self.penalties.delay("guid-1", now), MAX_DELAY / 4)

    def test_who_comes_once_in_a_while_never_waits(self) -> None:
        for number in range(100):
            self.penalties.count("guid-1", NOW + number * FORGIVEN_AFTER)
            self.assertEqual(self.penalties.delay("guid-1", NOW + number * FORGIVEN_AFTER), 0)

    def test_time_forgives_any_past(self) -> None:
        self.refuse("guid-1", 1000)
        self.assertEqual(self.penalties.delay("guid-1", NOW + (MAX_COUNT - FREE) * FORGIVEN_AFTER), 0)

    def test_others_are_not_touched(self) -> None:
        self.refuse("guid-1", 10)
        self.assertEqual(self.penalties.delay("guid-2", NOW), 0)

    def test_memory_is_bounded_and_the_one_refused_longest_ago_goes_first(self) -> None:
        penalties = Penalties(max_keys=3)
        for key in ("a", "b", "c", "d"):
            for _ in range(5):
                penalties.count(key, NOW)
        penalties.count("b", NOW)
        penalties.count("e", NOW)
        self.assertEqual(len(penalties), 3)
        waiting = [key for key in "abcd" if penalties.delay(key, NOW) > 0]
        self.assertEqual(waiting, ["b", "d"])

    def test_an_attacker_with_ever_new_guids_still_waits_by_the_address(self) -> None:
        penalties = Penalties(max_keys=10)
        for number in range(1000):
            penalties.count(f"guid-{number}", NOW)
            penalties.count("192.0.2.1", NOW)
        self.assertEqual(penalties.delay("192.0.2.1", NOW), MAX_DELAY)

    def test_a_key_of_any_length_takes_the_same_memory(self) -> None:
        self.penalties.count("x" * 10_000_000, NOW)
        (kept,) = self.penalties._records
        self.assertEqual(len(kept), 16)

    def test_who_is_forgiven_is_forgotten(self) -> None:
        for number in range(100):
            self.penalties.count(f"guid-{number}", NOW)
        self.penalties.count("another", NOW + FORGIVEN_AFTER)
        self.assertEqual(len(self.penalties), 1)

    def test_a_clock_set_back_neither_forgives_nor_punishes(self) -> None:
        self.refuse("guid-1", 6)
        self.assertEqual(self.penalties.delay("guid-1", NOW - 3600), self.penalties.delay("guid-1", NOW))

    @given(REFUSALS, st.integers(min_value=1, max_value=4))
    def test_whatever_comes_the_delay_and_the_memory_stay_within_bounds(
        self, refusals: list[tuple[str, float]], max_keys: int
    ) -> None:
        penalties, now = Penalties(max_keys), NOW
        for key, pause in refusals:
            now += pause
            before = penalties.delay(key, now)
            penalties.count(key, now)
            self.assertLessEqual(len(penalties), max_keys)
            self.assertGreaterEqual(penalties.delay(key, now), before)
            self.assertLessEqual(penalties.delay(key, now), MAX_DELAY)

    @given(REFUSALS, KEYS, st.floats(min_value=0, max_value=1000), st.floats(min_value=0, max_value=1000))
    def test_time_only_forgives(self, refusals: list[tuple[str, float]], key: str, early: float, late: float) -> None:
        penalties, now = Penalties(), NOW
        for refused, pause in refusals:
            now += pause
            penalties.count(refused, now)
        self.assertGreaterEqual(penalties.delay(key, now + early), penalties.delay(key, now + early + late))

    @given(REFUSALS)
    def test_what_befalls_one_key_does_not_depend_on_the_others(self, refusals: list[tuple[str, float]]) -> None:
        together, alone, now = Penalties(), Penalties(), NOW
        for key, pause in refusals:
            now += pause
            together.count(key, now)
            if key == "guid-1":
                alone.count(key, now)
        self.assertAlmostEqual(together.delay("guid-1", now), alone.delay("guid-1", now))
