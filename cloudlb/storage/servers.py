"""Management servers and their heartbeats, all by the clock of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloudlb.domain.models import PeerView, Server, ServerId
from cloudlb.domain.ports import AlreadyExists
from cloudlb.domain.server_state import SERVER_TABLE, ServerEvent, ServerState
from cloudlb.domain.settings import HEARTBEAT_INTERVAL, HEARTBEAT_THRESHOLD
from cloudlb.domain.settings_in_force import Settings
from cloudlb.storage.schema import configuration, management_server

_COLUMNS = tuple(column for column in management_server.c if column.name != "report")
_AS_READ = tuple(column.name for column in _COLUMNS if column.name not in ("state", "peers", "threshold"))
_ALL = select(*_COLUMNS).order_by(management_server.c.name)
_NAMED = select(*_COLUMNS).where(management_server.c.name == bindparam("of_name"))
_STATE = select(management_server.c.state).where(management_server.c.id == bindparam("of_id"))
_CREATE = insert(management_server).returning(*_COLUMNS)
_WRITE = update(management_server).where(management_server.c.id == bindparam("of_id"))
_OF_HEARTBEATS = select(configuration.c.name, configuration.c.value).where(
    configuration.c.name.in_((HEARTBEAT_INTERVAL, HEARTBEAT_THRESHOLD))
)
_REPORTS = select(management_server.c.id, management_server.c.report)
_HOLD = _STATE.with_for_update(read=True)
_REMOVE = delete(management_server).where(management_server.c.id == bindparam("of_id"))
_STEP = _WRITE.where(management_server.c.state == bindparam("before"))


class ServerTable:
    """Implements the port ``ServerRows``."""

    def __init__(
        self,
        connection: Connection,
        new_uuid: Callable[[], UUID],
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._new_uuid = new_uuid
        self._clock = clock

    def register(self, *, name: str, address: str, port: int, version: str, candidate_id: ServerId) -> Server:
        """Find or make the row of a server that starts."""
        now, threshold = self._clock(), self._threshold()
        values = {
            "address": address,
            "port": port,
            "version": version,
            "started": now,
            "heartbeat": now,
            "threshold": threshold,
        }
        run_id = int(now * 1000)
        known = self._connection.execute(_NAMED, {"of_name": name}).mappings().first()
        if known is not None:
            state = SERVER_TABLE[ServerState(known["state"]), ServerEvent.START].value
            run_id = max(run_id, known["run_id"] + 1)
            changed = {**values, "stopped": None, "run_id": run_id, "state": state, "peers": {}}
            self._connection.execute(_WRITE, {**changed, "of_id": known["id"]})
            return self._server({**known, **changed}, now, threshold)
        row = {
            **values,
            "id": candidate_id,
            "uuid": str(self._new_uuid()),
            "name": name,
            "run_id": run_id,
            "state": ServerState.UP.value,
            "peers": {},
        }
        try:
            with self._connection.begin_nested():
                return self._server(self._connection.execute(_CREATE, row).mappings().one(), now, threshold)
        except IntegrityError as error:
            raise AlreadyExists(f"another server has the name {name} or the id {candidate_id} already") from error

    def heartbeat(self, server_id: ServerId) -> bool:
        """Stamp the row."""
        values = {"of_id": server_id, "heartbeat": self._clock(), "threshold": self._threshold()}
        return self._connection.execute(_WRITE, values).rowcount == 1

    def stop(self, server_id: ServerId) -> None:
        """Record a clean stop."""
        self._connection.execute(_WRITE, {"of_id": server_id, "stopped": self._clock()})

    def change_state(self, server_id: ServerId, event: ServerEvent) -> ServerState | None:
        """Take a step of the table."""
        found = self._connection.scalar(_STATE, {"of_id": server_id})
        after = None if found is None else SERVER_TABLE.get((ServerState(found), event))
        if after is None:
            return None
        values = {"of_id": server_id, "before": found, "state": after.value}
        return after if self._connection.execute(_STEP, values).rowcount == 1 else None

    def hold(self, server_id: ServerId) -> None:
        """Keep the row as it was read; SQLite has one writer and needs no lock."""
        self._connection.execute(_HOLD, {"of_id": server_id})

    def remove(self, server_id: ServerId) -> bool:
        """Drop the row; its drain goes with it."""
        return self._connection.execute(_REMOVE, {"of_id": server_id}).rowcount == 1

    def record_peers(self, server_id: ServerId, peers: Mapping[ServerId, PeerView]) -> None:
        """Replace a server's account of its peers."""
        written = {str(peer): [view.state.value, view.run_id, view.since] for peer, view in peers.items()}
        self._connection.execute(_WRITE, {"of_id": server_id, "peers": written})

    def report(self, server_id: ServerId, report: Mapping[str, Any]) -> None:
        """Replace what a server tells of itself."""
        self._connection.execute(_WRITE, {"of_id": server_id, "report": dict(report)})

    def reports(self) -> Mapping[ServerId, Mapping[str, Any]]:
        """What the servers tell of themselves."""
        return {ServerId(server_id): report for server_id, report in self._connection.execute(_REPORTS)}

    def all(self) -> list[Server]:
        """Every server, ordered by name."""
        now, threshold = self._clock(), self._threshold()
        return [self._server(row, now, threshold) for row in self._connection.execute(_ALL).mappings()]

    def _threshold(self) -> float:
        return Settings({row.name: row.value for row in self._connection.execute(_OF_HEARTBEATS)}).heartbeat_threshold

    @staticmethod
    def _server(row: Mapping[Any, Any], now: float, threshold: float) -> Server:
        age = max(0.0, now - row["heartbeat"])
        stopped = row["stopped"] is not None and row["stopped"] >= row["heartbeat"]
        # Until its next heartbeat a server goes by what it knows. An older program leaves there what it has found.
        threshold = max(threshold, row["threshold"] or 0.0)
        values = {name: row[name] for name in _AS_READ}
        peers: Mapping[str, Sequence[Any]] = row["peers"] or {}
        return Server(
            **values,
            recorded=ServerState(row["state"]),
            age=age,
            threshold=threshold,
            alive=not stopped and age <= threshold,
            peers={
                ServerId(int(peer)): PeerView(state=ServerState(state), run_id=run_id, since=since)
                for peer, (state, run_id, since) in peers.items()
            },
        )
