"""Alerts: what an operator must look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, insert, update

from cloudlb.domain.models import HostId
from cloudlb.domain.record_ports import AlertFilter
from cloudlb.domain.records import Alert, AlertType
from cloudlb.storage.pages import page, prune
from cloudlb.storage.schema import alert
from cloudlb.storage.texts import as_text

_COLUMNS = tuple(column for column in alert.c if column.name != "id")
_TYPES = {alert_type.value[0]: alert_type for alert_type in AlertType}
_STANDS = alert.c.archived.is_(False)
_AGAIN = (
    update(alert)
    .where(
        alert.c.type == bindparam("of_type"),
        alert.c.subject == bindparam("of_subject"),
        alert.c.host_id.is_not_distinct_from(bindparam("of_host")),
        _STANDS,
    )
    .values(count=alert.c.count + 1, last_sent=bindparam("now"))
)
_ADD = insert(alert).values(count=1, archived=False)


class AlertTable:
    """Implements the port ``AlertRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        self._connection = connection
        self._new_uuid = new_uuid

    def send(self, alert_type: AlertType, subject: str, *, host_id: HostId | None, now: float) -> bool:
        """Raise an alert, or count the one that stands up."""
        number, subject = alert_type.value[0], as_text(subject)
        same = {"of_type": number, "of_subject": subject, "of_host": host_id, "now": now}
        if self._connection.execute(_AGAIN, same).rowcount:
            return False
        values = {"type": number, "subject": subject, "host_id": host_id, "created": now, "last_sent": now}
        self._connection.execute(_ADD, {"uuid": str(self._new_uuid()), **values})
        return True

    def list(self, which: AlertFilter, offset: int, limit: int | None) -> tuple[Sequence[Alert], int]:
        """A page of those that stand, the newest first."""
        conditions = [_STANDS, *_conditions(which)]
        rows, total = page(self._connection, _COLUMNS, conditions, alert.c.id, offset=offset, limit=limit)
        return [_alert(row) for row in rows], total

    def archive(self, which: AlertFilter) -> int:
        """Archive some that stand."""
        statement = update(alert).where(_STANDS, *_conditions(which)).values(archived=True)
        return self._connection.execute(statement).rowcount

    def delete(self, which: AlertFilter) -> int:
        """Delete some."""
        return self._connection.execute(delete(alert).where(*_conditions(which))).rowcount

    def prune(self, before: float, limit: int) -> int:
        """Drop what is old."""
        return prune(self._connection, alert, alert.c.last_sent < before, limit)


def _conditions(which: AlertFilter) -> Iterator[ColumnElement[bool]]:
    if which.uuids is not None:
        yield alert.c.uuid.in_(which.uuids)
    if which.alert_type is not None:
        yield alert.c.type == which.alert_type.value[0]
    if which.after is not None:
        yield alert.c.created >= which.after
    if which.before is not None:
        yield alert.c.created < which.before
    if which.keyword is not None:
        yield alert.c.subject.icontains(which.keyword, autoescape=True)


def _alert(row: Row[Any]) -> Alert:
    values = row._asdict()
    return Alert(**{**values, "type": _TYPES[values["type"]]})
