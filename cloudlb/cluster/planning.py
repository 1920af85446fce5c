"""From rows to the values that plans of moves are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from cloudlb.domain.balancing import Algorithm, Place
from cloudlb.domain.known_lists import indexes_in_zones, same_lists
from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.ports import Standing, Transaction
from cloudlb.domain.rebalancing import Plan, PlannedHost, PlannedServer, off_average, plan
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings_in_force import Settings


@frozen(kw_only=True)
class Picture:
    """The servers as they are, or as they would be under other settings."""

    settings: Settings
    servers: tuple[tuple[PlannedServer, Server | None], ...]
    """Those of ``host`` in its order, whether or not there are such, and then the others."""

    @property
    def planned(self) -> list[PlannedServer]:
        """The servers as plans see them."""
        return [server for server, _ in self.servers]

    @property
    def addresses(self) -> Mapping[ServerId, str]:
        """What plans call each server."""
        addresses: dict[ServerId, str] = {}
        for server, row in self.servers:
            if row is not None:
                addresses.setdefault(row.id, server.address)
        return addresses

    def off(self, up: Mapping[ServerId, int]) -> list[str]:
        """Servers that are off the average, given how many hosts are Up on each."""
        counts = {address: up.get(server_id, 0) for server_id, address in self.addresses.items()}
        return off_average(counts, self.planned, self.settings.algorithm, self.settings.band)


def picture(rows: Sequence[Server], settings: Settings) -> Picture:
    """Look at servers under some settings."""
    found = {address: next((row for row in rows if row.answers_to(address)), None) for address in settings.servers}
    listed = {row.id for row in found.values() if row is not None}
    others = {row.address: row for row in rows if row.id not in listed}
    return Picture(
        settings=settings,
        servers=tuple(
            (
                PlannedServer(
                    address=address,
                    up=row is not None and row.state is not ServerState.DOWN,
                    weight=settings.weights.get(address, 1),
                    draining=row is not None and row.state not in (ServerState.UP, ServerState.DOWN),
                    listed=address in found,
                ),
                row,
            )
            for address, row in (found | others).items()
        ),
    )


def plan_moves(txn: Transaction, seen: Picture, *, new_lists: bool = False) -> Plan:
    """Plan moves of all hosts, however short the time is for which servers have been off the average.

    Args:
        txn: reads the hosts' rows.
        seen: the servers, and the settings that lists and band are of.
        new_lists: the settings have just been changed to these, from some that made other lists.
    """
    return plan(
        _hosts(txn.hosts.standings(), seen.addresses),
        seen.planned,
        seen.settings.algorithm,
        seen.settings.band,
        new_lists=new_lists,
    )


def sends_agents(before: Settings, after: Settings) -> bool:
    """Tell whether a change of settings sends agents where their new lists lead (:mod:`cloudlb.agents.lists`)."""
    if same_lists(before, after):
        return False
    rendezvous = before.algorithm is after.algorithm is Algorithm.RENDEZVOUS
    old = {address: before.weights.get(address, 1) for address in before.servers}
    kept = {address: after.weights.get(address, 1) for address in after.servers if address in old}
    only_joined = rendezvous and kept == old
    return not (after.rebalances and only_joined)


def _hosts(standings: Sequence[Standing], addresses: Mapping[ServerId, str]) -> list[PlannedHost]:
    return [
        PlannedHost(
            id=host.id,
            place=Place(host.guid, index),
            server=None if host.server_id is None else addresses.get(host.server_id),
            up=host.up,
            direct=host.direct,
        )
        for host, index in zip(standings, indexes_in_zones(host.zone_id for host in standings), strict=True)
    ]
