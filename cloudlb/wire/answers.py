"""The answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field

from cloudlb.wire.content import Answer, Fields, frozen

STOPPED_BY_PREVIOUS_FAILURE = "Stopped by previous failure"
"""The details of an answer to a command that was not tried, because one before it failed [Request.stopOnError]."""


@frozen(kw_only=True)
class StartupAnswer(Answer):
    """The server heard the agent; false is a refusal for good [StartupAnswer]."""

    host_id: int = 0
    """0: not known yet, it comes with ReadyCommand."""
    host_name: str | None = None
    host_uuid: str | None = None
    ping_interval: int = 0
    """Seconds."""
    retry_after: int | None = None
    """Ours, and for agents of ours only: a false result is then no refusal for good but "busy", and these are the
    seconds after which the agent is welcome to come again."""
    avoid_ms_list: tuple[str, ...] | None = None
    """Ours, with ``retry_after``: servers that are not to be tried for now; one that takes no agents names itself."""
    ms_list: tuple[str, ...] | None = None
    """Ours, with ``retry_after``: all servers that there are for agents, for one whose own list is old."""


@frozen(kw_only=True)
class ReadyAnswer(Answer):
    """The agent took what ReadyCommand said [ReadyAnswer]."""

    details_map: Mapping[str, str] | None = None


@frozen(kw_only=True)
class PingAnswer(Answer):
    """The server heard the ping [PingAnswer]."""

    command: Mapping[str, Any] | None = None
    """The whole ping again, as its fields stand on the wire: ``fields_of(ping)``."""
    send_startup: bool = False
    """Whether the agent is to start over on the same link."""
    avoid_ms_list: tuple[str, ...] = ()
    """Servers that are not to be tried for now."""
    reconcile_commands: tuple[str, ...] = ()
    """Of the ping's ``command_infos`` those that the server took up: from servers of ours the ids of commands whose end
    it has heard, and which the agent may forget; from CloudStack's a text of the request's sequence and the command's
    class [ReconcileCommandServiceImpl.getCommandKey], which is no id of ours."""


@frozen(kw_only=True)
class SetupMSListAnswer(Answer):
    """The agent took the list [SetupMSListAnswer]."""


@frozen(kw_only=True)
class MigrateAgentConnectionAnswer(Answer):
    """The agent is about to move [MigrateAgentConnectionAnswer]."""


@frozen(kw_only=True)
class MaintainAnswer(Answer):
    """The host is in maintenance [MaintainAnswer]."""

    will_migrate: bool = True
    """Whether its VMs can move by live migration."""


@frozen(kw_only=True)
class UnsupportedAnswer(Answer):
    """The host does not know the command [UnsupportedAnswer]."""

    result: bool = False


@frozen(kw_only=True)
class AgentControlAnswer(Answer):
    """The answer to an agent's question [AgentControlAnswer]."""


@frozen(kw_only=True)
class ConsoleAccessAuthenticationAnswer(AgentControlAnswer):
    """Whether the viewer may see the console, and where it is [ConsoleAccessAuthenticationAnswer]."""

    success: bool = False
    is_reauthenticating: bool = False
    host: str | None = None
    port: int = 0
    tunnel_url: str | None = None
    tunnel_session: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class CheckHealthAnswer(Answer):
    """Whether the resource is alive [CheckHealthAnswer]."""


@frozen(kw_only=True)
class CheckOnHostAnswer(Answer):
    """What is known of a neighbour [CheckOnHostAnswer]."""

    determined: bool = False
    """Whether anything is known."""
    alive: bool = False


@frozen(kw_only=True)
class CheckNetworkAnswer(Answer):
    """Whether the host has the networks [CheckNetworkAnswer]."""

    reconnect: bool = False
    """Whether the host is to connect again."""


@frozen(kw_only=True)
class HostStats(Fields):
    """How busy a host is [HostStatsEntry]."""

    host_id: int = 0
    entity_type: str | None = None
    """``host``."""
    cpu_utilization: float = 0.0
    """Percent of all processors."""
    average_load: float = 0.0
    network_read_kbs: float = 0.0
    """KiB since the host's start."""
    network_write_kbs: float = 0.0
    total_memory_kbs: float = 0.0
    """KiB."""
    free_memory_kbs: float = 0.0


@frozen(kw_only=True)
class GetHostStatsAnswer(Answer):
    """How busy the host is [GetHostStatsAnswer]."""

    host_stats: HostStats | None = None


@frozen(kw_only=True)
class SetupKeystoreAnswer(Answer):
    """The certificate request [SetupKeystoreAnswer]."""

    csr: str | None = None
    """PEM."""


@frozen(kw_only=True)
class SetupCertificateAnswer(Answer):
    """Whether the certificate is in place [SetupCertificateAnswer]."""
