"""Having every host of this server go to another one: who is asked, by which list, and who is asked again.

Agents choose from the list that they are sent, so the list is what spreads them; nobody is sent to a server that does
not take agents. Who has stayed is asked again after a pause that grows.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.lists import Lists, ranks
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.moves import MoveEnd, MoveReason, Moves
from cloudlb.cluster.membership import Membership
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.host_list import HostList
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId
from cloudlb.domain.ports import Store

PAUSE = 5.0
"""Seconds after which a host that has stayed is asked again, the first time; each time it is twice as long."""
LONGEST_PAUSE = 60.0


@define(eq=False)
class _Asked:
    """What one session of a host was asked."""

    uuid: str
    again: float = 0.0
    """When it may be asked."""
    pause: float = PAUSE
    end: Deferred[MoveEnd] | None = None
    """It is on its way, or waits for its turn."""
    reason: str | None = None
    """Why it is here, though it was asked."""


class Emptying:
    """Asks the hosts of this server to leave it."""

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        directory: Directory,
        lists: Lists,
        moves: Moves,
        membership: Membership,
        clock: IReactorTime,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._settings = settings
        self._directory = directory
        self._lists = lists
        self._moves = moves
        self._membership = membership
        self._clock = clock
        self._rng = rng
        self._asked: dict[Attache, _Asked] = {}
        self._ranks: Mapping[HostId, int] = {}

    @property
    def possible(self) -> bool:
        """Whether another server of ``host`` takes agents."""
        peers = self._membership
        return any(peers.is_alive(each) and not peers.is_own(each) for each in self._settings.current.servers)

    @property
    def failed(self) -> Mapping[str, str]:
        """Why hosts are here that were asked to go, by their uuid."""
        return {asked.uuid: asked.reason for asked in self._asked.values() if asked.reason is not None}

    async def ask(self, algorithm: Algorithm | None) -> None:
        """Ask every host that is here and was not asked yet, or may be asked again.

        Args:
            algorithm: makes the lists; None: the one in force.

        Raises:
            StoreUnavailable: the lists need the database.
        """
        for attache in self._asked.keys() - set(self._directory):
            del self._asked[attache]
        due = [attache for attache in self._directory if self._is_due(attache)]
        if algorithm is not None and any(attache.host.id not in self._ranks for attache in due):
            zones = {attache.host.zone.id for attache in self._directory}
            self._ranks = await self._store.read(lambda txn: ranks(txn, algorithm, zones))
        for attache in due:
            if attache.owns_host:
                self._ask(attache, algorithm)

    def rest(self) -> None:
        """Ask nobody any more; who is on the way goes on."""
        asked, self._asked = self._asked, {}
        self._ranks = {}
        for each in asked.values():
            if each.end is not None:
                each.end.cancel()

    def _is_due(self, attache: Attache) -> bool:
        """Whether a host can be asked now. One that is not Up yet is asked when it is."""
        if attache.host.status is not HostStatus.UP:
            return False
        asked = self._asked.get(attache)
        return asked is None or (asked.end is None and asked.again <= self._clock.seconds())

    def _ask(self, attache: Attache, algorithm: Algorithm | None) -> None:
        asked = self._asked.setdefault(attache, _Asked(attache.host.uuid))
        hosts = self._list(attache, algorithm)
        peers = self._membership
        avoid = [each for each in hosts.addresses if peers.is_own(each) or not peers.is_alive(each)]
        asked.end = end = self._moves.move(
            attache, hosts, avoid=avoid, reason=MoveReason.DRAIN, why="this server is being emptied"
        )
        end.addCallback(partial(self._ended, asked))

    def _list(self, attache: Attache, algorithm: Algorithm | None) -> HostList:
        if algorithm is None and isinstance(attache, LinkAttache):
            return self._lists.orders(attache).wanted
        settings = self._settings.current
        place = Place(attache.host.facts.guid, self._ranks.get(attache.host.id, attache.rank))
        return host_list_for(algorithm or settings.algorithm, settings.servers, place, self._rng, settings.weights)

    def _ended(self, asked: _Asked, end: MoveEnd) -> None:
        asked.end = None
        if end is MoveEnd.STAYED:
            asked.reason = "it was asked to go, and stays"
            asked.again = self._clock.seconds() + asked.pause
            asked.pause = min(2 * asked.pause, LONGEST_PAUSE)
