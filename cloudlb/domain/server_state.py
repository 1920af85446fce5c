"""What a management server is about to do, and what changes that.

The states are CloudStack's [org.apache.cloudstack.management.ManagementServerHost.State] and so are the steps
[ManagementServerMaintenanceManagerImpl]. All but Down stand in the server's row. Nobody writes Down: it follows from
the age of the heartbeat, whatever the row says, and ends with the next heartbeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias


class ServerState(Enum):
    """A management server as its peers see it."""

    UP = "Up"
    DOWN = "Down"
    """No heartbeat for ``cluster.heartbeat.threshold``, or it has said that it stops."""
    PREPARING_FOR_MAINTENANCE = "PreparingForMaintenance"
    """Its agents are being moved away; it takes no new ones."""
    MAINTENANCE = "Maintenance"
    """It has no agents and takes none; it stays so over restarts."""
    PREPARING_FOR_SHUTDOWN = "PreparingForShutDown"
    READY_TO_SHUTDOWN = "ReadyToShutDown"
    SHUTTING_DOWN = "ShuttingDown"


class ServerEvent(Enum):
    """What happens to a management server."""

    START = "Start"
    PREPARE_FOR_MAINTENANCE = "PrepareForMaintenance"
    CANCEL_MAINTENANCE = "CancelMaintenance"
    PREPARE_FOR_SHUTDOWN = "PrepareForShutdown"
    CANCEL_SHUTDOWN = "CancelShutdown"
    TRIGGER_SHUTDOWN = "TriggerShutdown"
    DRAINED = "Drained"
    """What it prepared for can begin: nothing is left on it."""


ServerTable: TypeAlias = Mapping[tuple[ServerState, ServerEvent], ServerState]


def _table() -> ServerTable:
    s, e = ServerState, ServerEvent
    rows: dict[ServerState, dict[ServerEvent, ServerState]] = {
        s.UP: {
            e.START: s.UP,
            e.PREPARE_FOR_MAINTENANCE: s.PREPARING_FOR_MAINTENANCE,
            e.PREPARE_FOR_SHUTDOWN: s.PREPARING_FOR_SHUTDOWN,
            e.TRIGGER_SHUTDOWN: s.SHUTTING_DOWN,
        },
        s.PREPARING_FOR_MAINTENANCE: {
            e.START: s.MAINTENANCE,
            e.DRAINED: s.MAINTENANCE,
            e.CANCEL_MAINTENANCE: s.UP,
        },
        s.MAINTENANCE: {
            e.START: s.MAINTENANCE,
            e.CANCEL_MAINTENANCE: s.UP,
            e.TRIGGER_SHUTDOWN: s.SHUTTING_DOWN,
        },
        s.PREPARING_FOR_SHUTDOWN: {
            e.START: s.UP,
            e.DRAINED: s.READY_TO_SHUTDOWN,
            e.CANCEL_SHUTDOWN: s.UP,
            e.TRIGGER_SHUTDOWN: s.SHUTTING_DOWN,
        },
        s.READY_TO_SHUTDOWN: {
            e.START: s.UP,
            e.CANCEL_SHUTDOWN: s.UP,
            e.TRIGGER_SHUTDOWN: s.SHUTTING_DOWN,
        },
        s.SHUTTING_DOWN: {e.START: s.UP},
    }
    return {(state, event): after for state, row in rows.items() for event, after in row.items()}


SERVER_TABLE: ServerTable = _table()
"""Where each event leads from the state in a server's row; a pair that is missing cannot happen and changes nothing."""
