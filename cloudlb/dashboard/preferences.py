"""Which server each host should be on: the head of the list that its agent gets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.change_ports import Glance
from cloudlb.domain.models import ZoneId
from cloudlb.domain.settings import Settings

Preference: TypeAlias = Callable[[Glance, int], str | None]
"""From a host and its place in its zone to the address of its preferred server, as ``host`` has it."""


def preference(settings: Settings) -> Preference:
    """Tell hosts' preferred servers under some settings.

    Under shuffle each agent's list is drawn by whoever sends it, and a host with a resource inside a server has none:
    nobody knows a preferred server then.
    """
    algorithm, servers, weights = settings.algorithm, settings.servers, settings.weights
    # No order that is known depends on it.
    rng = random.Random(0)  # noqa: S311

    def of(host: Glance, place: int) -> str | None:
        if host.direct or algorithm is Algorithm.SHUFFLE:
            return None
        return host_list_for(algorithm, servers, Place(host.guid, place), rng, weights).preferred

    return of


def places(hosts: Sequence[Glance]) -> list[int]:
    """The place of each host in its zone, of all hosts in the order of their ids."""
    counts: Counter[ZoneId] = Counter()
    found = []
    for host in hosts:
        found.append(counts[host.zone_id])
        counts[host.zone_id] += 1
    return found


def same_lists(before: Settings, after: Settings) -> bool:
    """Tell whether lists of hosts are the same under both."""

    def basis(settings: Settings) -> tuple[object, ...]:
        return settings.servers, settings.algorithm, settings.weights

    return basis(before) == basis(after)
