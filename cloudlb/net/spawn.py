"""The edge between Twisted's callbacks and coroutines."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure


def spawn(coroutine: Coroutine[Deferred[Any], Any, object], log: Logger, what: str) -> Deferred[None]:
    """Run a coroutine that nobody awaits.

    Args:
        coroutine: runs at once, up to its first await of something that is not there yet.
        log: where a failure goes.
        what: names the work in the log, as in "flush the pings".

    Returns:
        Fires when the coroutine has ended, never with a failure. Cancelling it cancels the coroutine, without a line in
        the log.
    """

    def failed(failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            log.failure("Failed to {what}", failure, what=what)

    return Deferred.fromCoroutine(coroutine).addCallbacks(lambda _: None, failed)
