"""The order in which each agent tries the servers, as far as it can be told from the settings and the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from cloudlb.domain.balancing import Algorithm, Place
from cloudlb.domain.known_lists import indexes_in_zones, known_lists
from cloudlb.domain.models import Host, HostId, Server, ServerId
from cloudlb.domain.ports import Transaction


def lists_of(txn: Transaction, hosts: Sequence[Host]) -> Mapping[HostId, tuple[str, ...]]:
    """The addresses of servers that each of some hosts should hold, in order.

    Under shuffle only the agents know, and a host without an agent holds none: they are not in it.
    """
    settings = txn.settings.load()
    list_of = known_lists(settings)
    agents = [host for host in hosts if host.direct is None]
    places: dict[HostId, int] = {}
    if settings.algorithm is Algorithm.ROUNDROBIN:
        for zone in {host.zone.id for host in agents}:
            places |= txn.hosts.places(zone, [host.id for host in agents if host.zone.id == zone])
    found = ((host.id, list_of(Place(host.facts.guid, places.get(host.id, 0)))) for host in agents)
    return {host_id: order for host_id, order in found if order}


def preferring(txn: Transaction, servers: Sequence[Server]) -> Mapping[ServerId, int] | None:
    """How many hosts are Up on each server whose list begins with it; None where nobody knows the lists."""
    settings = txn.settings.load()
    if settings.algorithm is Algorithm.SHUFFLE:
        return None
    known, list_of = {server.id: server for server in servers}, known_lists(settings)
    counts = Counter(dict.fromkeys(known, 0))
    standings = txn.hosts.standings()
    for host, index in zip(standings, indexes_in_zones(host.zone_id for host in standings), strict=True):
        server = known.get(host.server_id) if host.server_id is not None else None
        if server is not None and host.up and not host.direct:
            order = list_of(Place(host.guid, index))
            counts[server.id] += bool(order) and server.answers_to(order[0])
    return counts
