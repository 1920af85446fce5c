"""The fewest moves that bring every server's number of hosts within bounds.

Which hosts may move, and where each of them, is given: an agent goes where its list leads, or nowhere; a host without
an agent goes anywhere. What is asked for is a flow of least cost. Every host by which a server would stay out of its
bounds costs more than any chain of moves, so that the bounds come first, and then the number of moves. Of choices with
as many moves those are preferred that move agents, which belong where they go, and of these the one that leaves the
servers most even within their bounds, in steps. Successive shortest paths find it [Ahuja, Magnanti and Orlin, Network
Flows, 1993, section 9.7].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from attrs import define

Pairs: TypeAlias = Mapping[tuple[str, str], int]
"""How many hosts go from the first server to the second."""

_STEPS = 16
"""In which how full a server is counts between its bounds."""
_SOURCE = 0
_SINK = 1
_ANYWHERE = 2
"""Passed through by hosts that may go to any server."""


@define(eq=False)
class _Arc:
    """From one server to another, with the arc that takes back what flows here."""

    start: int
    end: int
    room: int
    cost: int
    reverse: _Arc | None = None

    @property
    def flow(self) -> int:
        """What the arc carries: as much as may be taken back."""
        return 0 if self.reverse is None else self.reverse.room


def least_moves(
    counts: Mapping[str, int],
    bounds: Mapping[str, tuple[int, int]],
    possible: Pairs,
    free: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Pairs, Pairs]:
    """Say how many hosts go from where to where: those that are led, and those that are free.

    Args:
        counts: hosts by server.
        bounds: by server, the least and the most hosts that it should have.
        possible: how many hosts are led from the first server to the second. All of these have counts and bounds.
        free: how many hosts of a server, others than those, may go to any other server.
    """
    node = {address: number for number, address in enumerate(counts, start=3)}
    network = _Network(len(node) + 3)
    # Each of these is worth more than all that may be had of the one before: a step, a free host that stays, a host
    # that stays, a host within bounds.
    stay_free = 2 * _STEPS * (sum(counts.values()) + 1)
    move = stay_free * (sum(free.values()) + 1)
    far = 2 * (len(node) + 1) * (move + stay_free)
    for address, count in counts.items():
        least, most = bounds[address]
        here = node[address]
        network.join(_SOURCE, here, max(0, count - most), -far)
        network.join(here, _SINK, max(0, least - count), -far)
        steps = [least + (most - least) * step // _STEPS for step in range(_STEPS + 1)]
        for step, (bottom, top) in enumerate(pairwise(steps)):
            # The fuller a server, the rather it is left, and the less it is chosen.
            network.join(_SOURCE, here, max(0, min(count, top) - bottom), _STEPS - 1 - step)
            network.join(here, _SINK, max(0, top - max(count, bottom)), step)
    moves = {pair: network.join(node[pair[0]], node[pair[1]], room, move) for pair, room in possible.items()}
    leave = {address: network.join(node[address], _ANYWHERE, room, move + stay_free) for address, room in free.items()}
    total = sum(free.values())
    arrive = {address: network.join(_ANYWHERE, here, total, 0) for address, here in node.items()} if total else {}
    while path := network.gainful_path():
        width = min(arc.room for arc in path)
        for arc in path:
            arc.room -= width
            assert arc.reverse is not None
            arc.reverse.room += width
    return {pair: arc.flow for pair, arc in moves.items() if arc.flow}, dict(_pairs(leave, arrive))


def _pairs(leave: Mapping[str, _Arc], arrive: Mapping[str, _Arc]) -> Iterator[tuple[tuple[str, str], int]]:
    """Who goes where of those that go anywhere. No server is left and reached: that would be two moves for one."""
    targets = deque((address, arc.flow) for address, arc in arrive.items() if arc.flow)
    for source, arc in leave.items():
        left = arc.flow
        while left:
            target, room = targets.popleft()
            number = min(left, room)
            yield (source, target), number
            left -= number
            if room > number:
                targets.appendleft((target, room - number))


class _Network:
    """What may still flow."""

    def __init__(self, size: int) -> None:
        self._from: list[list[_Arc]] = [[] for _ in range(size)]

    def join(self, start: int, end: int, room: int, cost: int) -> _Arc:
        """Add an arc."""
        arc, back = _Arc(start, end, room, cost), _Arc(end, start, 0, -cost)
        arc.reverse, back.reverse = back, arc
        self._from[start].append(arc)
        self._from[end].append(back)
        return arc

    def gainful_path(self) -> list[_Arc]:
        """The cheapest way from source to sink, if it costs less than nothing; otherwise none."""
        costs = {_SOURCE: 0}
        last: dict[int, _Arc] = {}
        changed = deque([_SOURCE])
        while changed:
            here = changed.popleft()
            for arc in self._from[here]:
                cost = costs[here] + arc.cost
                if arc.room and cost < costs.get(arc.end, cost + 1):
                    costs[arc.end], last[arc.end] = cost, arc
                    if arc.end not in changed:
                        changed.append(arc.end)
        if costs.get(_SINK, 0) >= 0:
            return []
        path = [last[_SINK]]
        while path[-1].start != _SOURCE:
            path.append(last[path[-1].start])
        return path
