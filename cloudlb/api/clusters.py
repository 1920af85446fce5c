"""Clusters."""

from __future__ import annotations

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, Success, has_keyword, listing, single
from cloudlb.api.errors import invalid_parameter
from cloudlb.api.places import (
    ARCHITECTURES,
    CLOUD_MANAGED,
    HYPERVISORS,
    WITHOUT_EFFECT,
    allocation_state,
    changed_details,
    find_cluster,
    find_pod,
    find_zone,
    new_name,
    one_of,
    remove,
    rename,
)
from cloudlb.api.schema import Key, as_answer, optional, required, shown
from cloudlb.domain.models import Cluster
from cloudlb.domain.places import PlaceDetails
from cloudlb.domain.ports import AlreadyExists, Transaction

MANAGED = "Managed"


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
    managedstate: str | None = shown("whether this cluster is managed: always Managed, see updateHost")
    allocationstate: str | None = shown("the allocation state of the cluster")
    arch: str | None = shown("the CPU architecture of the cluster's hosts")


def _show(cluster: Cluster, details: PlaceDetails) -> ClusterAnswer:
    return ClusterAnswer(
        id=cluster.uuid,
        name=cluster.name,
        zoneid=cluster.pod.zone.uuid,
        zonename=cluster.pod.zone.name,
        podid=cluster.pod.uuid,
        podname=cluster.pod.name,
        hypervisortype=cluster.hypervisor,
        clustertype=CLOUD_MANAGED,
        managedstate=MANAGED,
        allocationstate=details.allocation_state,
        arch=cluster.arch,
    )


@frozen(kw_only=True)
class ListClusters(ListArguments):
    """Which clusters."""

    id: Key | None = optional("lists clusters by the cluster ID", related="listClusters")
    name: str | None = optional("lists clusters by the cluster name")
    podid: Key | None = optional("lists clusters by pod ID", related="listPods")
    zoneid: Key | None = optional("lists clusters by zone ID", related="listZones")
    hypervisor: str | None = optional("lists clusters by hypervisor type")
    clustertype: str | None = optional("lists clusters by cluster type")
    allocationstate: str | None = optional("lists clusters by allocation state")
    managedstate: str | None = optional("lists clusters by whether they are managed")
    arch: str | None = optional("lists clusters by CPU architecture")
    showcapacities: bool | None = optional(WITHOUT_EFFECT)


async def _list(call: Call, arguments: ListClusters) -> Body:
    def work(txn: Transaction) -> Body:
        one = find_cluster(txn, arguments.id, "id") if arguments.id is not None else None
        pod = find_pod(txn, arguments.podid) if arguments.podid is not None else None
        zone = find_zone(txn, arguments.zoneid) if arguments.zoneid is not None else None
        details = txn.topology.details(Cluster)
        rows = [
            answer
            for cluster in txn.topology.clusters()
            if (one is None or cluster.id == one.id)
            and (pod is None or cluster.pod.id == pod.id)
            and (zone is None or cluster.pod.zone.id == zone.id)
            and arguments.name in (None, cluster.name)
            and has_keyword(cluster.name, arguments)
            and _fits(answer := _show(cluster, details[cluster.uuid]), arguments)
        ]
        return listing("cluster", rows, arguments)

    return await call.store.read(work)


def _fits(cluster: ClusterAnswer, arguments: ListClusters) -> bool:
    asked = (
        (arguments.hypervisor, cluster.hypervisortype),
        (arguments.clustertype, cluster.clustertype),
        (arguments.allocationstate, cluster.allocationstate),
        (arguments.managedstate, cluster.managedstate),
        (arguments.arch, cluster.arch),
    )
    return all(wanted is None or wanted.lower() == (found or "").lower() for wanted, found in asked)


@frozen(kw_only=True)
class AddCluster:
    """A new cluster of a pod."""

    clustername: str = required("the cluster name")
    clustertype: str = required(f"type of the cluster: {CLOUD_MANAGED}")
    hypervisor: str = required(f"hypervisor type of the cluster: {', '.join(HYPERVISORS)}")
    podid: Key = required("the Pod ID for the cluster", related="listPods")
    zoneid: Key = required("the Zone ID for the cluster", related="listZones")
    arch: str | None = optional(f"the CPU architecture of the cluster: {', '.join(ARCHITECTURES)}")
    allocationstate: str | None = optional("Enabled or Disabled: whether anything new is placed in the cluster")


async def _add(call: Call, arguments: AddCluster) -> Body:
    name = new_name("clustername", arguments.clustername)
    one_of((CLOUD_MANAGED,), "clustertype", arguments.clustertype)
    hypervisor = one_of(HYPERVISORS, "hypervisor", arguments.hypervisor)
    arch = one_of(ARCHITECTURES, "arch", arguments.arch or ARCHITECTURES[0])
    details = changed_details(PlaceDetails(), allocation_state(arguments.allocationstate), {})

    def work(txn: Transaction) -> Body:
        zone = find_zone(txn, arguments.zoneid)
        pod = find_pod(txn, arguments.podid)
        if pod.zone.id != zone.id:
            raise invalid_parameter("podid", f"pod {pod.name} is not in zone {zone.name}")
        cluster = txn.topology.add_cluster(name, pod.id, hypervisor=hypervisor, arch=arch)
        txn.topology.describe(cluster, details)
        # A list, as in CloudStack, where one call may add several clusters of a vCenter.
        return {"count": 1, "cluster": [as_answer(_show(cluster, details))]}

    try:
        return await call.store.run(work)
    except AlreadyExists as error:
        raise invalid_parameter("clustername", str(error)) from error


@frozen(kw_only=True)
class UpdateCluster:
    """What of a cluster is to be changed."""

    id: Key = required("the ID of the cluster", related="listClusters")
    clustername: str | None = optional("the cluster name; refused while hosts stand there, whose agents know it")
    allocationstate: str | None = optional("Enabled or Disabled: whether anything new is placed in the cluster")
    clustertype: str | None = optional(f"type of the cluster: {CLOUD_MANAGED}, as it is")
    hypervisor: str | None = optional("hypervisor type of the cluster, as it is")
    arch: str | None = optional("the CPU architecture of the cluster, as it is")
    managedstate: str | None = optional(f"{MANAGED}, as it is; hosts are managed one by one, see updateHost")


async def _update(call: Call, arguments: UpdateCluster) -> Body:
    state = allocation_state(arguments.allocationstate)

    def work(txn: Transaction) -> Body:
        cluster = find_cluster(txn, arguments.id, "id")
        for parameter, fixed in {
            "clustertype": CLOUD_MANAGED,
            "hypervisor": cluster.hypervisor,
            "arch": cluster.arch,
            "managedstate": MANAGED,
        }.items():
            one_of((fixed,), parameter, getattr(arguments, parameter) or fixed)
        cluster = rename(txn, cluster, "clustername", arguments.clustername)
        details = changed_details(txn.topology.details(Cluster)[cluster.uuid], state, {})
        txn.topology.describe(cluster, details)
        return single("cluster", _show(cluster, details))

    return await call.store.run(work)


@frozen(kw_only=True)
class DeleteCluster:
    """Which cluster."""

    id: Key = required("the cluster ID", related="listClusters")


async def _delete(call: Call, arguments: DeleteCluster) -> Body:
    return await remove(call, lambda txn: find_cluster(txn, arguments.id, "id"))


COMMANDS = (
    Command(
        name="listClusters", description="Lists clusters.", arguments=ListClusters, answer=ClusterAnswer, run=_list
    ),
    Command(name="addCluster", description="Adds a new cluster", arguments=AddCluster, answer=ClusterAnswer, run=_add),
    Command(
        name="updateCluster",
        description="Updates an existing cluster",
        arguments=UpdateCluster,
        answer=ClusterAnswer,
        run=_update,
    ),
    Command(
        name="deleteCluster",
        description="Deletes a cluster in which there is no host.",
        arguments=DeleteCluster,
        answer=Success,
        run=_delete,
    ),
)
