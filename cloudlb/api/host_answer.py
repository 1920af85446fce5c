"""How a host is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from cloudlb.api.places import CLOUD_MANAGED
from cloudlb.api.schema import Date, Long, date, shown
from cloudlb.domain.host_status import STATUS_TABLE, HostStatus
from cloudlb.domain.models import Host, Server, ServerId
from cloudlb.domain.ports import Transaction


@frozen(kw_only=True)
class HostAnswer:
    """A host."""

    id: str | None = shown("the ID of the host")
    name: str | None = shown("the name of the host")
    state: str | None = shown("the state of the host")
    type: str | None = shown("the host type")
    resourcestate: str | None = shown("the resource state of the host")
    ipaddress: str | None = shown("the IP address of the host")
    zoneid: str | None = shown("the Zone ID of the host")
    zonename: str | None = shown("the Zone name of the host")
    podid: str | None = shown("the Pod ID of the host")
    podname: str | None = shown("the Pod name of the host")
    clusterid: str | None = shown("the cluster ID of the host")
    clustername: str | None = shown("the cluster name of the host")
    clustertype: str | None = shown("the cluster type of the cluster that host belongs to")
    version: str | None = shown("the version of the host's agent")
    hypervisor: str | None = shown("the host hypervisor")
    hypervisorversion: str | None = shown("the hypervisor version")
    arch: str | None = shown("CPU architecture of the host")
    cpunumber: int | None = shown("the CPU number of the host")
    cpuspeed: Long | None = shown("the CPU speed of the host, in MHz")
    memorytotal: Long | None = shown("the memory total of the host, in bytes")
    capabilities: str | None = shown("capabilities of the host")
    hosttags: str | None = shown("comma-separated list of tags for the host")
    managementserverid: str | None = shown("the ID of the management server that the host is or was last on")
    managementservername: str | None = shown("the name of that management server")
    msid: Long | None = shown("the number of that management server")
    lastpinged: Date | None = shown("the date and time the host was last pinged")
    disconnected: Date | None = shown("the date and time the host was disconnected")
    events: str | None = shown("what can happen to the host's agent next: events of the status table")
    hahost: bool | None = shown("true if the host is dedicated to VMs restarted by HA; never")
    details: dict[str, str] | None = shown("what the host's agent says of it besides")
    annotation: str | None = shown("the latest remark of an operator about the host")
    created: Date | None = shown("the date and time the host was created")
    removed: Date | None = shown("the date and time the host was removed")
    changed: Date | None = shown(
        "with placement=true: when its states, its management server or its tags have changed", extension=True
    )
    serverlist: str | None = shown(
        "with placement=true: the addresses of management servers in the order in which the host's agent tries them; "
        "not there where only the agent knows (shuffle), or where it has no agent",
        extension=True,
    )
    onpreferred: bool | None = shown(
        "with placement=true: whether the host is on the first management server of that list", extension=True
    )


_EVENTS: Mapping[HostStatus, str] = {
    status: "; ".join(event.value for before, event in STATUS_TABLE if before is status) for status in HostStatus
}


def servers_by_id(txn: Transaction) -> Mapping[ServerId, Server]:
    """Every server, for :func:`show_host`."""
    return {server.id: server for server in txn.servers.all()}


def show_host(servers: Mapping[ServerId, Server]) -> Callable[[Host], HostAnswer]:
    """How to show hosts on these servers."""

    def show(host: Host) -> HostAnswer:
        facts = host.facts
        server = servers.get(host.server_id) if host.server_id is not None else None
        return HostAnswer(
            id=host.uuid,
            name=facts.name,
            state=host.status.value,
            type=facts.type,
            resourcestate=host.resource_state.value,
            ipaddress=facts.ip_address,
            zoneid=host.zone.uuid,
            zonename=host.zone.name,
            podid=host.pod.uuid if host.pod else None,
            podname=host.pod.name if host.pod else None,
            clusterid=host.cluster.uuid if host.cluster else None,
            clustername=host.cluster.name if host.cluster else None,
            clustertype=CLOUD_MANAGED if host.cluster else None,
            version=facts.version,
            hypervisor=facts.hypervisor,
            hypervisorversion=facts.hypervisor_version or None,
            arch=facts.arch or None,
            cpunumber=facts.cpus,
            cpuspeed=Long(facts.cpu_speed),
            memorytotal=Long(facts.memory),
            capabilities=facts.capabilities or None,
            hosttags=",".join(host.tags) or None,
            managementserverid=server.uuid if server else None,
            managementservername=server.name if server else None,
            msid=Long(host.server_id) if host.server_id is not None else None,
            lastpinged=date(host.last_heard),
            disconnected=date(host.disconnected),
            events=_EVENTS[host.status],
            hahost=False,
            details={name: text for name, text in facts.details.items() if "password" not in name.lower()} or None,
            annotation=host.annotation,
            created=date(host.created),
            removed=date(host.removed),
        )

    return show


@frozen(kw_only=True)
class HostMetricsAnswer(HostAnswer):
    """A host, and what it has as people read it."""

    cputotalghz: str | None = shown("the total cpu capacity in Ghz")
    memorytotalgb: str | None = shown("the total memory capacity in GB")
