"""The fewest moves that bring every server's number of agents within bounds.

Which agents may move, and where each of them, is given: an agent goes where its list leads, or nowhere. What is asked
for is a flow of least cost: every move costs 1, and every agent by which a server would stay out of its bounds costs
more than any chain of moves, so that the bounds come first. Successive shortest paths find it [Ahuja, Magnanti and
Orlin, Network Flows, 1993, section 9.7].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from attrs import define

_SOURCE = 0
_SINK = 1


@define(eq=False)
class _Arc:
    """From one server to another, with the arc that takes back what flows here."""

    start: int
    end: int
    room: int
    cost: int
    reverse: _Arc | None = None


def least_moves(
    counts: Mapping[str, int], bounds: Mapping[str, tuple[int, int]], possible: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], int]:
    """Say how many agents go from where to where.

    Args:
        counts: agents by server.
        bounds: by server, the least and the most agents that it should have.
        possible: how many agents may go from the first server to the second. All of these have counts and bounds.
    """
    node = {address: number for number, address in enumerate(counts, start=2)}
    network = _Network(len(node) + 2)
    far = len(node) + 1
    for address, count in counts.items():
        least, most = bounds[address]
        here = node[address]
        network.join(_SOURCE, here, max(0, count - most), -far)
        network.join(_SOURCE, here, max(0, min(count, most) - least), 0)
        network.join(here, _SINK, max(0, least - count), -far)
        network.join(here, _SINK, max(0, most - max(count, least)), 0)
    moves = {pair: network.join(node[pair[0]], node[pair[1]], room, 1) for pair, room in possible.items()}
    while path := network.gainful_path():
        width = min(arc.room for arc in path)
        for arc in path:
            arc.room -= width
            assert arc.reverse is not None
            arc.reverse.room += width
    left = {pair: arc.room for pair, arc in moves.items()}
    return {pair: room - left[pair] for pair, room in possible.items() if room > left[pair]}


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
