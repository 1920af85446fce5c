"""What Deferreds have come to that nothing waits for."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def result_of(deferred: Deferred[T]) -> T:
    """The result of what has ended already, or its failure raised."""
    results: list[T | Failure] = []
    deferred.addBoth(results.append)
    assert results, "it has not ended"
    if isinstance(result := results[0], Failure):
        result.raiseException()
    return result
