"""Pods."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, Success, has_keyword, listing, single
from cloudlb.api.errors import invalid_parameter
from cloudlb.api.places import (
    WITHOUT_EFFECT,
    allocation_state,
    changed_details,
    find_pod,
    find_zone,
    new_name,
    of_network,
    remove,
    rename,
)
from cloudlb.api.schema import Key, optional, required, shown
from cloudlb.domain.models import Pod
from cloudlb.domain.places import PlaceDetails
from cloudlb.domain.ports import AlreadyExists, Transaction


@frozen(kw_only=True)
class PodAnswer:
    """A pod."""

    id: str | None = shown("the ID of the pod")
    name: str | None = shown("the name of the pod")
    zoneid: str | None = shown("the zone ID of the pod")
    zonename: str | None = shown("the zone name of the pod")
    allocationstate: str | None = shown("the allocation state of the pod")
    gateway: str | None = shown("the gateway of the pod, as it was given")
    netmask: str | None = shown("the netmask of the pod, as it was given")
    ipranges: list[dict[str, Any]] | None = shown("the IP range for the pod: startip and endip, as they were given")
    startip: list[str] | None = shown("the starting IP for the pod, as it was given")
    endip: list[str] | None = shown("the ending IP for the pod, as it was given")


def _show(pod: Pod, details: PlaceDetails) -> PodAnswer:
    network = details.network
    ends: dict[str, Any] = {name: network[name] for name in ("startip", "endip") if name in network}
    return PodAnswer(
        id=pod.uuid,
        name=pod.name,
        zoneid=pod.zone.uuid,
        zonename=pod.zone.name,
        allocationstate=details.allocation_state,
        gateway=network.get("gateway"),
        netmask=network.get("netmask"),
        ipranges=[ends] if ends else None,
        # Lists, as in CloudStack, where a pod may have several ranges.
        startip=[ends["startip"]] if "startip" in ends else None,
        endip=[ends["endip"]] if "endip" in ends else None,
    )


@frozen(kw_only=True)
class ListPods(ListArguments):
    """Which pods."""

    id: Key | None = optional("list pods by ID", related="listPods")
    name: str | None = optional("list pods by name")
    zoneid: Key | None = optional("list pods by zone ID", related="listZones")
    allocationstate: str | None = optional("list pods by allocation state")
    showcapacities: bool | None = optional(WITHOUT_EFFECT)


async def _list(call: Call, arguments: ListPods) -> Body:
    state = allocation_state(arguments.allocationstate)

    def work(txn: Transaction) -> Body:
        one = find_pod(txn, arguments.id, "id") if arguments.id is not None else None
        zone = find_zone(txn, arguments.zoneid) if arguments.zoneid is not None else None
        details = txn.topology.details(Pod)
        rows = [
            _show(pod, details[pod.uuid])
            for pod in txn.topology.pods()
            if (one is None or pod.id == one.id)
            and (zone is None or pod.zone.id == zone.id)
            and arguments.name in (None, pod.name)
            and state in (None, details[pod.uuid].allocation_state)
            and has_keyword(pod.name, arguments)
        ]
        return listing("pod", rows, arguments)

    return await call.store.read(work)


@frozen(kw_only=True)
class Network:
    """What is kept and shown of a pod's network; there is none here."""

    startip: str | None = optional("the starting IP address for the pod")
    endip: str | None = optional("the ending IP address for the pod")
    netmask: str | None = optional("the netmask for the pod")
    gateway: str | None = optional("the gateway for the pod")


@frozen(kw_only=True)
class CreatePod(Network):
    """A new pod of a zone."""

    name: str = required("the name of the pod")
    zoneid: Key = required("the zone ID in which the pod will be created", related="listZones")
    allocationstate: str | None = optional("Enabled or Disabled: whether anything new is placed in the pod")


async def _create(call: Call, arguments: CreatePod) -> Body:
    name, state = new_name("name", arguments.name), allocation_state(arguments.allocationstate)
    details = changed_details(PlaceDetails(), state, of_network(arguments, Network))

    def work(txn: Transaction) -> Body:
        pod = txn.topology.add_pod(name, find_zone(txn, arguments.zoneid).id)
        txn.topology.describe(pod, details)
        return single("pod", _show(pod, details))

    try:
        return await call.store.run(work)
    except AlreadyExists as error:
        raise invalid_parameter("name", str(error)) from error


@frozen(kw_only=True)
class UpdatePod(Network):
    """What of a pod is to be changed; an empty text takes something back."""

    id: Key = required("the ID of the pod", related="listPods")
    name: str | None = optional("the name of the pod; refused while hosts stand there, whose agents know it")
    allocationstate: str | None = optional("Enabled or Disabled: whether anything new is placed in the pod")


async def _update(call: Call, arguments: UpdatePod) -> Body:
    state, network = allocation_state(arguments.allocationstate), of_network(arguments, Network)

    def work(txn: Transaction) -> Body:
        pod = rename(txn, find_pod(txn, arguments.id, "id"), "name", arguments.name)
        details = changed_details(txn.topology.details(Pod)[pod.uuid], state, network)
        txn.topology.describe(pod, details)
        return single("pod", _show(pod, details))

    return await call.store.run(work)


@frozen(kw_only=True)
class DeletePod:
    """Which pod."""

    id: Key = required("the ID of the pod", related="listPods")


async def _delete(call: Call, arguments: DeletePod) -> Body:
    return await remove(call, lambda txn: find_pod(txn, arguments.id, "id"))


COMMANDS = (
    Command(name="listPods", description="Lists all Pods.", arguments=ListPods, answer=PodAnswer, run=_list),
    Command(name="createPod", description="Creates a new Pod.", arguments=CreatePod, answer=PodAnswer, run=_create),
    Command(name="updatePod", description="Updates a Pod.", arguments=UpdatePod, answer=PodAnswer, run=_update),
    Command(
        name="deletePod",
        description="Deletes a Pod in which there is neither a cluster nor a host.",
        arguments=DeletePod,
        answer=Success,
        run=_delete,
    ),
)
