"""Hosts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from cloudlb.api.host_answer import HostAnswer, HostMetricsAnswer, servers_by_id, show_host
from cloudlb.api.host_lists import lists_of
from cloudlb.api.places import WITHOUT_EFFECT, find_cluster, find_pod, find_zone, one_of
from cloudlb.api.schema import Key, Long, date, optional, required, shown
from cloudlb.api.servers import find_server
from cloudlb.domain.models import Host
from cloudlb.domain.ports import AmbiguousName, HostFilter, NotFound, Transaction

UNKNOWN = "Unknown"
POWER_STATES = (UNKNOWN, "Disabled")
"""Of a host with a BMC, and of one without."""


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


async def _list_hosts(call: Call, arguments: ListHosts) -> Body:
    offset, limit = page_of(arguments)
    if limit is not None and not arguments.placement:
        return await call.context.host_roll.page(lambda txn: _filter(txn, arguments), offset, limit)
    return await _list(call, arguments, _show_placed if arguments.placement else _show_plain)


async def _list_hosts_metrics(call: Call, arguments: ListHosts) -> Body:
    return await _list(call, arguments, _show_metrics)


async def _list(call: Call, arguments: ListHosts, show: Show) -> Body:
    offset, limit = page_of(arguments)

    # Rows become answers here as well, on the store's thread: a fleet of thousands would hold up the reactor.
    def work(txn: Transaction) -> Body:
        which = _filter(txn, arguments)
        if which is None:
            return {}
        hosts, total = txn.hosts.page(which, offset, limit)
        return page_listing("host", hosts, total, show(txn, hosts))

    return await call.store.read(work)


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


def _filter(txn: Transaction, arguments: ListHosts) -> HostFilter | None:
    """Which hosts are asked for, None: no host can be such a one; an id that nothing has is an error."""
    which = HostFilter(
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
    is_nobody = arguments.hahost or arguments.storageaccessgroup is not None or _contradicts(arguments)
    return None if is_nobody else which


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
        run=_list_hosts,
    ),
    Command(
        name="listHostsMetrics",
        description="Lists hosts metrics",
        arguments=ListHosts,
        answer=HostMetricsAnswer,
        run=_list_hosts_metrics,
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
