"""Threads of a resource that are none: for worlds in which everything happens on one clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

T = TypeVar("T")


class InlineThreads:
    """Runs work at once."""

    stopped = False

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Run it now."""
        assert not self.stopped
        return maybeDeferred(work)

    def stop(self) -> None:
        """Take no more."""
        self.stopped = True
