"""The lists of hosts as far as settings and rows tell them, for those who look at a fleet and send it none."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.models import ZoneId
from cloudlb.domain.settings_in_force import Settings


def known_lists(settings: Settings) -> Callable[[Place], tuple[str, ...]]:
    """How to tell the addresses of servers that a host's agent should hold, in order.

    Under shuffle each list is drawn by whoever sends it: nobody knows one then, and all are empty.
    """
    algorithm, servers, weights = settings.algorithm, settings.servers, settings.weights
    if algorithm is Algorithm.SHUFFLE:
        return lambda place: ()
    # No order that is known depends on it.
    rng = random.Random(0)  # noqa: S311
    return lambda place: host_list_for(algorithm, servers, place, rng, weights).addresses


def same_lists(before: Settings, after: Settings) -> bool:
    """Tell whether lists of hosts are the same under both."""

    def basis(settings: Settings) -> tuple[object, ...]:
        return settings.servers, settings.algorithm, settings.weights

    return basis(before) == basis(after)


def indexes_in_zones(zones: Iterable[ZoneId]) -> Iterator[int]:
    """The position of each host in its zone, given the zones of all hosts in the order of their ids."""
    counts: Counter[ZoneId] = Counter()
    for zone in zones:
        yield counts[zone]
        counts[zone] += 1
