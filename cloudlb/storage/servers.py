"""Management servers and their heartbeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.ports import AlreadyExists
from cloudlb.storage.schema import management_server

_COLUMNS = tuple(management_server.c)
_ALL = select(*_COLUMNS).order_by(management_server.c.name)
_REGISTER = update(management_server).where(management_server.c.name == bindparam("of_name")).returning(*_COLUMNS)
_CREATE = insert(management_server).returning(*_COLUMNS)
_STAMP = update(management_server).where(management_server.c.id == bindparam("of_id"))


class ServerTable:
    """Implements the port ``ServerRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        self._connection = connection
        self._new_uuid = new_uuid

    def register(
        self, *, name: str, address: str, port: int, version: str, candidate_id: ServerId, now: float
    ) -> Server:
        """Find or make the row of a server that starts."""
        values = {"address": address, "port": port, "version": version, "started": now, "heartbeat": now}
        row = self._connection.execute(_REGISTER, {**values, "stopped": None, "of_name": name}).first()
        if row is None:
            identity = {"id": candidate_id, "uuid": str(self._new_uuid()), "name": name}
            try:
                with self._connection.begin_nested():
                    row = self._connection.execute(_CREATE, {**identity, **values}).one()
            except IntegrityError as error:
                raise AlreadyExists(f"another server has the id {candidate_id} already") from error
        return _server(row)

    def heartbeat(self, server_id: ServerId, now: float) -> bool:
        """Stamp the row."""
        return self._connection.execute(_STAMP, {"of_id": server_id, "heartbeat": now}).rowcount == 1

    def stop(self, server_id: ServerId, now: float) -> None:
        """Record a clean stop."""
        self._connection.execute(_STAMP, {"of_id": server_id, "stopped": now})

    def all(self) -> list[Server]:
        """Every server, ordered by name."""
        return [_server(row) for row in self._connection.execute(_ALL)]


def _server(row: Sequence[Any]) -> Server:
    return Server(**{column.name: value for column, value in zip(_COLUMNS, row, strict=True)})
