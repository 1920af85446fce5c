"""Requests under way on one link: which answer belongs to whom, and who has waited too long.

Sequences only count up. They do not wrap around: the last of a server's possible ranges still has room for 2**48
requests before the 63 bits end, which is nine years of a million requests a second on one link.
"""

from __future__ import annotations

import random
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

W = TypeVar("W")

_STALE = 64
"""Deadlines of answered requests that may be kept whatever the number of those under way."""


class Exchange(Generic[W]):
    """Waiters by sequence. Each comes out once: by its answer, its deadline or the loss of the link.

    Deadlines lie in a heap. That of an answered request stays there until it is on top or most of the heap is such, so
    that a request costs O(log n) and the heap never grows beyond twice the requests under way, and a constant.
    """

    __slots__ = ("_deadlines", "_next_sequence", "_waiters")

    def __init__(self, first_sequence: int) -> None:
        self._next_sequence = first_sequence
        self._waiters: dict[int, W] = {}
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        """Return how many requests are under way."""
        return len(self._waiters)

    def __contains__(self, sequence: int) -> bool:
        """Return whether somebody waits for the answer to this request."""
        return sequence in self._waiters

    def open(self, waiter: W, deadline: float) -> int:
        """Return the sequence to send a request with. Its waiter is handed out again by one of the other methods."""
        sequence = self._next_sequence
        self._next_sequence += 1
        self._waiters[sequence] = waiter
        if len(self._deadlines) > 2 * len(self._waiters) + _STALE:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._waiters]
            heapify(self._deadlines)
        heappush(self._deadlines, (deadline, sequence))
        return sequence

    def get(self, sequence: int) -> W | None:
        """Return who waits for the answer to this request, and goes on waiting; None if nobody does."""
        return self._waiters.get(sequence)

    def close(self, sequence: int) -> W | None:
        """Return who waits for the answer that came; None if nobody does: it is late, repeated or forged."""
        return self._waiters.pop(sequence, None)

    def expire(self, now: float) -> list[W]:
        """Return those whose deadline is not after ``now``, the earliest first."""
        expired: list[W] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            _, sequence = heappop(deadlines)
            if sequence in self._waiters:
                expired.append(self._waiters.pop(sequence))
        return expired

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of those under way, None if there is none."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in self._waiters:
            heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def drain(self) -> list[W]:
        """Return all, in the order of their sequences: the link is lost."""
        waiters = list(self._waiters.values())
        self._waiters.clear()
        self._deadlines.clear()
        return waiters


def attache_sequence(rng: random.Random) -> int:
    """Return a server's first sequence on a link: 15 random bits, so that those of two sessions never meet.

    [AgentAttache: a random number shifted left by 48 bits]
    """
    return rng.getrandbits(15) << 48
