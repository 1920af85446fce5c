"""Commands that ask a host about itself, its network or a neighbour."""

from __future__ import annotations

from cloudlb.wire.content import Command, Fields, frozen


@frozen(kw_only=True)
class CheckHealthCommand(Command):
    """Is the resource alive [CheckHealthCommand]."""


@frozen(kw_only=True)
class HostNetwork(Fields):
    """Where a host can be reached on one of its networks [NetworkTO]."""

    ip: str | None = None
    netmask: str | None = None
    mac: str | None = None
    is_security_group_enabled: bool = False


@frozen(kw_only=True)
class HostAddresses(Fields):
    """A host as its neighbours look for it [HostTO]."""

    guid: str | None = None
    private_network: HostNetwork | None = None
    public_network: HostNetwork | None = None
    storage_network1: HostNetwork | None = None
    storage_network2: HostNetwork | None = None


@frozen(kw_only=True)
class CheckOnHostCommand(Command):
    """Does a neighbour still write its heartbeat [CheckOnHostCommand]."""

    host: HostAddresses | None = None
    report_check_failure_if_one_storage_is_down: bool = False


@frozen(kw_only=True)
class PingTestCommand(Command):
    """Ping a host, or a router from inside [PingTestCommand]."""

    computing_host_ip: str | None = None
    router_ip: str | None = None
    private_ip: str | None = None


@frozen(kw_only=True)
class PhysicalNetworkSetupInfo(Fields):
    """The labels of one physical network's kinds of traffic [PhysicalNetworkSetupInfo]."""

    physical_network_id: int | None = None
    private_network_name: str | None = None
    public_network_name: str | None = None
    guest_network_name: str | None = None
    storage_network_name: str | None = None
    mgmt_vlan: str | None = None


@frozen(kw_only=True)
class CheckNetworkCommand(Command):
    """Does the host have the networks of its zone [CheckNetworkCommand]."""

    network_info_list: tuple[PhysicalNetworkSetupInfo, ...] = ()


@frozen(kw_only=True)
class GetHostStatsCommand(Command):
    """How busy is the host [GetHostStatsCommand]."""

    host_guid: str | None = None
    host_name: str | None = None
    host_id: int = 0
