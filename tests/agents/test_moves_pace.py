"""How fast hosts leave a server, whenever it was that they were to go and however late its timers are."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.departures import MoveEnd, MoveReason
from cloudlb.agents.moves import Moves
from cloudlb.domain.host_list import HostList
from cloudlb.metrics.meters import Meters

AWAY = HostList(("10.0.0.2",))
ROUNDING = 1e-6
"""Seconds by which sums of times are off."""


class BusyClock(Clock):
    """A reactor that is busy with something else now and then, so that its timers are late."""

    def __init__(self, rng: random.Random, longest: float) -> None:
        super().__init__()
        self._rng, self._longest = rng, longest

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.rightNow + seconds
        while self.calls and self.calls[0].getTime() <= end:
            due = max(0.0, self.calls[0].getTime() - self.rightNow)
            late = self._rng.uniform(0, self._longest) if self._rng.random() < 0.3 else 0.0
            self.advance(due + late)
        self.advance(max(0.0, end - self.rightNow))


class PaceTests(SynchronousTestCase):
    """Moves alone."""

    @given(
        rate=st.sampled_from([1, 2, 5, 50, 200]),
        seed=st.integers(0, 10**6),
        longest=st.sampled_from([0.0, 0.005, 0.05, 0.3, 3.0]),
        bursts=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 100)), min_size=1, max_size=8),
    )
    @settings(max_examples=100, deadline=None)
    def test_no_second_has_more(self, rate: int, seed: int, longest: float, bursts: list[tuple[float, int]]) -> None:
        """In no second more leave than the rate says."""
        clock = BusyClock(random.Random(seed), longest)
        departed: list[float] = []

        async def depart(*_: object, **__: object) -> MoveEnd:
            departed.append(clock.seconds())
            return MoveEnd.MOVED

        moves = Moves(
            cast("Any", SimpleNamespace(subscribe=lambda *_: None)),
            cast("Any", SimpleNamespace(current=SimpleNamespace(move_rate=rate))),
            cast("Any", {}),
            cast("Any", SimpleNamespace(is_own=lambda address: False, avoid=lambda addresses: ())),
            cast("Any", SimpleNamespace(depart=depart)),
            clock,
            random.Random(seed),
            Meters(),
        )
        asked: list[Deferred[MoveEnd]] = []
        for pause, count in bursts:
            clock.run(pause)
            asked += [
                moves.move(cast("Any", _Attache(number + len(asked))), AWAY, reason=MoveReason.LIST, why="test")
                for number in range(count)
            ]
        while len(departed) < len(asked):
            clock.run(1)
        for begin, end in zip(departed, departed[rate:], strict=False):
            self.assertGreaterEqual(end - begin, 1 - ROUNDING)


class _Attache:
    """A host that goes wherever it is told."""

    owns_host = True

    def __init__(self, number: int) -> None:
        self.host = SimpleNamespace(id=number, facts=SimpleNamespace(name=f"host-{number}"))
