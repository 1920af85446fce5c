"""The order in which each agent tries the servers, as far as it can be told from the settings and the rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.models import Host, HostId, Server, ServerId, ZoneId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.settings import Settings


def lists_of(txn: Transaction, hosts: Sequence[Host]) -> Mapping[HostId, tuple[str, ...]]:
    """The addresses of servers that each of some hosts should hold, in order.

    Under shuffle only the agents know, and a host without an agent holds none: they are not in it.
    """
    settings = txn.settings.load()
    agents = [host for host in hosts if host.direct is None]
    places: dict[HostId, int] = {}
    if settings.algorithm is Algorithm.ROUNDROBIN:
        for zone in {host.zone.id for host in agents}:
            places |= txn.hosts.places(zone, [host.id for host in agents if host.zone.id == zone])
    found = ((host.id, _order(settings, Place(host.facts.guid, places.get(host.id, 0)))) for host in agents)
    return {host_id: order for host_id, order in found if order}


def preferring(txn: Transaction, servers: Sequence[Server]) -> Mapping[ServerId, int] | None:
    """How many hosts are Up on each server whose list begins with it; None where nobody knows the lists."""
    settings = txn.settings.load()
    if settings.algorithm is Algorithm.SHUFFLE:
        return None
    known = {server.id: server for server in servers}
    counts = Counter(dict.fromkeys(known, 0))
    places: Counter[ZoneId] = Counter()
    # They come ordered by id, which is what their places in the zones go by.
    for host in txn.hosts.standings():
        place = Place(host.guid, places[host.zone_id])
        places[host.zone_id] += 1
        server = known.get(host.server_id) if host.server_id is not None else None
        if server is not None and host.up and not host.direct:
            order = _order(settings, place)
            counts[server.id] += bool(order) and server.answers_to(order[0])
    return counts


def _order(settings: Settings, place: Place) -> tuple[str, ...]:
    if settings.algorithm is Algorithm.SHUFFLE:
        return ()
    rng = random.Random(0)  # noqa: S311 - of shuffle, which is not asked
    return host_list_for(settings.algorithm, settings.servers, place, rng, settings.weights).addresses
