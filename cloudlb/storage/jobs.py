"""Asynchronous jobs of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, insert, select, update

from cloudlb.domain.models import HostId, Job, JobStatus, ServerId
from cloudlb.storage.schema import async_job

_COLUMNS = tuple(column for column in async_job.c if column.name != "id")
_BY_UUID = select(*_COLUMNS).where(async_job.c.uuid == bindparam("of_uuid"))
_CREATE = insert(async_job).values(status=JobStatus.RUNNING.value, result_code=0, result={}).returning(*_COLUMNS)
_FINISH = update(async_job).where(
    async_job.c.uuid == bindparam("of_uuid"), async_job.c.status == JobStatus.RUNNING.value
)


class JobTable:
    """Implements the port ``JobRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        self._connection = connection
        self._new_uuid = new_uuid

    def start(self, *, command: str, account_id: int, server_id: ServerId, host_id: HostId | None, now: float) -> Job:
        """Record a job that runs."""
        values = {
            "uuid": str(self._new_uuid()),
            "command": command,
            "account_id": account_id,
            "server_id": server_id,
            "host_id": host_id,
            "created": now,
        }
        return _job(self._connection.execute(_CREATE, values).one())

    def finish(self, uuid: str, status: JobStatus, result_code: int, result: Mapping[str, Any], now: float) -> bool:
        """End a job once."""
        values = {
            "of_uuid": uuid,
            "status": status.value,
            "result_code": result_code,
            "result": dict(result),
            "completed": now,
        }
        return self._connection.execute(_FINISH, values).rowcount == 1

    def get(self, uuid: str) -> Job | None:
        """A job by its uuid."""
        row = self._connection.execute(_BY_UUID, {"of_uuid": uuid}).first()
        return None if row is None else _job(row)


def _job(row: Sequence[Any]) -> Job:
    values = {column.name: value for column, value in zip(_COLUMNS, row, strict=True)}
    return Job(**{**values, "status": JobStatus(values["status"])})
