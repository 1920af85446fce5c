"""What zones, pods and clusters have in common: how they are found, named, described and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import evolve, fields

from cloudlb.api.command import SUCCESS, Body, Call
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter, unknown_entity
from cloudlb.api.schema import Key
from cloudlb.domain.models import Cluster, Pod, Zone
from cloudlb.domain.places import DISABLED, ENABLED, Place, PlaceDetails, StillInUse
from cloudlb.domain.ports import AlreadyExists, Transaction

P = TypeVar("P", Zone, Pod, Cluster)

WITHOUT_EFFECT = "taken for CloudStack's sake, without effect"
ARCHITECTURES = ("x86_64", "aarch64")
HYPERVISORS = ("KVM", "Simulator", "XenServer", "VMware", "Hyperv", "LXC", "BareMetal", "Ovm3")
CLOUD_MANAGED = "CloudManaged"


def find_zone(txn: Transaction, key: Key, parameter: str = "zoneid") -> Zone:
    """The zone of an id, or an error that names the parameter."""
    return _find(txn.topology.zones(), key, parameter)


def find_pod(txn: Transaction, key: Key, parameter: str = "podid") -> Pod:
    """The pod of an id, or an error that names the parameter."""
    return _find(txn.topology.pods(), key, parameter)


def find_cluster(txn: Transaction, key: Key, parameter: str = "clusterid") -> Cluster:
    """The cluster of an id, or an error that names the parameter."""
    return _find(txn.topology.clusters(), key, parameter)


def _find(places: Sequence[P], key: Key, parameter: str) -> P:
    for place in places:
        if key in (place.uuid, str(place.id)):
            return place
    raise unknown_entity(parameter, key)


def new_name(parameter: str, name: str) -> str:
    """The name of something new, without blanks around it; an error that names the parameter if it is none."""
    # A name of digits could not be told from an id where an agent says in which zone it stands.
    if not name.strip() or name.strip().isdigit():
        raise invalid_parameter(parameter, f"{name!r} is no name: it must hold more than digits")
    return name.strip()


def one_of(known: Sequence[str], parameter: str, text: str) -> str:
    """The known word that a text is, in any case; an error that names the parameter if it is none."""
    for name in known:
        if name.lower() == text.lower():
            return name
    raise invalid_parameter(parameter, f"{text!r} is none of {', '.join(known)}")


def allocation_state(text: str | None) -> str | None:
    """The allocation state that a parameter of this name means."""
    return None if text is None else one_of((ENABLED, DISABLED), "allocationstate", text)


def of_network(arguments: Any, described: type[Any]) -> Mapping[str, Any]:
    """What arguments say of the network, by the fields of a class of parameters; what they do not is left out."""
    names = [attribute.name for attribute in fields(described)]
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def changed_details(before: PlaceDetails, state: str | None, network: Mapping[str, Any]) -> PlaceDetails:
    """What is said of a place after a change; an empty text takes something back, as in CloudStack."""
    merged = {name: value for name, value in {**before.network, **network}.items() if value != ""}
    return evolve(before, allocation_state=state or before.allocation_state, network=merged)


def rename(txn: Transaction, place: P, parameter: str, name: str | None) -> P:
    """Give a place another name, if one is given; an error that names the parameter if that cannot be."""
    if name is None or new_name(parameter, name) == place.name:
        return place
    try:
        txn.topology.rename(place, new_name(parameter, name))
    except AlreadyExists as error:
        raise invalid_parameter(parameter, str(error)) from error
    except StillInUse as error:
        raise ApiError(ErrorCode.IN_USE, str(error)) from error
    return evolve(place, name=new_name(parameter, name))


async def remove(call: Call, find: Callable[[Transaction], Place]) -> Body:
    """Remove a place in which nothing is left."""
    now = call.context.clock.seconds()

    def work(txn: Transaction) -> Body:
        try:
            txn.topology.remove(find(txn), now)
        except StillInUse as error:
            raise ApiError(ErrorCode.IN_USE, str(error)) from error
        return SUCCESS

    return await call.store.run(work)
