"""The order in which each agent tries the servers.

``static``, ``roundrobin`` and ``shuffle`` do what CloudStack's do
[IndirectAgentLBStaticAlgorithm, IndirectAgentLBRoundRobinAlgorithm, IndirectAgentLBShuffleAlgorithm].
CloudStack's functional specification prints C,B,A for the third agent under roundrobin; its code rotates and gives
C,A,B, and so does this.

``rendezvous`` is ours: highest-random-weight hashing of the host's GUID and the server's address. Every host ranks
the servers by itself, so a server that goes moves only the agents that were on it, and spreads them over all the
others, because second places are hashed too. With weights, a server heads the lists of hosts in proportion to its
weight: the hash counts as a number between 0 and 1 that is raised to the power 1/weight [Efraimidis and Spirakis,
Weighted random sampling with a reservoir, 2006]. Under the other algorithms weights mean nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from types import MappingProxyType
from typing import TypeAlias

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


Weights: TypeAlias = Mapping[str, int]
"""Weights of servers by address, at least 1; a server that has none weighs 1."""
EQUAL: Weights = MappingProxyType({})


def _static(servers: Sequence[str], place: Place, rng: random.Random, weights: Weights) -> tuple[str, ...]:
    return tuple(servers)


def _roundrobin(servers: Sequence[str], place: Place, rng: random.Random, weights: Weights) -> tuple[str, ...]:
    turn = place.index % len(servers)
    return (*servers[turn:], *servers[:turn])


def _shuffle(servers: Sequence[str], place: Place, rng: random.Random, weights: Weights) -> tuple[str, ...]:
    return tuple(rng.sample(servers, len(servers)))


_DRAWS = 2**64
"""How many values a draw of 8 bytes may have."""


def _rendezvous(servers: Sequence[str], place: Place, rng: random.Random, weights: Weights) -> tuple[str, ...]:
    keyed = blake2b(place.guid.encode(), digest_size=16).digest()

    def rank(address: str) -> tuple[float, bytes, str]:
        drawn = blake2b(address.encode(), key=keyed, digest_size=8).digest()
        # The logarithm of the power: it keeps apart what is close to 1. Of equal weights the draws alone decide. The
        # address breaks ties, so that the order is total on every server.
        share = math.log((int.from_bytes(drawn, "big") + 1) / _DRAWS) / weights.get(address, 1)
        return share, drawn, address

    return tuple(sorted(servers, key=rank, reverse=True))


_ORDERS: Mapping[Algorithm, Callable[[Sequence[str], Place, random.Random, Weights], tuple[str, ...]]] = {
    Algorithm.STATIC: _static,
    Algorithm.ROUNDROBIN: _roundrobin,
    Algorithm.SHUFFLE: _shuffle,
    Algorithm.RENDEZVOUS: _rendezvous,
}


def host_list_for(
    algorithm: Algorithm, servers: Sequence[str], place: Place, rng: random.Random, weights: Weights = EQUAL
) -> HostList:
    """Compute one host's list of ``servers`` (not empty)."""
    return HostList(_ORDERS[algorithm](servers, place, rng, weights), algorithm.value)


def is_current(algorithm: Algorithm, wanted: HostList, held: HostList) -> bool:
    """Tell whether an agent may keep the list it holds.

    Order and content count, under shuffle only content; the algorithm's name counts always.
    """
    if held.algorithm != algorithm.value:
        return False
    if algorithm is Algorithm.SHUFFLE:
        return set(wanted.addresses) == set(held.addresses)
    return wanted.addresses == held.addresses


def only_joined(held: HostList, wanted: HostList) -> bool:
    """Tell whether a list differs from another one by nothing but servers that have joined.

    Only rendezvous makes such lists, where each place is drawn for itself.
    """
    if not held.algorithm == wanted.algorithm == Algorithm.RENDEZVOUS.value:
        return False
    return tuple(address for address in wanted.addresses if address in held.addresses) == held.addresses
