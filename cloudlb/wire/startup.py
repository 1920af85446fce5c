"""The commands with which an agent introduces its host: the first message on every link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field

from cloudlb.wire.content import NOTHING, Command, Fields, frozen


@frozen(kw_only=True)
class StartupCommand(Command):
    """What one resource of a host is and where it belongs [StartupCommand]."""

    host_type: str | None = None
    """``Routing``, ``Storage``, ``SecondaryStorage``, ``ConsoleProxy`` and others [Host.Type]."""
    data_center: str | None = None
    """The zone: id, UUID or name, as the operator wrote it."""
    pod: str | None = None
    cluster: str | None = None
    guid: str | None = None
    """``<guid property>-<resource_name>``; the host's key."""
    name: str | None = None
    host_id: int | None = None
    """The id that a server gave, once it did."""
    version: str | None = None
    """The agent's version, such as ``4.23.0.0``."""
    iqn: str | None = None
    """The iSCSI initiator's name, ``NoIqn`` where there is none."""
    public_ip_address: str | None = None
    public_netmask: str | None = None
    public_mac_address: str | None = None
    private_ip_address: str | None = None
    private_mac_address: str | None = None
    private_netmask: str | None = None
    storage_ip_address: str | None = None
    storage_netmask: str | None = None
    storage_mac_address: str | None = None
    storage_ip_address_deux: str | None = None
    storage_mac_address_deux: str | None = None
    storage_netmask_deux: str | None = None
    agent_tag: str | None = None
    resource_name: str | None = None
    """The simple name of the resource's class."""
    gateway_ip_address: str | None = None
    ms_host_list: str | None = None
    """The agent's ``host`` property: ``A,B,C@algorithm``."""
    connection_transferred: bool = False
    """Whether the host moves here from another server and its commands there are still under way."""
    arch: str | None = None
    """The processor's architecture, such as ``x86_64``."""


@frozen(kw_only=True)
class StartupRoutingCommand(StartupCommand):
    """A hypervisor host [StartupRoutingCommand]."""

    host_type: str = "Routing"
    cpu_sockets: int | None = None
    cpus: int = 0
    """Logical processors."""
    speed: int = 0
    """MHz of one processor."""
    memory: int = 0
    """Bytes."""
    dom0_min_memory: int = 0
    """Bytes that the host keeps for itself."""
    pool_sync: bool = False
    supports_cloned_volumes: bool = False
    caps: str | None = None
    """Comma-separated capabilities of the hypervisor, such as ``hvm``."""
    pool: str | None = None
    hypervisor_type: str | None = None
    """``KVM``, ``XenServer``, ``VMware`` and others [Hypervisor.HypervisorType]."""
    hypervisor_version: str | None = None
    host_details: Mapping[str, str] = NOTHING
    host_tags: tuple[str, ...] = ()
    group_details: Mapping[str, Any] = NOTHING
    """Of each GPU group its vGPU types [VgpuTypesInfo]."""
    gpu_devices: tuple[Mapping[str, Any], ...] = ()
    host_health_check_result: bool | None = None
    """What the operator's health check script said; None: there is none."""


@frozen(kw_only=True)
class StoragePoolInfo(Fields):
    """A storage pool of a host [StoragePoolInfo]."""

    uuid: str | None = None
    host: str | None = None
    local_path: str | None = None
    host_path: str | None = None
    pool_type: str | None = None
    """``Filesystem``, ``NetworkFilesystem`` and others [Storage.StoragePoolType]."""
    capacity_bytes: int = 0
    available_bytes: int = 0
    details: Mapping[str, str] | None = field(default=None, repr=False)
    """Options of the pool; may hold credentials."""


@frozen(kw_only=True)
class StartupStorageCommand(StartupCommand):
    """A storage pool that a host brings along [StartupStorageCommand]."""

    host_type: str = "Storage"
    parent: str | None = None
    template_info: Mapping[str, Any] | None = None
    """Of each template on the pool its properties [TemplateProp]."""
    total_size: int = 0
    """Bytes."""
    pool_info: StoragePoolInfo | None = None
    resource_type: str | None = None
    """``STORAGE_POOL`` and others [Storage.StorageResourceType]."""
    fs_type: str | None = None
    host_details: Mapping[str, str] = NOTHING
    nfs_share: str | None = None


@frozen(kw_only=True)
class StartupSecondaryStorageCommand(StartupCommand):
    """A secondary storage VM [StartupSecondaryStorageCommand]."""

    host_type: str = "SecondaryStorage"
    iqn: str = "NoIqn"


@frozen(kw_only=True)
class StartupProxyCommand(StartupCommand):
    """A console proxy VM [StartupProxyCommand]."""

    host_type: str = "ConsoleProxy"
    iqn: str = "NoIqn"
    proxy_port: int = 0
    proxy_vm_id: int = 0
