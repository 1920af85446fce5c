"""Hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from cloudlb.api.command import SUCCESS, Body, Call, Command, ListArguments, Success, has_keyword, listing, started
from cloudlb.api.errors import unknown_entity
from cloudlb.api.schema import Date, Key, Long, date, optional, required, shown
from cloudlb.api.servers import find_server
from cloudlb.api.zones import CLOUD_MANAGED, find_cluster, find_pod, find_zone
from cloudlb.domain.models import Host, Server, ServerId
from cloudlb.domain.ports import NotFound, Transaction


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
    managementserverid: str | None = shown("the ID of the management server that the host is or was last on")
    managementservername: str | None = shown("the name of that management server")
    msid: Long | None = shown("the number of that management server")
    lastpinged: Date | None = shown("the date and time the host was last pinged")
    disconnected: Date | None = shown("the date and time the host was disconnected")
    created: Date | None = shown("the date and time the host was created")
    removed: Date | None = shown("the date and time the host was removed")


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
            managementserverid=server.uuid if server else None,
            managementservername=server.name if server else None,
            msid=Long(host.server_id) if host.server_id is not None else None,
            lastpinged=date(host.last_heard),
            disconnected=date(host.disconnected),
            created=date(host.created),
            removed=date(host.removed),
        )

    return show


def find_host(txn: Transaction, key: Key) -> Host:
    """The host of the parameter ``id``, or an error that names it."""
    host = txn.hosts.find(key)
    # The port finds hosts by name, too; here a name is no id.
    if host is None or key not in (host.uuid, str(host.id)):
        raise unknown_entity("id", key)
    return host


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


async def _list_hosts(call: Call, arguments: ListHosts) -> Body:
    # Rows become answers here as well, on the store's thread: a fleet of thousands would hold up the reactor.
    def work(txn: Transaction) -> Body:
        tests = _tests(txn, arguments)
        hosts = txn.hosts.all() if arguments.id is None else [find_host(txn, arguments.id)]
        rows = [host for host in hosts if all(test(host) for test in tests)]
        return listing("host", rows, arguments, show_host(servers_by_id(txn)))

    return await call.store.read(work)


def _tests(txn: Transaction, arguments: ListHosts) -> list[Callable[[Host], bool]]:
    """What the hosts asked for have in common; only what was asked is tested."""
    tests: list[Callable[[Host], bool]] = []

    def equal(wanted: str | None, value: Callable[[Host], str]) -> None:
        if wanted is not None:
            tests.append(lambda host: value(host).lower() == wanted.lower())

    if arguments.name is not None:
        tests.append(lambda host: host.facts.name == arguments.name)
    if arguments.keyword is not None:
        tests.append(lambda host: has_keyword(host.facts.name, arguments))
    if arguments.zoneid is not None:
        zone = find_zone(txn, arguments.zoneid)
        tests.append(lambda host: host.zone.id == zone.id)
    if arguments.podid is not None:
        pod = find_pod(txn, arguments.podid)
        tests.append(lambda host: host.pod is not None and host.pod.id == pod.id)
    if arguments.clusterid is not None:
        cluster = find_cluster(txn, arguments.clusterid)
        tests.append(lambda host: host.cluster is not None and host.cluster.id == cluster.id)
    if arguments.managementserverid is not None:
        server = find_server(txn, arguments.managementserverid)
        tests.append(lambda host: host.server_id == server.id)
    equal(arguments.state, lambda host: host.status.value)
    equal(arguments.type, lambda host: host.facts.type)
    equal(arguments.resourcestate, lambda host: host.resource_state.value)
    equal(arguments.hypervisor, lambda host: host.facts.hypervisor)
    return tests


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


COMMANDS = (
    Command(name="listHosts", description="Lists hosts.", arguments=ListHosts, answer=HostAnswer, run=_list_hosts),
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
)
