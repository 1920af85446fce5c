"""What a server says about where the agent should be, checked before anybody acts on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from attrs import frozen

from cloudlb.domain.addresses import InvalidAddress, normalize_address
from cloudlb.domain.host_list import HostList, InvalidHostList, parse_addresses

_ALGORITHM = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""A name that fits the ``host`` property; the server decides which of them exist."""


@frozen(kw_only=True)
class Placement:
    """None: nothing new."""

    hosts: HostList | None = None
    check_interval: int | None = None
    """Seconds between checks of the preferred server; 0: none."""
    avoid: tuple[str, ...] | None = None
    """Servers that are not to be tried for now."""


def read_placement(
    servers: Sequence[str] | None,
    algorithm: str | None,
    check_interval: int | None,
    avoid: Sequence[str] | None,
) -> Placement:
    """Check what a server has sent.

    Raises:
        InvalidHostList: a list without servers, with a malformed address, or of an algorithm whose name is none.
    """
    return Placement(
        hosts=None if servers is None else _host_list(servers, algorithm or ""),
        check_interval=check_interval,
        avoid=None if avoid is None else valid_addresses(avoid),
    )


def _host_list(servers: Sequence[str], algorithm: str) -> HostList:
    if algorithm and not _ALGORITHM.fullmatch(algorithm):
        raise InvalidHostList(f"{algorithm[:64]!r} is no algorithm's name")
    for position, server in enumerate(servers, start=1):
        if "," in server:
            raise InvalidHostList(f"address {position} of the list has a comma")
    return HostList(parse_addresses(",".join(servers)), algorithm)


def valid_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those of some addresses that are any, as they stand in lists."""
    valid = []
    for address in addresses:
        with suppress(InvalidAddress):
            valid.append(normalize_address(address))
    return tuple(valid)
