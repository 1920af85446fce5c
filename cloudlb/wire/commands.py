"""Commands that keep an agent and its server together: pings, lists, moving, leaving."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field

from cloudlb.wire.content import Command, Fields, frozen


@frozen(kw_only=True)
class ReadyCommand(Command):
    """The server admits the agent, or refuses it for good [ReadyCommand]."""

    details: str | None = None
    """Set: refused, and why. An agent of CloudStack's exits on it."""
    dc_id: int | None = None
    """The zone's id."""
    host_id: int | None = None
    host_uuid: str | None = None
    host_name: str | None = None
    ms_host_list: tuple[str, ...] | None = None
    """The servers in the order to try them; None: the agent's own list is right."""
    avoid_ms_host_list: tuple[str, ...] | None = None
    """Servers that are not to be tried for now."""
    lb_algorithm: str | None = None
    """Comes with ``ms_host_list``."""
    lb_check_interval: int | None = None
    """Seconds between checks of the preferred server; 0: none."""
    enable_human_readable_sizes: bool | None = None
    arch: str | None = None


@frozen(kw_only=True)
class HostVmState(Fields):
    """One VM of a ping's report [HostVmStateReportEntry]."""

    state: str | None = None
    """``PowerOn``, ``PowerOff`` or ``PowerReportMissing`` [VirtualMachine.PowerState]."""
    host: str | None = None
    """The host's name."""


@frozen(kw_only=True)
class CommandInfo(Fields):
    """One command that the host has begun or carried out, as told with a ping [CommandInfo]."""

    request_seq: int = 0
    """The sequence of the request that it came in."""
    state: str | None = None
    """Of ours ``CREATED`` (it waits for its turn), ``STARTED``, or, with the answer, ``COMPLETED``, ``FAILED`` or
    ``INTERRUPTED`` (by a restart, with an unknown outcome); ``UNREAD``, without an id, says that what the agent knows
    is not all. CloudStack has more [Command.State]."""
    start_time: str | None = None
    """A date as CloudStack writes it, in the sender's time zone; ours leave it out."""
    update_time: str | None = None
    """As ``start_time``."""
    command_name: str | None = None
    """The command's class on the wire."""
    command: str | None = field(default=None, repr=False)
    """The command's fields as a JSON text, secrets included; ours leave it out."""
    timeout: int = 0
    """Seconds: the command's ``wait``."""
    answer_name: str | None = None
    """The answer's class on the wire."""
    answer: str | None = field(default=None, repr=False)
    """The answer's fields as a JSON text, secrets included."""
    id: str | None = None
    """What stood under COMMAND_ID in the command's context map; of ours only."""


@frozen(kw_only=True)
class PingCommand(Command):
    """The agent is alive [PingCommand]."""

    host_type: str | None = None
    """As in StartupCommand."""
    host_id: int = 0
    out_of_band: bool = False
    """Whether it was sent beside the interval, because something changed."""
    command_infos: tuple[CommandInfo, ...] = ()
    """Commands under way or carried out on the host, for a server that lost track of them."""
    round_trip: float | None = None
    """Of ours only: seconds from the ping before to its answer."""


@frozen(kw_only=True)
class PingRoutingCommand(PingCommand):
    """A hypervisor host is alive, and so are these VMs [PingRoutingCommand]."""

    host_vm_state_report: Mapping[str, HostVmState] | None = None
    """By the VM's name."""
    gateway_accessible: bool = True
    vnet_accessible: bool = True
    host_health_check_result: bool | None = None
    """What the operator's health check script said; None: there is none."""


@frozen(kw_only=True)
class PingStorageCommand(PingCommand):
    """A storage host is alive [PingStorageCommand]."""

    changes: Mapping[str, bool] | None = None


@frozen(kw_only=True)
class ShutdownCommand(Command):
    """The sender leaves; there is no answer [ShutdownCommand]."""

    reason: str | None = None
    """``sig.kill`` (requested), ``update``, ``unknown`` or ``deleteHost``."""
    detail: str | None = None
    remove_host: bool = False


@frozen(kw_only=True)
class SetupMSListCommand(Command):
    """A new list of servers for a connected agent [SetupMSListCommand]."""

    ms_list: tuple[str, ...] = ()
    """The servers in the order to try them."""
    avoid_ms_list: tuple[str, ...] | None = None
    """Servers that are not to be tried for now."""
    lb_algorithm: str | None = None
    lb_check_interval: int | None = None
    """Seconds between checks of the preferred server; 0: none."""
    trigger_host_lb: bool = False
    """Whether to check the preferred server at once."""


@frozen(kw_only=True)
class MigrateAgentConnectionCommand(Command):
    """The agent is to move to another server [MigrateAgentConnectionCommand]."""

    ms_list: tuple[str, ...] = ()
    avoid_ms_list: tuple[str, ...] | None = None
    lb_algorithm: str | None = None
    lb_check_interval: int | None = None
    """Seconds between checks of the preferred server; 0: none."""


@frozen(kw_only=True)
class TransferAgentCommand(Command):
    """One server hands a host over to another [TransferAgentCommand]."""

    agent_id: int = 0
    future_owner: int = 0
    """The msid of the server that is to have it."""
    current_owner: int = 0
    is_connection_transfer: bool = False
    event: str | None = None
    """``RequestAgentRebalance`` or ``StartAgentRebalance`` [Status.Event]."""


@frozen(kw_only=True)
class CancelCommand(Command):
    """Stop what an earlier request started [CancelCommand]."""

    sequence: int = 0
    """The sequence of that request."""
    reason: str | None = None
    check_only: bool = False
    """Whether only to say if it could be stopped."""


@frozen(kw_only=True)
class AgentControlCommand(Command):
    """An agent asks its server for something; base of those that say for what [AgentControlCommand]."""


@frozen(kw_only=True)
class MaintainCommand(Command):
    """The host goes into maintenance [MaintainCommand]."""


@frozen(kw_only=True)
class BadCommand(Command):
    """Stands for a command that could not be parsed [BadCommand]."""
