"""Steps of hosts' statuses as this server writes them: many in one transaction, each with the alert it calls for."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, ServerId, StatusChange, Transition
from cloudlb.domain.ports import Store, Transaction
from cloudlb.domain.records import AlertType
from cloudlb.net.batch import Batch

_BATCH = 200
"""Most steps in one transaction: tens of milliseconds of the writer's time."""
_ALERTS = {
    HostStatus.DOWN: "went down",
    HostStatus.ALERT: "went into alert: its agent had not come back in time",
}
"""What happened, and not what is: an alert stands until it is archived, whatever becomes of the host."""


class Statuses:
    """Takes steps of the status table for the sessions that they concern, in the order in which they are asked for."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._changes: Batch[StatusChange, Transition | None] = Batch(self._write, _BATCH)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""

    def change(self, host: Host, event: HostEvent, reason: str) -> Deferred[Transition | None]:
        """Take a step if the host's session is still its latest; None if it is not, or the table has no such step."""
        return self._changes.add(
            StatusChange(host_id=host.id, session=host.session, event=event, server_id=self.server_id, reason=reason)
        )

    async def _write(self, changes: list[StatusChange]) -> Sequence[Transition | None]:
        now = self._clock.seconds()
        return await self._store.run(lambda txn: write_changes(txn, changes, now))


def write_changes(txn: Transaction, changes: Sequence[StatusChange], now: float) -> list[Transition | None]:
    """Take steps, and raise the alerts of hosts that become Down or Alert by them."""
    transitions = txn.hosts.transition(changes, now)
    for transition in transitions:
        if transition is not None and transition.after is not transition.before and transition.after in _ALERTS:
            subject = f"host {transition.name} {_ALERTS[transition.after]}"
            txn.alerts.send(AlertType.HOST, subject, host_id=transition.change.host_id, now=now)
    return transitions
