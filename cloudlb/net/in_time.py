"""Work for the database that is worth only so much waiting."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from cloudlb.domain.ports import StoreUnavailable

T = TypeVar("T")


def in_time(work: Coroutine[Deferred[Any], Any, T], seconds: float, clock: IReactorTime) -> Deferred[T]:
    """Give up some work after so many seconds; it may be done all the same.

    Returns:
        What comes of it; a StoreUnavailable when its time is over.
    """

    def over(result: T | Failure, seconds: float) -> T:
        if isinstance(result, Failure):
            raise StoreUnavailable(f"no answer within {seconds:g} s") from None
        return result

    return Deferred.fromCoroutine(work).addTimeout(seconds, clock, over)
