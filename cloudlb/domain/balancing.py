"""The order in which each agent tries the servers.

``static``, ``roundrobin`` and ``shuffle`` do what CloudStack's do
[IndirectAgentLBStaticAlgorithm, IndirectAgentLBRoundRobinAlgorithm, IndirectAgentLBShuffleAlgorithm].
CloudStack's functional specification prints C,B,A for the third agent under roundrobin; its code rotates and gives
C,A,B, and so does this.

``rendezvous`` is ours: highest-random-weight hashing of the host's GUID and the server's address. Every host ranks
the servers by itself, so a server that goes moves only the agents that were on it, and spreads them over all the
others, because second places are hashed too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from hashlib import blake2b

from attrs import frozen

from cloudlb.domain.host_list import HostList


class Algorithm(Enum):
    """The values of ``indirect.agent.lb.algorithm``."""

    STATIC = "static"
    ROUNDROBIN = "roundrobin"
    SHUFFLE = "shuffle"
    RENDEZVOUS = "rendezvous"


@frozen
class Place:
    """What the order may depend on for one host."""

    guid: str
    index: int
    """Position among the hosts of its zone, ordered by id, from 0."""


def _static(servers: Sequence[str], place: Place, rng: random.Random) -> tuple[str, ...]:
    return tuple(servers)


def _roundrobin(servers: Sequence[str], place: Place, rng: random.Random) -> tuple[str, ...]:
    turn = place.index % len(servers)
    return (*servers[turn:], *servers[:turn])


def _shuffle(servers: Sequence[str], place: Place, rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.sample(servers, len(servers)))


def _rendezvous(servers: Sequence[str], place: Place, rng: random.Random) -> tuple[str, ...]:
    keyed = blake2b(place.guid.encode(), digest_size=16).digest()

    def weight(address: str) -> tuple[bytes, str]:
        # The address breaks ties, so that the order is total on every server.
        return blake2b(address.encode(), key=keyed, digest_size=8).digest(), address

    return tuple(sorted(servers, key=weight, reverse=True))


_ORDERS: Mapping[Algorithm, Callable[[Sequence[str], Place, random.Random], tuple[str, ...]]] = {
    Algorithm.STATIC: _static,
    Algorithm.ROUNDROBIN: _roundrobin,
    Algorithm.SHUFFLE: _shuffle,
    Algorithm.RENDEZVOUS: _rendezvous,
}


def host_list_for(algorithm: Algorithm, servers: Sequence[str], place: Place, rng: random.Random) -> HostList:
    """Compute one host's list of ``servers`` (not empty)."""
    return HostList(_ORDERS[algorithm](servers, place, rng), algorithm.value)


def is_current(algorithm: Algorithm, wanted: HostList, held: HostList) -> bool:
    """Tell whether an agent may keep the list it holds.

    Order and content count, under shuffle only content; the algorithm's name counts always.
    """
    if held.algorithm != algorithm.value:
        return False
    if algorithm is Algorithm.SHUFFLE:
        return set(wanted.addresses) == set(held.addresses)
    return wanted.addresses == held.addresses
