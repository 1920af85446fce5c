"""The bus between servers: a table that each of them reads on, from the newest message at its start.

Messages of this server take the same way as those of others, so that all servers see one order. A commit of our own
wakes the reading at once. So do those of others where the database tells of them; otherwise they are seen within
POLL_INTERVAL.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cloudlb.domain.models import Message
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

POLL_INTERVAL = 0.25
"""Seconds that a message of another server waits at most: 4 short reads a second on an idle server."""
TOLD_POLL_INTERVAL = 5.0
"""The same where the database tells of messages: for a connection that has gone and does not know it yet."""
RETENTION = 3600.0
"""Seconds that messages are kept: a server that was suspended for longer misses some."""
PRUNE_INTERVAL = 600.0

_AT_ONCE = 1000
"""Most messages of one read, which bounds how long their delivery holds up the reactor."""


class DatabaseBus:
    """Implements the port ``Bus``."""

    log = Logger()

    def __init__(self, store: Store, clock: IReactorTime, *, told: bool = False) -> None:
        """Prepare; nothing is delivered before :meth:`start`.

        Args:
            told: whether :meth:`wake` is called for the messages of other servers too.
        """
        self._store = store
        self._clock = clock
        self._told = told
        self._subscribers: defaultdict[str, list[Callable[[Mapping[str, Any]], object]]] = defaultdict(list)
        self._polls = Periodic(clock, "read the bus", lambda: Deferred.fromCoroutine(self._poll()))
        self._prunes = Periodic(clock, "prune the bus", lambda: Deferred.fromCoroutine(self._prune()))
        self._last: int | None = None
        """The newest message that was delivered, or was there before any was to be; None: nobody has looked yet."""
        self._running = False
        self._polling = False
        self._woken: IDelayedCall | None = None
        self._more = False
        self._outage = False
        self._read_until = 0.0
        """What was committed before this moment is delivered."""

    @property
    def lag(self) -> float:
        """Seconds for which others may have published what is not delivered here; 0 while the bus is not read."""
        return max(0.0, self._clock.seconds() - self._read_until) if self._running else 0.0

    def subscribe(self, topic: str, receive: Callable[[Mapping[str, Any]], object]) -> None:
        """Have ``receive`` called with each payload of a topic; what it raises is logged and stops nobody else."""
        self._subscribers[topic].append(receive)

    async def mark(self) -> None:
        """Have :meth:`start` deliver what is committed from now on.

        Raises:
            StoreUnavailable: nobody knows what has been committed so far.
        """
        self._last = await self._store.read(lambda txn: txn.bus.last_sequence())

    async def start(self) -> None:
        """Deliver what has been committed since :meth:`mark`, or is from now on.

        Raises:
            StoreUnavailable: nobody knows what has been committed so far.
        """
        self._read_until = self._clock.seconds()
        if self._last is None:
            await self.mark()
        self._running = True
        self._polls.start(TOLD_POLL_INTERVAL if self._told else POLL_INTERVAL)
        self._prunes.start(PRUNE_INTERVAL)
        # Nobody tells of what is there already.
        self.wake()

    def stop(self) -> None:
        """Deliver nothing more."""
        self._running = False
        self._polls.stop()
        self._prunes.stop()
        if self._woken is not None:
            self._woken.cancel()
            self._woken = None

    def wake(self) -> None:
        """Read soon, because something was published: not within the call, so that its caller may finish first."""
        if self._running and self._woken is None:
            self._woken = self._clock.callLater(0, self._wake)

    def _wake(self) -> None:
        self._woken = None
        spawn(self._poll(), self.log, "read the bus")

    async def _poll(self) -> None:
        self._more = True
        if self._polling:
            return
        self._polling = True
        try:
            while self._more and self._running:
                self._more = False
                await self._try()
        finally:
            self._polling = False

    async def _try(self) -> None:
        try:
            await self._read()
        except StoreUnavailable as error:
            # Who asked meanwhile may know that the database is back: that is read again.
            if not self._outage:
                self.log.warn("the bus cannot be read; messages wait until it can: {error}", error=error)
            self._outage = True

    async def _read(self) -> None:
        last, began = self._last, self._clock.seconds()
        assert last is not None, "the bus has not been started"
        was_away = self._outage

        def work(txn: Transaction) -> tuple[int, Sequence[Message]]:
            # A standby that took over meanwhile may lack the newest messages, and gives their numbers again.
            since = min(last, txn.bus.last_sequence()) if was_away else last
            return since, txn.bus.after(since, _AT_ONCE)

        self._last, messages = await self._store.read(work)
        if self._outage:
            self.log.info("the bus can be read again")
            self._outage = False
        all_of_them = len(messages) < _AT_ONCE
        self._more |= not all_of_them
        self._deliver(messages)
        if all_of_them:
            self._read_until = began

    def _deliver(self, messages: Sequence[Message]) -> None:
        for message in messages:
            # Stopped by a subscriber or meanwhile.
            if not self._running:
                return
            self._last = message.sequence
            for receive in list(self._subscribers.get(message.topic, ())):
                try:
                    receive(message.payload)
                except Exception:  # noqa: BLE001 - a subscriber's defect is its own
                    self.log.failure("a subscriber of {topic} failed", topic=message.topic)

    async def _prune(self) -> None:
        before = self._clock.seconds() - RETENTION
        await self._store.run(lambda txn: txn.bus.prune(before))
