"""What is known of a host's agent, and what changes that.

The table follows CloudStack's [com.cloud.host.Status]. It departs where CloudStack's would show what is not true:

- A host whose agent was lost is Disconnected, also when its pings were late or nobody could tell why, and becomes Alert
  when ``alert.wait`` is over. There it becomes Alert at once, or stays Up without an agent while nobody knows.
- A host that is Up and taken over by another session stays Up (AgentTransferred), where CloudStack's passes through
  Connecting: it has moved, has a newer link, or is back before its loss was written.
- Every state but Removed can be left by Remove, and Removed by Restore: a deleted host comes back only so.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias


class HostStatus(Enum):
    """What is known of a host's agent [com.cloud.host.Status]."""

    CREATING = "Creating"
    """Registered by an operator; its agent has never come."""
    CONNECTING = "Connecting"
    UP = "Up"
    DOWN = "Down"
    """An investigator found the host itself down."""
    DISCONNECTED = "Disconnected"
    ALERT = "Alert"
    """Disconnected for longer than ``alert.wait``."""
    REMOVED = "Removed"
    ERROR = "Error"
    REBALANCING = "Rebalancing"
    """Between two servers, of an agent that breaks its old link before it makes the new one."""


class HostEvent(Enum):
    """What happens to a host's agent [com.cloud.host.Status.Event]."""

    AGENT_CONNECTED = "AgentConnected"
    READY = "Ready"
    """The agent answered ReadyCommand."""
    PING = "Ping"
    """The agent was late and has shown that it lives."""
    PING_TIMEOUT = "PingTimeout"
    AGENT_DISCONNECTED = "AgentDisconnected"
    """Its link ended, and nobody said why."""
    SHUTDOWN_REQUESTED = "ShutdownRequested"
    """The agent said that it stops, or an operator had its link closed."""
    HOST_DOWN = "HostDown"
    """An investigator's verdict."""
    MANAGEMENT_SERVER_DOWN = "ManagementServerDown"
    """Its server stops or is dead."""
    WAITED_TOO_LONG = "WaitedTooLong"
    """``alert.wait`` is over."""
    AGENT_TRANSFERRED = "AgentTransferred"
    """Another session has taken the host over while it was Up, wherever and for whatever reason."""
    START_AGENT_REBALANCE = "StartAgentRebalance"
    REBALANCE_COMPLETED = "RebalanceCompleted"
    REBALANCE_FAILED = "RebalanceFailed"
    REMOVE = "Remove"
    RESTORE = "Restore"
    """An operator lifts the tombstone of a deleted host."""
    ERROR = "Error"


StatusTable: TypeAlias = Mapping[tuple[HostStatus, HostEvent], HostStatus]


def _table() -> StatusTable:
    s, e = HostStatus, HostEvent
    lost = {
        e.PING_TIMEOUT: s.DISCONNECTED,
        e.AGENT_DISCONNECTED: s.DISCONNECTED,
        e.SHUTDOWN_REQUESTED: s.DISCONNECTED,
        e.MANAGEMENT_SERVER_DOWN: s.DISCONNECTED,
        e.HOST_DOWN: s.DOWN,
    }
    rows: dict[HostStatus, dict[HostEvent, HostStatus]] = {
        s.CREATING: {e.AGENT_CONNECTED: s.CONNECTING, e.ERROR: s.ERROR},
        s.CONNECTING: {**lost, e.AGENT_CONNECTED: s.CONNECTING, e.READY: s.UP, e.PING: s.CONNECTING},
        s.UP: {
            **lost,
            e.AGENT_TRANSFERRED: s.UP,
            e.READY: s.UP,
            e.PING: s.UP,
            e.START_AGENT_REBALANCE: s.REBALANCING,
        },
        s.DISCONNECTED: {
            **lost,
            e.AGENT_CONNECTED: s.CONNECTING,
            e.PING: s.UP,
            e.WAITED_TOO_LONG: s.ALERT,
        },
        s.ALERT: {
            e.AGENT_CONNECTED: s.CONNECTING,
            e.PING: s.UP,
            e.PING_TIMEOUT: s.ALERT,
            e.AGENT_DISCONNECTED: s.ALERT,
            e.MANAGEMENT_SERVER_DOWN: s.ALERT,
            e.SHUTDOWN_REQUESTED: s.DISCONNECTED,
            e.HOST_DOWN: s.DOWN,
        },
        s.DOWN: {
            e.AGENT_CONNECTED: s.CONNECTING,
            e.PING_TIMEOUT: s.DOWN,
            e.AGENT_DISCONNECTED: s.DOWN,
            e.MANAGEMENT_SERVER_DOWN: s.DOWN,
            e.HOST_DOWN: s.DOWN,
        },
        s.REBALANCING: {
            e.AGENT_CONNECTED: s.CONNECTING,
            e.AGENT_DISCONNECTED: s.REBALANCING,
            e.MANAGEMENT_SERVER_DOWN: s.DISCONNECTED,
            e.REBALANCE_COMPLETED: s.CONNECTING,
            e.REBALANCE_FAILED: s.DISCONNECTED,
        },
        s.ERROR: {e.AGENT_CONNECTED: s.CONNECTING},
        s.REMOVED: {e.RESTORE: s.CREATING},
    }
    for status in s:
        if status is not s.REMOVED:
            rows[status][e.REMOVE] = s.REMOVED
    return {(status, event): after for status, row in rows.items() for event, after in row.items()}


STATUS_TABLE: StatusTable = _table()
"""Where each event leads from each status; a pair that is missing cannot happen and changes nothing."""
