"""Hosts: admission, the steps of their two tables, and the times they were last heard from.

A server writes a host's row only under the session that its own admission began, so a server that has lost a host, or
was away while another took it, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen
from sqlalchemy import bindparam, delete, insert, or_, select, update

from cloudlb.domain.disconnects import UNANNOUNCED
from cloudlb.domain.host_status import STATUS_TABLE, HostEvent, HostStatus
from cloudlb.domain.models import Host, HostId, OutOfBand, ServerId, Session, StatusChange, Transition
from cloudlb.domain.resource_state import RESOURCE_TABLE, ResourceEvent, ResourceState
from cloudlb.storage.admissions import HostAdmissions
from cloudlb.storage.database_time import database_time
from cloudlb.storage.schema import host, out_of_band
from cloudlb.storage.steps import TRANSITION, Step, step_event, update_all

_LOST = frozenset({HostStatus.DISCONNECTED, HostStatus.DOWN, HostStatus.ALERT})

_STANDING = (
    select(host.c.id, host.c.name, host.c.session, host.c.status, host.c.disconnected, host.c.looked_into)
    .where(host.c.id.in_(bindparam("ids", expanding=True)), host.c.removed.is_(None))
    # Locks rows in one order, so that no two servers wait for each other.
    .order_by(host.c.id)
    .with_for_update()
)
_STEP = (
    update(host)
    .where(
        host.c.id == bindparam("of_id"),
        host.c.session == bindparam("of_session"),
        host.c.status == bindparam("old_status"),
        host.c.removed.is_(None),
    )
    .values(
        status=bindparam("new_status"),
        disconnected=bindparam("new_disconnected"),
        looked_into=bindparam("new_looked_into"),
        changed=database_time(),
    )
)
_STATE_STEP = (
    update(host)
    .where(host.c.id == bindparam("of_id"), host.c.resource_state == bindparam("old_state"), host.c.removed.is_(None))
    .values(resource_state=bindparam("new_state"), changed=database_time())
)
_REMOVE = (
    update(host)
    .where(host.c.id == bindparam("of_id"), host.c.status == bindparam("old_status"), host.c.removed.is_(None))
    .values(
        status=HostStatus.REMOVED.value,
        removed=bindparam("now"),
        session=host.c.session + 1,
        changed=database_time(),
    )
)
_RESTORE = (
    update(host)
    .where(host.c.id == bindparam("of_id"), host.c.removed.is_not(None))
    .values(status=HostStatus.CREATING.value, removed=None, disconnected=None, changed=database_time())
)
_TOUCH = (
    update(host)
    .where(
        host.c.id == bindparam("of_id"),
        host.c.removed.is_(None),
        or_(host.c.last_heard.is_(None), host.c.last_heard < bindparam("heard")),
    )
    .values(last_heard=bindparam("heard"))
)
_LOOKED_INTO = (
    update(host)
    .where(host.c.id == bindparam("of_id"), host.c.looked_into < bindparam("at"))
    .values(looked_into=bindparam("at"))
)
_SET_TAGS = (
    update(host)
    .where(host.c.id == bindparam("of_id"))
    .values(tags=bindparam("new_tags", type_=host.c.tags.type), changed=database_time())
)
_ANNOTATE = (
    update(host)
    .where(host.c.id == bindparam("of_id"))
    .values(annotation=bindparam("new_annotation"), changed=database_time())
)
_BMC = select(out_of_band.c.address, out_of_band.c.username, out_of_band.c.password).where(
    out_of_band.c.host_id == bindparam("of_host")
)
_FORGET_BMC = delete(out_of_band).where(out_of_band.c.host_id == bindparam("of_host"))
_SET_BMC = insert(out_of_band)


@frozen
class _Standing:
    """What of a host a step of its status depends on."""

    name: str
    session: int
    status: HostStatus = field(converter=HostStatus)
    disconnected: float | None
    looked_into: float | None

    def after(self, change: StatusChange, now: float) -> _Standing | None:
        """What a change leads to; None if it is of another session, or cannot happen."""
        status = STATUS_TABLE.get((self.status, change.event))
        # A removal is more than a status, see remove().
        if status is None or status is HostStatus.REMOVED or change.session != self.session:
            return None
        lost = now if self.disconnected is None and status in _LOST else self.disconnected
        if status is HostStatus.UP:
            return evolve(self, status=status, disconnected=None, looked_into=None)
        return evolve(self, status=status, disconnected=lost, looked_into=self._looked_into(change.event, now))

    def _looked_into(self, event: HostEvent, now: float) -> float | None:
        if event in UNANNOUNCED:
            return now
        return None if event is HostEvent.SHUTDOWN_REQUESTED else self.looked_into


class HostTable(HostAdmissions):
    """Implements the port ``HostRows``."""

    def transition(self, changes: Sequence[StatusChange], now: float) -> list[Transition | None]:
        """Take steps of the status table: one read, one update and one insertion for all of them."""
        ids = list({change.host_id for change in changes})
        latest = {row[0]: _Standing(*row[1:]) for row in self._connection.execute(_STANDING, {"ids": ids})}
        results: list[Transition | None] = []
        rows, events = [], []
        for change in changes:
            before = latest.get(change.host_id)
            after = None if before is None else before.after(change, now)
            if before is None or after is None:
                results.append(None)
                continue
            results.append(Transition(change=change, name=before.name, before=before.status, after=after.status))
            if after.status is before.status:
                continue
            latest[change.host_id] = after
            guards = {"of_id": change.host_id, "of_session": before.session, "old_status": before.status.value}
            times = {"new_disconnected": after.disconnected, "new_looked_into": after.looked_into}
            rows.append({**guards, "new_status": after.status.value, **times})
            events.append(
                step_event(
                    TRANSITION,
                    change.host_id,
                    before.name,
                    (before.status, change.event, after.status),
                    change.reason,
                    server_id=change.server_id,
                    account_id=None,
                    now=now,
                    session=before.session,
                )
            )
        update_all(self._connection, _STEP, rows)
        self._events.add_all(events)
        return results

    def change_resource_state(
        self,
        host_id: HostId,
        event: ResourceEvent,
        *,
        server_id: ServerId,
        account_id: int | None,
        reason: str,
        now: float,
    ) -> ResourceState | None:
        """Take a step of the resource table."""
        known = self.get(host_id)
        if known is None or known.removed is not None:
            return None
        before = known.resource_state
        after = RESOURCE_TABLE.get((before, event))
        if after is None or after is before:
            return after
        update_all(
            self._connection,
            _STATE_STEP,
            [{"of_id": host_id, "old_state": before.value, "new_state": after.value}],
        )
        step = (before, event, after)
        self._tell("HOST.RESOURCESTATE.TRANSITION", known, step, reason, server_id, account_id, now)
        return after

    def remove(self, host_id: HostId, server_id: ServerId, account_id: int | None, now: float) -> bool:
        """Mark a host as removed."""
        known = self.get(host_id)
        if known is None or known.removed is not None:
            return False
        update_all(self._connection, _REMOVE, [{"of_id": host_id, "old_status": known.status.value, "now": now}])
        step = (known.status, HostEvent.REMOVE, HostStatus.REMOVED)
        self._tell("HOST.DELETE", known, step, "it was deleted", server_id, account_id, now, session=known.session)
        return True

    def restore(self, host_id: HostId, server_id: ServerId, account_id: int | None, now: float) -> bool:
        """Lift the tombstone of a host."""
        known = self.get(host_id)
        if known is None or known.removed is None:
            return False
        update_all(self._connection, _RESTORE, [{"of_id": host_id}])
        step, reason = (HostStatus.REMOVED, HostEvent.RESTORE, HostStatus.CREATING), "its agent may come back"
        self._tell("HOST.RESTORE", known, step, reason, server_id, account_id, now, session=known.session)
        return True

    def set_tags(self, host_id: HostId, tags: Sequence[str]) -> None:
        """Write what an operator says of a host."""
        self._connection.execute(_SET_TAGS, {"of_id": host_id, "new_tags": list(tags)})

    def annotate(self, host_id: HostId, annotation: str | None) -> None:
        """Write an operator's remark."""
        self._connection.execute(_ANNOTATE, {"of_id": host_id, "new_annotation": annotation})

    def touch(self, heard: Mapping[HostId, float]) -> None:
        """Stamp hosts, all with one statement."""
        if heard:
            self._connection.execute(_TOUCH, [{"of_id": host_id, "heard": at} for host_id, at in sorted(heard.items())])

    def looked_into(self, host_id: HostId, at: float) -> None:
        """Note a look into a host."""
        self._connection.execute(_LOOKED_INTO, {"of_id": host_id, "at": at})

    def out_of_band(self, host_id: HostId) -> OutOfBand | None:
        """A host's BMC."""
        row = self._connection.execute(_BMC, {"of_host": host_id}).first()
        return None if row is None else OutOfBand(address=row[0], username=row[1], password=row[2])

    def set_out_of_band(self, host_id: HostId, out_of_band: OutOfBand | None) -> None:
        """Write or forget a host's BMC."""
        self._connection.execute(_FORGET_BMC, {"of_host": host_id})
        if out_of_band is not None:
            values = {"address": out_of_band.address, "username": out_of_band.username}
            self._connection.execute(_SET_BMC, {"host_id": host_id, "password": out_of_band.password, **values})

    def _tell(
        self,
        event_type: str,
        known: Host,
        step: Step,
        reason: str,
        server_id: ServerId,
        account_id: int | None,
        now: float,
        *,
        session: Session | None = None,
    ) -> None:
        """Add the event of one host's step."""
        row = step_event(
            event_type,
            known.id,
            known.facts.name,
            step,
            reason,
            server_id=server_id,
            account_id=account_id,
            now=now,
            session=session,
        )
        self._events.add_all([row])
