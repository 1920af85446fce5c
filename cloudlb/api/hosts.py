"""Hosts."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from attrs import asdict, evolve, frozen

from cloudlb.api.command import (
    MAX_PAGE_SIZE,
    SUCCESS,
    Body,
    Call,
    Command,
    ListArguments,
    Success,
    listing,
    page_listing,
    page_of,
    single,
    started,
)
from cloudlb.api.errors import invalid_parameter, unknown_entity
from cloudlb.api.host_lists import lists_of
from cloudlb.api.places import CLOUD_MANAGED, WITHOUT_EFFECT, find_cluster, find_pod, find_zone, one_of
from cloudlb.api.schema import Date, Key, Long, date, optional, required, shown
from cloudlb.api.servers import find_server
from cloudlb.domain.host_status import STATUS_TABLE, HostStatus
from cloudlb.domain.models import Host, Server, ServerId
from cloudlb.domain.ports import AmbiguousName, HostFilter, NotFound, Transaction

UNKNOWN = "Unknown"
POWER_STATES = (UNKNOWN, "Disabled")
"""Of a host with a BMC, and of one without."""


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


def find_host(txn: Transaction, key: Key, parameter: str = "id") -> Host:
    """The host of an id, or an error that names the parameter."""
    try:
        host = txn.hosts.find(key)
    except AmbiguousName:
        host = None
    # The port finds hosts by name, too; here a name is no id.
    if host is None or key not in (host.uuid, str(host.id)):
        raise unknown_entity(parameter, key)
    return host


def host_body(txn: Transaction, key: Key) -> Body:
    """The answer with the host of the parameter ``id``, as it is now."""
    return single("host", show_host(servers_by_id(txn))(find_host(txn, key)))


@frozen(kw_only=True)
class ListHosts(ListArguments):
    """Which hosts."""

    id: Key | None = optional("the id of the host", related="listHosts")
    name: str | None = optional("the name of the host")
    zoneid: Key | None = optional("the Zone ID for the host", related="listZones")
    podid: Key | None = optional("the Pod ID for the host", related="listPods")
    clusterid: Key | None = optional("lists hosts existing in particular cluster", related="listClusters")
    state: str | None = optional("the state of the host")
    type: str | None = optional("the host type")
    resourcestate: str | None = optional("list hosts by resource state")
    hypervisor: str | None = optional("hypervisor type of host")
    managementserverid: Key | None = optional(
        "the id of the management server that the hosts are or were last on", related="listManagementServers"
    )
    placement: bool | None = optional("whether to show changed, serverlist and onpreferred", extension=True)
    arch: str | None = optional("CPU architecture of the host")
    version: str | None = optional("the version of the host's agent")
    outofbandmanagementenabled: bool | None = optional("list hosts for which out-of-band management is enabled")
    outofbandmanagementpowerstate: str | None = optional(
        "list hosts by the power state of their out-of-band management: Unknown or Disabled"
    )
    hahost: bool | None = optional("true: hosts dedicated to VMs restarted by HA, which none is")
    storageaccessgroup: str | None = optional("the name of a storage access group, of which there is none")
    details: list[str] | None = optional(WITHOUT_EFFECT)


Show: TypeAlias = Callable[[Transaction, Sequence[Host]], Callable[[Host], object]]


def _show_plain(txn: Transaction, hosts: Sequence[Host]) -> Callable[[Host], HostAnswer]:
    return show_host(servers_by_id(txn))


def _show_metrics(txn: Transaction, hosts: Sequence[Host]) -> Callable[[Host], HostMetricsAnswer]:
    show = _show_plain(txn, hosts)

    def show_with_metrics(host: Host) -> HostMetricsAnswer:
        facts = host.facts
        return HostMetricsAnswer(
            **asdict(show(host), recurse=False),
            cputotalghz=f"{facts.cpus * facts.cpu_speed / 1000:.2f} Ghz",
            memorytotalgb=f"{facts.memory / 2**30:.2f} GB",
        )

    return show_with_metrics


def _lists_hosts(show: Show) -> Callable[[Call, ListHosts], Awaitable[Body]]:
    async def run(call: Call, arguments: ListHosts) -> Body:
        offset, limit = page_of(arguments)

        # Rows become answers here as well, on the store's thread: a fleet of thousands would hold up the reactor.
        def work(txn: Transaction) -> Body:
            which = _filter(txn, arguments)
            if arguments.hahost or arguments.storageaccessgroup is not None or _contradicts(arguments):
                return {}
            hosts, total = txn.hosts.page(which, offset, limit)
            shower = _show_placed if arguments.placement else show
            return page_listing("host", hosts, total, shower(txn, hosts))

        return await call.store.read(work)

    return run


def _bmc(arguments: ListHosts) -> bool | None:
    """Whether hosts with a BMC are asked for, or hosts without one."""
    if arguments.outofbandmanagementpowerstate is None:
        return arguments.outofbandmanagementenabled
    return one_of(POWER_STATES, "outofbandmanagementpowerstate", arguments.outofbandmanagementpowerstate) == UNKNOWN


def _contradicts(arguments: ListHosts) -> bool:
    return arguments.outofbandmanagementenabled not in (None, _bmc(arguments))


def _show_placed(txn: Transaction, hosts: Sequence[Host]) -> Callable[[Host], HostAnswer]:
    """How to show these hosts with where they should be, and since when they have been where they are."""
    servers, lists = servers_by_id(txn), lists_of(txn, hosts)
    show = show_host(servers)
    few = len(hosts) <= MAX_PAGE_SIZE
    glances = txn.changes.hosts_since(math.inf, [host.id for host in hosts]) if few else txn.changes.hosts()
    changed = {glance.id: glance.changed for glance in glances}

    def show_placed(host: Host) -> HostAnswer:
        # Nothing is known of one that an older version has changed last.
        row, addresses = evolve(show(host), changed=date(changed.get(host.id) or None)), lists.get(host.id)
        if addresses is None:
            return row
        server = servers.get(host.server_id) if host.server_id is not None else None
        preferred = server is not None and server.answers_to(addresses[0])
        return evolve(row, serverlist=",".join(addresses), onpreferred=preferred)

    return show_placed


def _filter(txn: Transaction, arguments: ListHosts) -> HostFilter:
    """Which hosts are asked for; an id that nothing has is an error."""
    return HostFilter(
        host_id=None if arguments.id is None else find_host(txn, arguments.id).id,
        name=arguments.name,
        keyword=arguments.keyword,
        zone_id=None if arguments.zoneid is None else find_zone(txn, arguments.zoneid).id,
        pod_id=None if arguments.podid is None else find_pod(txn, arguments.podid).id,
        cluster_id=None if arguments.clusterid is None else find_cluster(txn, arguments.clusterid).id,
        server_id=None if arguments.managementserverid is None else find_server(txn, arguments.managementserverid).id,
        status=arguments.state,
        resource_state=arguments.resourcestate,
        type=arguments.type,
        hypervisor=arguments.hypervisor,
        arch=arguments.arch,
        version=arguments.version,
        out_of_band=_bmc(arguments),
    )


@frozen(kw_only=True)
class HostCountAnswer:
    """How many hosts are alike."""

    state: str | None = shown("the state of the hosts")
    resourcestate: str | None = shown("the resource state of the hosts")
    count: Long | None = shown("how many there are")


@frozen(kw_only=True)
class ListHostCounts:
    """Nothing is asked."""


async def _list_host_counts(call: Call, arguments: ListHostCounts) -> Body:
    counts = await call.store.read(lambda txn: txn.hosts.by_states())
    rows = [
        HostCountAnswer(state=status.value, resourcestate=state.value, count=Long(number))
        for (status, state), number in counts.items()
    ]
    return listing("hostcount", rows, ListArguments())


@frozen(kw_only=True)
class ReconnectHost:
    """Which host."""

    id: Key = required("the host ID", related="listHosts")


async def _reconnect_host(call: Call, arguments: ReconnectHost) -> Body:
    host = await call.store.read(lambda txn: find_host(txn, arguments.id))
    try:
        job = await call.context.operations.reconnect_host(host.id, call.account.id)
    except NotFound as error:
        raise unknown_entity("id", arguments.id) from error
    return started(job.uuid)


@frozen(kw_only=True)
class DeleteHost:
    """Which host."""

    id: Key = required("the host ID", related="listHosts")
    forced: bool | None = optional("taken for CloudStack's sake: deleting a host here never depends on it")


async def _delete_host(call: Call, arguments: DeleteHost) -> Body:
    host = await call.store.read(lambda txn: find_host(txn, arguments.id))
    if not await call.context.operations.delete_host(host.id, call.account.id):
        raise unknown_entity("id", arguments.id)
    return SUCCESS


@frozen(kw_only=True)
class RestoreHost:
    """Which host."""

    id: Key = required("the ID of the deleted host")


async def _restore_host(call: Call, arguments: RestoreHost) -> Body:
    def find(txn: Transaction) -> Host | None:
        host = txn.hosts.find_removed(arguments.id)
        place = host and (host.cluster or host.pod or host.zone)
        if place and place.uuid not in txn.topology.details(type(place)):
            raise invalid_parameter("id", "the host cannot come back: where it stood was deleted")
        return host

    deleted = await call.store.read(find)
    if deleted is None or not await call.context.operations.restore_host(deleted.id, call.account.id):
        raise invalid_parameter("id", f"there is no deleted host with the id {arguments.id!r}")
    return await call.store.read(lambda txn: host_body(txn, arguments.id))


COMMANDS = (
    Command(
        name="listHosts",
        description="Lists hosts.",
        arguments=ListHosts,
        answer=HostAnswer,
        run=_lists_hosts(_show_plain),
    ),
    Command(
        name="listHostsMetrics",
        description="Lists hosts metrics",
        arguments=ListHosts,
        answer=HostMetricsAnswer,
        run=_lists_hosts(_show_metrics),
    ),
    Command(
        name="listHostCounts",
        description="Counts the hosts by state and resource state.",
        arguments=ListHostCounts,
        answer=HostCountAnswer,
        run=_list_host_counts,
        extension=True,
    ),
    Command(
        name="reconnectHost",
        description="Reconnects a host.",
        arguments=ReconnectHost,
        answer=HostAnswer,
        run=_reconnect_host,
        is_async=True,
    ),
    Command(
        name="deleteHost",
        description="Deletes a host; its agent is not admitted again.",
        arguments=DeleteHost,
        answer=Success,
        run=_delete_host,
    ),
    Command(
        name="restoreHost",
        description="Has the agent of a deleted host admitted again.",
        arguments=RestoreHost,
        answer=HostAnswer,
        run=_restore_host,
        extension=True,
    ),
)
