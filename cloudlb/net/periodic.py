"""Work that is done again and again, whatever becomes of one turn of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.domain.ports import StoreUnavailable


class Periodic:
    """A LoopingCall that survives exceptions and can be given another interval at any time.

    A database that is away is one line in the log, and one more when it is back, however many turns find it so;
    everything else that a turn raises is a traceback.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, what: str, work: Callable[[], object]) -> None:
        """Prepare the work; nothing runs before :meth:`start`.

        Args:
            clock: tells the time.
            what: names the work in the log, as in "flush the pings".
            work: may return a Deferred or a coroutine; while that is under way, turns that fall due are left out.
        """
        self._clock = clock
        self._what = what
        self._work = work
        self._loop: LoopingCall | None = None
        self._under_way = False
        self._away = False
        """The database was, when a turn needed it last."""

    @property
    def interval(self) -> float | None:
        """Seconds between turns, None while stopped."""
        return self._loop.interval if self._loop else None

    def start(self, interval: float, now: bool = False) -> None:
        """Do the work every ``interval`` seconds (more than 0), from now on or from one interval on.

        Starting anew with another interval replaces the old one; with the same interval the rhythm is kept.
        """
        if interval <= 0:
            raise ValueError(f"cannot {self._what} every {interval} seconds")
        if interval == self.interval and not now:
            return
        self.stop()
        # A new loop each time: stopping and starting one of them inside its own turn would make it run twice.
        self._loop = LoopingCall(self._turn)
        self._loop.clock = self._clock
        self._loop.start(interval, now=now)

    def stop(self) -> None:
        """Begin no further turn. A turn under way goes on to its end."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()

    def _turn(self) -> None:
        if self._under_way:
            return
        self._under_way = True
        turn = maybeDeferred(self._work)
        # One that ends at once had nothing to do, and has not asked the database.
        turn.addCallbacks(self._done, self._failed, callbackArgs=(not turn.called,)).addBoth(self._ended)

    def _done(self, _: object, waited: bool) -> None:
        if self._away and waited:
            self._away = False
            self._log.info("Can again {what}", what=self._what)

    def _failed(self, failure: Failure) -> None:
        if failure.check(StoreUnavailable):  # type: ignore[no-untyped-call]  # Twisted has no types there
            if not self._away:
                self._log.warn("Cannot {what} for now: {reason}", what=self._what, reason=failure.getErrorMessage())
            self._away = True
        else:
            self._log.failure("Failed to {what}; the next turn comes as planned", failure, what=self._what)

    def _ended(self, _: object) -> None:
        self._under_way = False
