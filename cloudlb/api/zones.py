"""Zones, pods and clusters."""

from __future__ import annotations

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, has_keyword, listing, single
from cloudlb.api.errors import invalid_parameter, unknown_entity
from cloudlb.api.schema import Key, as_answer, optional, required, shown
from cloudlb.domain.models import Cluster, Pod, Zone
from cloudlb.domain.ports import AlreadyExists, Transaction

ENABLED = "Enabled"
CLOUD_MANAGED = "CloudManaged"
ARCHITECTURES = ("x86_64", "aarch64")
HYPERVISORS = ("KVM", "Simulator", "XenServer", "VMware", "Hyperv", "LXC", "BareMetal", "Ovm3")


@frozen(kw_only=True)
class ZoneAnswer:
    """A zone."""

    id: str | None = shown("the ID of the zone")
    name: str | None = shown("the name of the zone")
    allocationstate: str | None = shown("the allocation state of the zone")


@frozen(kw_only=True)
class PodAnswer:
    """A pod."""

    id: str | None = shown("the ID of the pod")
    name: str | None = shown("the name of the pod")
    zoneid: str | None = shown("the zone ID of the pod")
    zonename: str | None = shown("the zone name of the pod")
    allocationstate: str | None = shown("the allocation state of the pod")


@frozen(kw_only=True)
class ClusterAnswer:
    """A cluster."""

    id: str | None = shown("the ID of the cluster")
    name: str | None = shown("the name of the cluster")
    zoneid: str | None = shown("the zone ID of the cluster")
    zonename: str | None = shown("the zone name of the cluster")
    podid: str | None = shown("the pod ID of the cluster")
    podname: str | None = shown("the pod name of the cluster")
    hypervisortype: str | None = shown("the hypervisor type of the cluster")
    clustertype: str | None = shown("the type of the cluster")
    managedstate: str | None = shown("whether this cluster is managed")
    allocationstate: str | None = shown("the allocation state of the cluster")
    arch: str | None = shown("the CPU architecture of the cluster's hosts")


def _show_zone(zone: Zone) -> ZoneAnswer:
    return ZoneAnswer(id=zone.uuid, name=zone.name, allocationstate=ENABLED)


def _show_pod(pod: Pod) -> PodAnswer:
    return PodAnswer(id=pod.uuid, name=pod.name, zoneid=pod.zone.uuid, zonename=pod.zone.name, allocationstate=ENABLED)


def _show_cluster(cluster: Cluster) -> ClusterAnswer:
    return ClusterAnswer(
        id=cluster.uuid,
        name=cluster.name,
        zoneid=cluster.pod.zone.uuid,
        zonename=cluster.pod.zone.name,
        podid=cluster.pod.uuid,
        podname=cluster.pod.name,
        hypervisortype=cluster.hypervisor,
        clustertype=CLOUD_MANAGED,
        managedstate="Managed",
        allocationstate=ENABLED,
        arch=cluster.arch,
    )


def find_zone(txn: Transaction, key: Key, parameter: str = "zoneid") -> Zone:
    """The zone of an id, or an error that names the parameter."""
    for zone in txn.topology.zones():
        if key in (zone.uuid, str(zone.id)):
            return zone
    raise unknown_entity(parameter, key)


def find_pod(txn: Transaction, key: Key, parameter: str = "podid") -> Pod:
    """The pod of an id, or an error that names the parameter."""
    for pod in txn.topology.pods():
        if key in (pod.uuid, str(pod.id)):
            return pod
    raise unknown_entity(parameter, key)


def find_cluster(txn: Transaction, key: Key, parameter: str = "clusterid") -> Cluster:
    """The cluster of an id, or an error that names the parameter."""
    for cluster in txn.topology.clusters():
        if key in (cluster.uuid, str(cluster.id)):
            return cluster
    raise unknown_entity(parameter, key)


@frozen(kw_only=True)
class ListZones(ListArguments):
    """Which zones."""

    id: Key | None = optional("the ID of the zone", related="listZones")
    name: str | None = optional("the name of the zone")


async def _list_zones(call: Call, arguments: ListZones) -> Body:
    def work(txn: Transaction) -> Body:
        one = find_zone(txn, arguments.id, "id") if arguments.id is not None else None
        rows = [
            zone
            for zone in txn.topology.zones()
            if (one is None or zone.id == one.id)
            and arguments.name in (None, zone.name)
            and has_keyword(zone.name, arguments)
        ]
        return listing("zone", rows, arguments, _show_zone)

    return await call.store.read(work)


@frozen(kw_only=True)
class ListPods(ListArguments):
    """Which pods."""

    id: Key | None = optional("list pods by ID", related="listPods")
    name: str | None = optional("list pods by name")
    zoneid: Key | None = optional("list pods by zone ID", related="listZones")


async def _list_pods(call: Call, arguments: ListPods) -> Body:
    def work(txn: Transaction) -> Body:
        one = find_pod(txn, arguments.id, "id") if arguments.id is not None else None
        zone = find_zone(txn, arguments.zoneid) if arguments.zoneid is not None else None
        rows = [
            pod
            for pod in txn.topology.pods()
            if (one is None or pod.id == one.id)
            and (zone is None or pod.zone.id == zone.id)
            and arguments.name in (None, pod.name)
            and has_keyword(pod.name, arguments)
        ]
        return listing("pod", rows, arguments, _show_pod)

    return await call.store.read(work)


@frozen(kw_only=True)
class ListClusters(ListArguments):
    """Which clusters."""

    id: Key | None = optional("lists clusters by the cluster ID", related="listClusters")
    name: str | None = optional("lists clusters by the cluster name")
    podid: Key | None = optional("lists clusters by pod ID", related="listPods")
    zoneid: Key | None = optional("lists clusters by zone ID", related="listZones")
    hypervisor: str | None = optional("lists clusters by hypervisor type")
    arch: str | None = optional("lists clusters by CPU architecture")


async def _list_clusters(call: Call, arguments: ListClusters) -> Body:
    def work(txn: Transaction) -> Body:
        one = find_cluster(txn, arguments.id, "id") if arguments.id is not None else None
        pod = find_pod(txn, arguments.podid) if arguments.podid is not None else None
        zone = find_zone(txn, arguments.zoneid) if arguments.zoneid is not None else None
        rows = [
            cluster
            for cluster in txn.topology.clusters()
            if (one is None or cluster.id == one.id)
            and (pod is None or cluster.pod.id == pod.id)
            and (zone is None or cluster.pod.zone.id == zone.id)
            and arguments.name in (None, cluster.name)
            and arguments.arch in (None, cluster.arch)
            and (arguments.hypervisor is None or arguments.hypervisor.lower() == cluster.hypervisor.lower())
            and has_keyword(cluster.name, arguments)
        ]
        return listing("cluster", rows, arguments, _show_cluster)

    return await call.store.read(work)


def new_name(parameter: str, name: str) -> str:
    """The name of something new, without blanks around it; an error that names the parameter if it is none."""
    # A name of digits could not be told from an id where an agent says in which zone it stands.
    if not name.strip() or name.strip().isdigit():
        raise invalid_parameter(parameter, f"{name!r} is no name: it must hold more than digits")
    return name.strip()


@frozen(kw_only=True)
class CreateZone:
    """A new zone."""

    name: str = required("the name of the zone")


async def _create_zone(call: Call, arguments: CreateZone) -> Body:
    name = new_name("name", arguments.name)
    try:
        return single("zone", _show_zone(await call.store.run(lambda txn: txn.topology.add_zone(name))))
    except AlreadyExists as error:
        raise invalid_parameter("name", str(error)) from error


@frozen(kw_only=True)
class CreatePod:
    """A new pod of a zone."""

    name: str = required("the name of the pod")
    zoneid: Key = required("the zone ID in which the pod will be created", related="listZones")


async def _create_pod(call: Call, arguments: CreatePod) -> Body:
    name = new_name("name", arguments.name)

    def work(txn: Transaction) -> Pod:
        return txn.topology.add_pod(name, find_zone(txn, arguments.zoneid).id)

    try:
        return single("pod", _show_pod(await call.store.run(work)))
    except AlreadyExists as error:
        raise invalid_parameter("name", str(error)) from error


@frozen(kw_only=True)
class AddCluster:
    """A new cluster of a pod."""

    clustername: str = required("the cluster name")
    clustertype: str = required(f"type of the cluster: {CLOUD_MANAGED}")
    hypervisor: str = required(f"hypervisor type of the cluster: {', '.join(HYPERVISORS)}")
    podid: Key = required("the Pod ID for the cluster", related="listPods")
    zoneid: Key = required("the Zone ID for the cluster", related="listZones")
    arch: str | None = optional(f"the CPU architecture of the cluster: {', '.join(ARCHITECTURES)}")


async def _add_cluster(call: Call, arguments: AddCluster) -> Body:
    name = new_name("clustername", arguments.clustername)
    if arguments.clustertype != CLOUD_MANAGED:
        raise invalid_parameter("clustertype", f"{arguments.clustertype!r} is not {CLOUD_MANAGED}")
    hypervisor = one_of(HYPERVISORS, "hypervisor", arguments.hypervisor)
    arch = one_of(ARCHITECTURES, "arch", arguments.arch or ARCHITECTURES[0])

    def work(txn: Transaction) -> Cluster:
        zone = find_zone(txn, arguments.zoneid)
        pod = find_pod(txn, arguments.podid)
        if pod.zone.id != zone.id:
            raise invalid_parameter("podid", f"pod {pod.name} is not in zone {zone.name}")
        return txn.topology.add_cluster(name, pod.id, hypervisor=hypervisor, arch=arch)

    try:
        cluster = await call.store.run(work)
    except AlreadyExists as error:
        raise invalid_parameter("clustername", str(error)) from error
    # A list, as in CloudStack, where one call may add several clusters of a vCenter.
    return {"count": 1, "cluster": [as_answer(_show_cluster(cluster))]}


def one_of(known: tuple[str, ...], parameter: str, text: str) -> str:
    """The known word that a text is, in any case; an error that names the parameter if it is none."""
    for name in known:
        if name.lower() == text.lower():
            return name
    raise invalid_parameter(parameter, f"{text!r} is none of {', '.join(known)}")


COMMANDS = (
    Command(name="listZones", description="Lists zones", arguments=ListZones, answer=ZoneAnswer, run=_list_zones),
    Command(name="listPods", description="Lists all Pods.", arguments=ListPods, answer=PodAnswer, run=_list_pods),
    Command(
        name="listClusters",
        description="Lists clusters.",
        arguments=ListClusters,
        answer=ClusterAnswer,
        run=_list_clusters,
    ),
    Command(
        name="createZone", description="Creates a Zone.", arguments=CreateZone, answer=ZoneAnswer, run=_create_zone
    ),
    Command(name="createPod", description="Creates a new Pod.", arguments=CreatePod, answer=PodAnswer, run=_create_pod),
    Command(
        name="addCluster",
        description="Adds a new cluster",
        arguments=AddCluster,
        answer=ClusterAnswer,
        run=_add_cluster,
    ),
)
