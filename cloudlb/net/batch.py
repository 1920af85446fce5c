"""Many small writes as few larger ones, without making the first of them wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cloudlb.net.spawn import spawn

T = TypeVar("T")
R = TypeVar("R")


class Batch(Generic[T, R]):
    """Gathers items while one flush is under way, then flushes them together.

    An item that comes while nothing is under way is flushed at once, so an idle system adds no delay and a busy one
    forms batches by itself.
    """

    _log = Logger()

    def __init__(self, flush: Callable[[list[T]], Awaitable[Sequence[R]]], limit: int) -> None:
        """Prepare.

        Args:
            flush: takes items in the order in which they came and gives one result for each, in that order.
            limit: most items of one flush, at least 1.
        """
        if limit < 1:
            raise ValueError(f"a batch of at most {limit} items holds none")
        self._flush = flush
        self._limit = limit
        self._waiting: deque[tuple[T, Deferred[R]]] = deque()
        self._under_way = False

    def add(self, item: T) -> Deferred[R]:
        """Have an item flushed.

        Returns:
            Fires with the item's own result, or with the failure of its flush. Cancelled before its flush has begun,
            the item is left out.
        """
        waiter: Deferred[R] = Deferred()
        self._waiting.append((item, waiter))
        if not self._under_way:
            spawn(self._flush_all(), self._log, "flush a batch")
        return waiter

    async def _flush_all(self) -> None:
        self._under_way = True
        try:
            while taken := self._take():
                await self._flush_some(taken)
        finally:
            self._under_way = False

    def _take(self) -> list[tuple[T, Deferred[R]]]:
        taken: list[tuple[T, Deferred[R]]] = []
        while self._waiting and len(taken) < self._limit:
            item, waiter = self._waiting.popleft()
            if not waiter.called:
                taken.append((item, waiter))
        return taken

    async def _flush_some(self, taken: list[tuple[T, Deferred[R]]]) -> None:
        try:
            results = await self._flush([item for item, _ in taken])
            if len(results) != len(taken):
                raise RuntimeError(f"a flush of {len(taken)} items gave {len(results)} results")  # noqa: TRY301 - to the waiters
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who wait
            for _, waiter in taken:
                waiter.errback(error)
            return
        for (_, waiter), result in zip(taken, results, strict=True):
            waiter.callback(result)
