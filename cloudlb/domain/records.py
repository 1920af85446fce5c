"""What is kept for people to read later: events, alerts, and what investigations found.

Times are seconds since the epoch, as the injected clock tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId, ServerId


class Level(Enum):
    """How grave an event is [EventVO.LEVEL]."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@frozen(kw_only=True)
class Event:
    """Something that an operator may want to know later; a row that is never changed."""

    uuid: str
    type: str
    """Dotted capitals, as CloudStack's: ``HOST.RECONNECT``."""
    level: Level
    description: str
    created: float
    account_id: int | None = None
    """Who asked for it; None: nobody, it happened."""
    server_id: ServerId | None = None
    host_id: HostId | None = None
    details: Mapping[str, str] = field(factory=dict)
    """For machines; a transition's has ``from``, ``to``, ``event`` and ``session``."""


EVENT_TYPES = (
    "HOST.STATUS.TRANSITION",
    "HOST.RESOURCESTATE.TRANSITION",
    "HOST.INVESTIGATION",
    "HOST.REFUSED",
    "HOST.RECONNECT",
    "HOST.ADD",
    "HOST.DELETE",
    "HOST.RESTORE",
    "HOST.LOAD",
    "HOST.DECLARE.DEGRADED",
    "HOST.CANCEL.DEGRADED",
    "HOST.OOBM.CONFIGURE",
    "HOST.OOBM.DISABLE",
    "MAINT.PREPARE",
    "MAINT.CANCEL",
    "COMMAND.SEND",
    "MS.MAINTENANCE.PREPARE",
    "MS.MAINTENANCE.CANCEL",
    "MS.SHUTDOWN.PREPARE",
    "MS.SHUTDOWN.CANCEL",
    "MS.SHUTDOWN",
    "MANAGEMENT.SERVER.REMOVE",
    "AGENTS.REBALANCE",
    "CONFIGURATION.VALUE.EDIT",
    "USER.CREATE",
    "USER.UPDATE",
    "USER.DELETE",
    "USER.ENABLE",
    "USER.DISABLE",
    "REGISTER.USER.KEY",
    "DELETE.USER.KEY",
    "ALERT.GENERATE",
)
"""What events are about."""


class AlertType(Enum):
    """What alerts are about, by CloudStack's number and name [AlertService.AlertType]."""

    HOST = (7, "ALERT.COMPUTE.HOST")
    """A host is down, in alert, or has lost its gateway."""
    MANAGEMENT = (14, "ALERT.MANAGEMENT")
    HA_ACTION = (30, "ALERT.HA.ACTION")
    CA_CERTIFICATE = (31, "ALERT.CA.CERT")
    """A certificate is near its end."""


@frozen(kw_only=True)
class Alert:
    """Something that an operator must look at, until archived."""

    uuid: str
    type: AlertType
    subject: str
    """One line; the same one about the same host is sent once while it is not archived."""
    created: float
    last_sent: float
    """When it happened last."""
    count: int
    """How often it happened."""
    host_id: HostId | None = None
    archived: bool = False


class Verdict(Enum):
    """What an investigator can say of a host."""

    UP = "Up"
    DOWN = "Down"
    UNKNOWN = "Unknown"
    """I don't know."""


@frozen(kw_only=True)
class Finding:
    """What one investigator said."""

    investigator: str
    verdict: Verdict
    reason: str
    duration: float
    """Seconds."""


@frozen(kw_only=True)
class Investigation:
    """Why a host's agent was looked into, and what came out."""

    uuid: str
    host_id: HostId
    server_id: ServerId
    cause: HostEvent
    """PingTimeout or AgentDisconnected."""
    started: float
    duration: float
    """Seconds."""
    verdict: Verdict
    findings: tuple[Finding, ...]
    """In the order in which they were asked; the last one decided, if any did."""

    @property
    def decided_by(self) -> Finding | None:
        """Whose word it was; None: nobody knew."""
        last = self.findings[-1] if self.findings else None
        return last if last is not None and last.verdict is not Verdict.UNKNOWN else None
