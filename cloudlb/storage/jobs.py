"""Asynchronous jobs of the API."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    func,
    insert,
    null,
    select,
    type_coerce,
    update,
)

from cloudlb.domain.models import HostId, Job, JobStatus, ServerId
from cloudlb.domain.ports import KeyTaken
from cloudlb.domain.record_ports import JobFilter
from cloudlb.storage.pages import page, prune
from cloudlb.storage.schema import async_job

_COLUMNS = tuple(column for column in async_job.c if column.name != "id")
_ALL_BUT_ARGUMENTS = tuple(column for column in _COLUMNS if column.name != "arguments")
_CLASS = async_job.c.arguments["class"].as_string().label("class")
_SUCCEEDED = async_job.c.status == JobStatus.SUCCEEDED.value
_LISTED = (
    *(column for column in _ALL_BUT_ARGUMENTS if column.name != "result"),
    type_coerce(case((_SUCCEEDED, null()), else_=async_job.c.result), async_job.c.result.type).label("result"),
    _CLASS,
)
_RUNS = async_job.c.status == JobStatus.RUNNING.value
_BY_UUID = select(*_COLUMNS).where(async_job.c.uuid == bindparam("of_uuid"))
_BY_KEY = select(*_COLUMNS).where(
    async_job.c.account_id == bindparam("of_account"), async_job.c.key == bindparam("of_key")
)
_CREATE = insert(async_job).values(status=JobStatus.RUNNING.value, result_code=0, result={}).returning(*_COLUMNS)
_ASSIGN = (
    update(async_job)
    .where(async_job.c.uuid == bindparam("of_uuid"), async_job.c.server_id == bindparam("of_server"), _RUNS)
    .values(server_id=bindparam("to_server"))
)
_STILL_RUNNING = update(async_job).where(async_job.c.uuid == bindparam("of_uuid"), _RUNS)
# Of thousands of jobs the arguments would be too much.
_RUNNING = select(*_ALL_BUT_ARGUMENTS, _CLASS).where(_RUNS).order_by(async_job.c.id)
_OF_SERVERS = _RUNNING.where(async_job.c.server_id.in_(bindparam("of_servers", expanding=True))).limit(
    bindparam("most")
)
_UNDER_WAY = (
    select(async_job.c.server_id, async_job.c.account_id, func.count())
    .where(_RUNS)
    .group_by(async_job.c.server_id, async_job.c.account_id)
)
_OVERDUE = _RUNNING.where(async_job.c.deadline < bindparam("before")).limit(bindparam("most"))
_ON_HOST = _RUNNING.where(async_job.c.host_id == bindparam("of_host"))


class JobTable:
    """Implements the port ``JobRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        self._connection = connection
        self._new_uuid = new_uuid

    def start(
        self,
        *,
        command: str,
        account_id: int,
        server_id: ServerId,
        host_id: HostId | None,
        now: float,
        key: str | None = None,
        deadline: float | None = None,
        arguments: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[Job, bool]:
        """Record a job that runs, or find the one of the key."""
        if key is not None and (job := self.of_key(account_id, key)) is not None:
            if (job.command, job.host_id, job.arguments) != (command, host_id, dict(arguments)):
                raise KeyTaken(f"the key {key!r} is that of job {job.uuid}, another {job.command}")
            return job, False
        values = {
            "uuid": str(self._new_uuid()),
            "command": command,
            "account_id": account_id,
            "server_id": server_id,
            "host_id": host_id,
            "created": now,
            "key": key,
            "deadline": deadline,
            "arguments": dict(arguments),
        }
        # Where another server has just taken the key this fails, and the transaction is run again and finds it.
        return _job(self._connection.execute(_CREATE, values).one()), True

    def of_key(self, account_id: int, key: str) -> Job | None:
        """A job by its account's name for it."""
        row = self._connection.execute(_BY_KEY, {"of_account": account_id, "of_key": key}).first()
        return None if row is None else _job(row)

    def assign(self, uuid: str, before: ServerId, after: ServerId) -> bool:
        """Give a running job to another server."""
        values = {"of_uuid": uuid, "of_server": before, "to_server": after}
        return self._connection.execute(_ASSIGN, values).rowcount == 1

    def running(self, server_ids: Collection[ServerId], limit: int) -> Sequence[Job]:
        """Jobs of some servers that have not ended."""
        return self._several(_OF_SERVERS, {"of_servers": [*server_ids], "most": limit})

    def under_way(self) -> Sequence[tuple[ServerId, int, int]]:
        """How many jobs have not ended, by server and account."""
        return [(server, account, number) for server, account, number in self._connection.execute(_UNDER_WAY)]

    def overdue(self, before: float, limit: int) -> Sequence[Job]:
        """Jobs that should have ended."""
        return self._several(_OVERDUE, {"before": before, "most": limit})

    def running_on(self, host_id: HostId) -> Sequence[Job]:
        """Jobs of a host that have not ended."""
        return self._several(_ON_HOST, {"of_host": host_id})

    def tell(self, uuid: str, result: Mapping[str, Any]) -> bool:
        """Write how far a job is."""
        return self._connection.execute(_STILL_RUNNING, {"of_uuid": uuid, "result": dict(result)}).rowcount == 1

    def finish(self, uuid: str, status: JobStatus, result_code: int, result: Mapping[str, Any], now: float) -> bool:
        """End a job once."""
        values = {
            "of_uuid": uuid,
            "status": status.value,
            "result_code": result_code,
            "result": dict(result),
            "completed": now,
        }
        return self._connection.execute(_STILL_RUNNING, values).rowcount == 1

    def get(self, uuid: str) -> Job | None:
        """A job by its uuid."""
        row = self._connection.execute(_BY_UUID, {"of_uuid": uuid}).first()
        return None if row is None else _job(row)

    def list(self, which: JobFilter, offset: int, limit: int | None) -> tuple[Sequence[Job], int]:
        """A page of them, the newest first."""
        conditions = list(_conditions(which))
        rows, total = page(self._connection, _LISTED, conditions, async_job.c.id, offset=offset, limit=limit)
        return [_light_job(row) for row in rows], total

    def prune(self, before: float, limit: int) -> int:
        """Drop jobs that ended long ago."""
        return prune(self._connection, async_job, async_job.c.completed < before, limit)

    def _several(self, statement: Select[Any], values: Mapping[str, Any]) -> Sequence[Job]:
        return [_light_job(row) for row in self._connection.execute(statement, values)]


def _conditions(which: JobFilter) -> Iterator[ColumnElement[bool]]:
    equal = {"account_id": which.account_id, "server_id": which.server_id, "host_id": which.host_id}
    yield from (async_job.c[name] == value for name, value in equal.items() if value is not None)
    if which.after is not None:
        yield async_job.c.created >= which.after
    if which.keyword is not None:
        yield async_job.c.command.icontains(which.keyword, autoescape=True)


def _job(row: Row[Any]) -> Job:
    values = row._asdict()
    return Job(**{**values, "status": JobStatus(values["status"])})


def _light_job(row: Row[Any]) -> Job:
    values = row._asdict()
    class_ = values.pop("class")
    arguments = {} if class_ is None else {"class": class_}
    status, result = JobStatus(values["status"]), values["result"] or {}
    return Job(**{**values, "status": status, "result": result, "arguments": arguments})
