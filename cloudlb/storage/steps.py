"""Steps of hosts through their two tables, as event rows and guarded updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Update

from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.records import Level
from cloudlb.domain.resource_state import ResourceEvent, ResourceState

TRANSITION = "HOST.STATUS.TRANSITION"
"""The type of the events of a host's status."""

Step: TypeAlias = tuple[HostStatus, HostEvent, HostStatus] | tuple[ResourceState, ResourceEvent, ResourceState]
"""From where, by what, to where."""

_LEVELS = {
    HostStatus.DISCONNECTED: Level.WARN,
    HostStatus.ALERT: Level.ERROR,
    HostStatus.DOWN: Level.ERROR,
    HostStatus.ERROR: Level.ERROR,
}


def step_event(
    event_type: str,
    host_id: HostId,
    name: str,
    step: Step,
    reason: str,
    *,
    server_id: ServerId,
    account_id: int | None,
    now: float,
    session: int | None = None,
) -> Mapping[str, Any]:
    """The event row of a step: who, from, to, why, and on which server."""
    before, cause, after = step
    details = {"from": before.value, "to": after.value, "event": cause.value}
    return {
        "type": event_type,
        "level": (_LEVELS.get(after, Level.INFO) if isinstance(after, HostStatus) else Level.INFO).value,
        "description": f"host {name} went from {before.value} to {after.value} ({cause.value}): {reason}",
        "created": now,
        "account_id": account_id,
        "server_id": server_id,
        "host_id": host_id,
        "details": details if session is None else {**details, "session": str(session)},
    }


def update_all(connection: Connection, statement: Update, rows: Sequence[Mapping[str, Any]]) -> None:
    """Update one row by each of some sets of values, all with one statement.

    The rows were read in this transaction. Where a database lets another write between, the guards in the statement
    miss, and the whole transaction fails rather than that an event tells what did not happen.
    """
    if rows and connection.execute(statement, rows).rowcount != len(rows):
        raise StoreUnavailable("rows of hosts were changed by another transaction meanwhile")
