"""Giving hosts to this server: rows that are created or taken over, many agents' in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.directory import ADMITTED
from cloudlb.agents.introduction import Introduction
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId, ServerId, ZoneId
from cloudlb.domain.ports import Admission, Refused, Store, StoreUnavailable, Transaction
from cloudlb.net.batch import Batch

_BATCH = 100
"""Most admissions in one transaction: tens of milliseconds of the writer's time."""


@frozen
class Claim:
    """A host's row, and its place among the hosts of its zone."""

    host: Host
    rank: int
    algorithm: Algorithm
    """The one that the rank was looked up for."""
    new: bool = False
    """Nobody knew of the host before its agent came."""


class Claims:
    """Begins the sessions of hosts on this server."""

    log = Logger()

    def __init__(self, store: Store, settings: LiveSettings, clock: IReactorTime) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._rows: Batch[Admission, Claim | Refused] = Batch(self._write, _BATCH)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster, before it listens."""

    async def take(self, introduction: Introduction) -> Claim | Refused:
        """Begin a session: from now on no older one may write the host's row."""
        row = Admission(
            facts=introduction.facts,
            location=introduction.location,
            server_id=self.server_id,
        )
        claim = await self._rows.add(row)
        return await self._current(claim) if isinstance(claim, Claim) else claim

    async def standing(self, introduction: Introduction) -> Claim | None:
        """The row of a host that moves here and is Up meanwhile, with nothing written; None if it is not so."""
        if not introduction.transferred:
            return None
        guid, algorithm = introduction.facts.guid, self._settings.current.algorithm

        def work(txn: Transaction) -> Claim | None:
            host = txn.hosts.by_guid(guid)
            if host is None or host.status is not HostStatus.UP:
                return None
            return Claim(host, _places(txn, algorithm, [host]).get(host.id, 0), algorithm)

        claim = await self._store.read(work)
        return None if claim is None else await self._current(claim)

    async def _current(self, claim: Claim) -> Claim:
        """Look the rank up again while the algorithm keeps changing under the database's work."""
        try:
            while claim.algorithm is not self._settings.current.algorithm:
                claim = await self._look_up(claim)
        except StoreUnavailable:
            # The session has begun, which matters more; the list is looked at again when the settings are.
            self.log.warn("the place of {host} is not known for now", host=claim.host.facts.name)
        return claim

    async def _look_up(self, claim: Claim) -> Claim:
        algorithm = self._settings.current.algorithm
        places = await self._store.read(lambda txn: _places(txn, algorithm, [claim.host]))
        return evolve(claim, rank=places.get(claim.host.id, 0), algorithm=algorithm)

    async def _write(self, rows: list[Admission]) -> Sequence[Claim | Refused]:
        algorithm, now = self._settings.current.algorithm, self._clock.seconds()

        def work(txn: Transaction) -> Sequence[Claim | Refused]:
            results = txn.hosts.admit(rows, now)
            hosts = [result for result in results if isinstance(result, Host)]
            places = _places(txn, algorithm, hosts)
            if hosts:
                sessions = {str(host.id): host.session for host in hosts}
                txn.bus.publish(ADMITTED, {"server_id": self.server_id, "hosts": sessions}, now)
            return [
                Claim(result, places.get(result.id, 0), algorithm, new=result.session == 1 and result.created == now)
                if isinstance(result, Host)
                else result
                for result in results
            ]

        return await self._store.run(work)


def _places(txn: Transaction, algorithm: Algorithm, hosts: Sequence[Host]) -> Mapping[HostId, int]:
    """The places that the algorithm asks for."""
    if algorithm is not Algorithm.ROUNDROBIN:
        return {}
    zones: dict[ZoneId, list[HostId]] = {}
    for host in hosts:
        zones.setdefault(host.zone.id, []).append(host.id)
    return {host_id: place for zone, ids in zones.items() for host_id, place in txn.hosts.places(zone, ids).items()}
