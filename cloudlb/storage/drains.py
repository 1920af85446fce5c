"""How far the emptying of each server is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, evolve
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.models import ServerId
from cloudlb.storage.schema import drain as table

_ALL = select(*table.c)
_ONE = _ALL.where(table.c.server_id == bindparam("of_id"))
_ADD = insert(table)
_WRITE = update(table).where(table.c.server_id == bindparam("of_id"))
_PROGRESS = _WRITE.where(table.c.number == bindparam("of_number"), table.c.ended.is_(None))


class DrainTable:
    """Implements the port ``DrainRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, drain: Drain) -> Drain:
        """Write a new one."""
        before = self.get(drain.server_id)
        drain = evolve(drain, number=1 if before is None else before.number + 1)
        if before is None:
            self._connection.execute(_ADD, _values(drain))
        else:
            self._connection.execute(_WRITE, {**_values(drain), "of_id": drain.server_id})
        return drain

    def progress(self, drain: Drain) -> bool:
        """Write how far one is."""
        values = {**_values(drain), "of_id": drain.server_id, "of_number": drain.number}
        return self._connection.execute(_PROGRESS, values).rowcount == 1

    def get(self, server_id: ServerId) -> Drain | None:
        """A server's latest."""
        row = self._connection.execute(_ONE, {"of_id": server_id}).first()
        return None if row is None else _drain(row)

    def all(self) -> Mapping[ServerId, Drain]:
        """Those of all servers."""
        return {row.server_id: _drain(row) for row in self._connection.execute(_ALL)}


def _values(drain: Drain) -> dict[str, Any]:
    algorithm, end = drain.algorithm, drain.end
    plain = {"algorithm": algorithm and algorithm.value, "end": end and end.value, "failed": dict(drain.failed)}
    return {**asdict(drain, recurse=False), **plain}


def _drain(row: Row[Any]) -> Drain:
    values = row._asdict()
    algorithm, end = values["algorithm"], values["end"]
    plain = {"algorithm": algorithm and Algorithm(algorithm), "end": end and DrainEnd(end)}
    return Drain(**{**values, **plain})
