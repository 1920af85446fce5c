"""Time that passes from event to event."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

START = 1_800_000_000.0
"""A time of day that a server could really see, so that nothing passes because time is near 0."""

_FEW = 100
"""Calls that were cancelled and need not be looked for."""


class Timers:
    """Calls in the order in which they are due, and of those due at one time in that in which they were asked for."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._numbers = count()
        self._cancelled = 0

    def add(
        self,
        delay: float,
        function: Callable[..., object],
        args: tuple[object, ...] = (),
        kw: dict[str, object] | None = None,
        brought_forward: Callable[[], None] = lambda: None,
    ) -> DelayedCall:
        """Plan a call; ``brought_forward`` is called when it is reset to an earlier time."""

        def push(call: DelayedCall) -> None:
            heappush(self._heap, (call.time, next(self._numbers), call))
            brought_forward()

        call = DelayedCall(self._seconds() + delay, function, args, kw or {}, self._cancel, push, self._seconds)
        heappush(self._heap, (call.time, next(self._numbers), call))
        return call

    def next_time(self) -> float | None:
        """When the next call is due."""
        heap = self._heap
        while heap:
            planned, _, call = heap[0]
            if call.cancelled or call.called or planned != call.time:
                # The last: it was brought forward, and is in the heap a second time.
                heappop(heap)
            elif call.delayed_time:
                heappop(heap)
                call.activate_delay()
                heappush(heap, (call.time, next(self._numbers), call))
            else:
                return planned
        return None

    def pop(self) -> DelayedCall:
        """The call that :meth:`next_time` told of; it counts as made."""
        call = heappop(self._heap)[2]
        call.called = 1
        return call

    def pending(self) -> list[DelayedCall]:
        """Calls that are neither made nor cancelled."""
        calls = {id(call): call for _, _, call in sorted(self._heap, key=lambda entry: entry[:2]) if call.active()}
        return list(calls.values())

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()

    def _cancel(self, call: DelayedCall) -> None:
        self._cancelled += 1
        if self._cancelled > max(_FEW, len(self._heap) // 2):
            self._cancelled = 0
            self._heap = [entry for entry in self._heap if entry[2].active() and entry[2] is not call]
            heapify(self._heap)


class VirtualClock(Clock):
    """A task.Clock on which every call sees the time it was planned for, however far one advances."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = START
        self._timers = Timers(self.seconds)

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002, N802
        """See IReactorTime."""
        return self._timers.add(delay, callable, args, kw)

    def getDelayedCalls(self) -> list[IDelayedCall]:  # noqa: N802
        """See IReactorTime."""
        return list(self._timers.pending())

    def advance(self, amount: float) -> None:
        """Pass time, running everything due at its own time."""
        end = self.rightNow + amount
        while (time := self._timers.next_time()) is not None and time <= end:
            self.rightNow = max(time, self.rightNow)
            call = self._timers.pop()
            call.func(*call.args, **call.kw)
        self.rightNow = end
