"""The fleet as viewers see it, and what of it has changed: pure values.

A host is an array, ``HOST_FIELDS`` names its elements. The snapshot has one array for each field, and one of few
different values is told as ``[values, indexes into them]``: so ten thousand hosts stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from cloudlb.domain.balancing import Place
from cloudlb.domain.change_ports import Glance
from cloudlb.domain.drains import Drain
from cloudlb.domain.known_lists import indexes_in_zones, known_lists
from cloudlb.domain.models import HostId, Server, ServerId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import Event
from cloudlb.domain.settings_in_force import Settings

HOST_FIELDS = ("id", "name", "status", "state", "server", "preferred", "cluster", "ip", "version", "direct")
_CODED = frozenset({"status", "state", "server", "preferred", "cluster", "version", "direct"})
MOST_EVENTS = 200
"""Events that are told at once; of more the newest."""

Shown: TypeAlias = tuple[Any, ...]
Preference: TypeAlias = Callable[[Glance, int], str | None]
"""From a host and its place in its zone to the address of its preferred server, as ``host`` has it."""


@frozen
class Known:
    """A host that viewers know."""

    changed: float
    place: int
    shown: Shown


@frozen(kw_only=True)
class Reading:
    """What the database said at one moment."""

    at: float
    """That moment, by its clock."""
    hosts: Sequence[Glance]
    """All of them, or those that may have changed."""
    events: Sequence[tuple[int, Event]]
    """The newest first."""
    servers: Sequence[Server]
    drains: Mapping[ServerId, Drain]
    settings: Settings
    alerts: int
    usernames: Mapping[int, str]


def read_all(txn: Transaction) -> Reading:
    """Read the whole fleet."""
    return _read(txn, txn.changes.now(), txn.changes.hosts(), txn.changes.newest_events(MOST_EVENTS))


def read_changes(txn: Transaction, since: float, event: int) -> Reading:
    """Read what was changed after a time and an event.

    The hosts of these events are among it, so those are not missed that a server of an older version changes.
    """
    # Before anything else: what is committed later is later for the next look, too.
    at = txn.changes.now()
    events = txn.changes.events_since(event, MOST_EVENTS)
    named = {told.host_id for _, told in events if told.host_id is not None}
    return _read(txn, at, txn.changes.hosts_since(since, named), events)


def _read(txn: Transaction, at: float, hosts: Sequence[Glance], events: Sequence[tuple[int, Event]]) -> Reading:
    return Reading(
        at=at,
        hosts=hosts,
        events=events,
        servers=txn.servers.all(),
        drains=txn.drains.all(),
        settings=txn.settings.load(),
        alerts=txn.changes.standing_alerts(),
        usernames=txn.accounts.usernames(),
    )


def preference(settings: Settings) -> Preference:
    """Tell hosts' preferred servers under some settings; None where nobody knows one: a direct host has no list."""
    list_of = known_lists(settings)
    return lambda host, place: None if host.direct else next(iter(list_of(Place(host.guid, place))), None)


def know_all(hosts: Sequence[Glance], settings: Settings) -> dict[HostId, Known]:
    """Every host, as viewers will know it."""
    prefer = preference(settings)
    return {
        host.id: Known(host.changed, place, show_host(host, place, prefer))
        for host, place in zip(hosts, indexes_in_zones(host.zone_id for host in hosts), strict=True)
    }


def show_host(host: Glance, place: int, prefer: Preference) -> Shown:
    """A host as its fields."""
    return (
        host.id,
        host.name,
        host.status,
        host.resource_state,
        host.server_id,
        prefer(host, place),
        host.cluster,
        host.ip_address,
        host.version,
        host.direct,
    )


def show_columns(hosts: Iterable[Shown]) -> Mapping[str, Any]:
    """Hosts by their fields."""
    columns = list(zip(*hosts, strict=True)) or [()] * len(HOST_FIELDS)
    return {
        name: _coded(column) if name in _CODED else column for name, column in zip(HOST_FIELDS, columns, strict=True)
    }


def _coded(column: Sequence[Any]) -> tuple[list[Any], list[int]]:
    values = list(dict.fromkeys(column))
    indexes = {value: index for index, value in enumerate(values)}
    return values, [indexes[value] for value in column]


def show_servers(reading: Reading) -> dict[ServerId, Mapping[str, Any]]:
    """The servers, by id."""
    return {
        server.id: {
            "id": server.id,
            "uuid": server.uuid,
            "name": server.name,
            "address": server.address,
            "state": server.state.value,
            "version": server.version,
            "started": server.started,
            "drain": _show_drain(reading.drains.get(server.id)),
        }
        for server in reading.servers
    }


def _show_drain(drain: Drain | None) -> Mapping[str, Any] | None:
    if drain is None:
        return None
    return {
        "started": drain.started,
        "ended": drain.ended,
        "end": drain.end and drain.end.value,
        "forced": drain.forced,
        "timeout": drain.timeout,
        "total": drain.total,
        "moved": drain.moved,
        "left": drain.left,
        "jobs": drain.jobs,
        "failed": len(drain.failed),
        "eta": drain.eta,
        "note": drain.note,
    }


def show_event(number: int, event: Event, usernames: Mapping[int, str]) -> Sequence[Any]:
    """An event as number, type, level, description, time, who asked for it, host and server."""
    return (
        number,
        event.type,
        event.level.value,
        event.description,
        event.created,
        None if event.account_id is None else usernames.get(event.account_id),
        event.host_id,
        event.server_id,
    )


def show_lists(settings: Settings) -> Mapping[str, Any]:
    """What lists of hosts follow from."""
    return {
        "listed": settings.servers,
        "algorithm": settings.algorithm.value,
        "weights": dict(settings.weights),
    }
