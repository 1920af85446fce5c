"""Sessions that have ended, until the database has learned of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.statuses import Statuses
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, Transition
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

TURN = 0.5
"""Seconds between looks for what is due."""


@frozen
class Loss:
    """A host whose link is gone."""

    host: Host
    event: HostEvent
    reason: str
    due: float
    written: Callable[[Transition | None], None]
    """Told what came of it; None: another session has the host, or nobody."""


class Losses:
    """Writes each loss once it is due, as often as that takes."""

    log = Logger()

    def __init__(self, statuses: Statuses, clock: IReactorTime) -> None:
        self._statuses = statuses
        self._clock = clock
        self._losses: list[Loss] = []
        self._writing: Deferred[None] | None = None
        self._turns = Periodic(clock, "write lost hosts", self._write)

    def __len__(self) -> int:
        """How many are not written, but for those that are being written now."""
        return len(self._losses)

    def add(self, loss: Loss) -> None:
        """Take a loss."""
        self._losses.append(loss)
        if loss.due <= self._clock.seconds():
            self._write()

    def start(self) -> None:
        """Begin to write what is due."""
        self._turns.start(TURN)

    async def stop(self) -> None:
        """Write everything that is left, once."""
        self._turns.stop()
        while self._writing is not None:
            await _fired(self._writing)
        self._losses = [evolve(loss, due=self._clock.seconds()) for loss in self._losses]
        self._write()
        if self._writing is not None:
            await _fired(self._writing)
        if self._losses:
            self.log.error(
                "{count} hosts that lost their agents stay as they are in the database", count=len(self._losses)
            )

    def _write(self) -> None:
        """Write what is due, unless that is being done: it goes on until nothing more is due."""
        if self._writing is None and any(loss.due <= self._clock.seconds() for loss in self._losses):
            self._writing = spawn(self._write_due(), self.log, "write lost hosts")
            self._writing.addBoth(self._ended)

    def _ended(self, _: object) -> None:
        self._writing = None

    async def _write_due(self) -> None:
        while due := self._take_due():
            if unwritten := await self._write_some(due):
                # For the next turn.
                self._losses += unwritten
                return

    def _take_due(self) -> list[Loss]:
        now = self._clock.seconds()
        due = [loss for loss in self._losses if loss.due <= now]
        self._losses = [loss for loss in self._losses if loss.due > now]
        return due

    async def _write_some(self, losses: Sequence[Loss]) -> list[Loss]:
        """Write losses; those that the database did not take."""
        # Through the same batches as every step, behind what was written of these sessions before.
        writes = [self._statuses.change(loss.host, loss.event, loss.reason) for loss in losses]
        unwritten = []
        for loss, write in zip(losses, writes, strict=True):
            try:
                loss.written(await write)
            except StoreUnavailable:
                unwritten.append(loss)
            except Exception:  # noqa: BLE001 - whatever it is, the others are to be written
                self.log.failure("Failed to write that host {name} is lost", name=loss.host.facts.name)
        return unwritten


def _fired(deferred: Deferred[None]) -> Deferred[None]:
    """Wait for a Deferred that others have callbacks on, too."""
    waiter: Deferred[None] = Deferred()
    deferred.addBoth(lambda _: waiter.callback(None))
    return waiter
