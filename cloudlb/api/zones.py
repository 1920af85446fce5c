"""Zones."""

from __future__ import annotations

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, Success, has_keyword, listing, single
from cloudlb.api.errors import invalid_parameter
from cloudlb.api.places import (
    WITHOUT_EFFECT,
    allocation_state,
    changed_details,
    find_zone,
    new_name,
    of_network,
    one_of,
    remove,
    rename,
)
from cloudlb.api.schema import Key, optional, required, shown
from cloudlb.domain.models import Zone
from cloudlb.domain.places import PlaceDetails
from cloudlb.domain.ports import AlreadyExists, Transaction

NETWORK_TYPES = ("Basic", "Advanced")


@frozen(kw_only=True)
class ZoneAnswer:
    """A zone."""

    id: str | None = shown("the ID of the zone")
    name: str | None = shown("the name of the zone")
    allocationstate: str | None = shown("the allocation state of the zone")
    networktype: str | None = shown("the network type of the zone, as it was given")
    dns1: str | None = shown("the first DNS for the zone, as it was given")
    dns2: str | None = shown("the second DNS for the zone, as it was given")
    ip6dns1: str | None = shown("the first IPv6 DNS for the zone, as it was given")
    ip6dns2: str | None = shown("the second IPv6 DNS for the zone, as it was given")
    internaldns1: str | None = shown("the first internal DNS for the zone, as it was given")
    internaldns2: str | None = shown("the second internal DNS for the zone, as it was given")
    domain: str | None = shown("the network domain name for the networks in the zone, as it was given")
    guestcidraddress: str | None = shown("the guest CIDR address for the zone, as it was given")
    dhcpprovider: str | None = shown("the DHCP provider for the zone, as it was given")
    securitygroupsenabled: bool | None = shown("true if security groups are enabled, as it was given")
    localstorageenabled: bool | None = shown("true if local storage is enabled, as it was given")


def _show(zone: Zone, details: PlaceDetails) -> ZoneAnswer:
    return ZoneAnswer(id=zone.uuid, name=zone.name, allocationstate=details.allocation_state, **details.network)


@frozen(kw_only=True)
class ListZones(ListArguments):
    """Which zones."""

    id: Key | None = optional("the ID of the zone", related="listZones")
    ids: list[str] | None = optional("the IDs of the zones, mutually exclusive with id", related="listZones")
    name: str | None = optional("the name of the zone")
    networktype: str | None = optional("the network type of the zone")
    available: bool | None = optional(WITHOUT_EFFECT)
    showcapacities: bool | None = optional(WITHOUT_EFFECT)
    showicon: bool | None = optional(WITHOUT_EFFECT)


async def _list(call: Call, arguments: ListZones) -> Body:
    if arguments.id is not None and arguments.ids is not None:
        raise invalid_parameter("ids", "it cannot be given together with id")
    asked = [arguments.id] if arguments.id is not None else arguments.ids

    def work(txn: Transaction) -> Body:
        parameter = "id" if arguments.id is not None else "ids"
        wanted = None if asked is None else {find_zone(txn, Key(key), parameter).id for key in asked}
        details = txn.topology.details(Zone)
        shown_zones = [
            _show(zone, details[zone.uuid])
            for zone in txn.topology.zones()
            if (wanted is None or zone.id in wanted)
            and arguments.name in (None, zone.name)
            and has_keyword(zone.name, arguments)
        ]
        kind = arguments.networktype and arguments.networktype.lower()
        rows = [zone for zone in shown_zones if kind is None or (zone.networktype or "").lower() == kind]
        return listing("zone", rows, arguments)

    return await call.store.read(work)


@frozen(kw_only=True)
class Network:
    """What is kept and shown of a zone's network; there is none here."""

    dns1: str | None = optional("the first DNS for the zone")
    dns2: str | None = optional("the second DNS for the zone")
    ip6dns1: str | None = optional("the first DNS for IPv6 networks in the zone")
    ip6dns2: str | None = optional("the second DNS for IPv6 networks in the zone")
    internaldns1: str | None = optional("the first internal DNS for the zone")
    internaldns2: str | None = optional("the second internal DNS for the zone")
    domain: str | None = optional("network domain name for the networks in the zone")
    guestcidraddress: str | None = optional("the guest CIDR address for the zone")
    dhcpprovider: str | None = optional("the DHCP provider for the zone")
    localstorageenabled: bool | None = optional("true if local storage is enabled")


@frozen(kw_only=True)
class CreateZone(Network):
    """A new zone."""

    name: str = required("the name of the zone")
    networktype: str | None = optional("network type of the zone, Basic or Advanced")
    securitygroupenabled: bool | None = optional("true if security groups are enabled for the zone")
    allocationstate: str | None = optional("Enabled or Disabled: whether anything new is placed in the zone")


async def _create(call: Call, arguments: CreateZone) -> Body:
    name, state = new_name("name", arguments.name), allocation_state(arguments.allocationstate)
    network = dict(of_network(arguments, Network))
    if arguments.networktype is not None:
        network["networktype"] = one_of(NETWORK_TYPES, "networktype", arguments.networktype)
    if arguments.securitygroupenabled is not None:
        network["securitygroupsenabled"] = arguments.securitygroupenabled

    def work(txn: Transaction) -> Body:
        zone, details = txn.topology.add_zone(name), changed_details(PlaceDetails(), state, network)
        txn.topology.describe(zone, details)
        return single("zone", _show(zone, details))

    try:
        return await call.store.run(work)
    except AlreadyExists as error:
        raise invalid_parameter("name", str(error)) from error


@frozen(kw_only=True)
class UpdateZone(Network):
    """What of a zone is to be changed; an empty text takes something back."""

    id: Key = required("the ID of the zone", related="listZones")
    name: str | None = optional("the name of the zone; refused while hosts stand there, whose agents know it")
    allocationstate: str | None = optional("Enabled or Disabled: whether anything new is placed in the zone")


async def _update(call: Call, arguments: UpdateZone) -> Body:
    state, network = allocation_state(arguments.allocationstate), of_network(arguments, Network)

    def work(txn: Transaction) -> Body:
        zone = rename(txn, find_zone(txn, arguments.id, "id"), "name", arguments.name)
        details = changed_details(txn.topology.details(Zone)[zone.uuid], state, network)
        txn.topology.describe(zone, details)
        return single("zone", _show(zone, details))

    return await call.store.run(work)


@frozen(kw_only=True)
class DeleteZone:
    """Which zone."""

    id: Key = required("the ID of the zone", related="listZones")


async def _delete(call: Call, arguments: DeleteZone) -> Body:
    return await remove(call, lambda txn: find_zone(txn, arguments.id, "id"))


COMMANDS = (
    Command(name="listZones", description="Lists zones", arguments=ListZones, answer=ZoneAnswer, run=_list),
    Command(name="createZone", description="Creates a Zone.", arguments=CreateZone, answer=ZoneAnswer, run=_create),
    Command(name="updateZone", description="Updates a Zone.", arguments=UpdateZone, answer=ZoneAnswer, run=_update),
    Command(
        name="deleteZone",
        description="Deletes a Zone in which there is neither a pod nor a host.",
        arguments=DeleteZone,
        answer=Success,
        run=_delete,
    ),
)
