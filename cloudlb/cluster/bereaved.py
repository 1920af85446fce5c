"""Hosts whose server has died and that no other server has: Up is not true of them any more.

The agents of a dead server find another one by themselves, the slowest of them when their pings stay unanswered. Who
has not come after that time is Disconnected, and its ``alert.wait`` begins. Every server looks, and each step is taken
once, whoever comes first; whether such a host lives is asked as of every host that was lost some time ago
(:mod:`cloudlb.agents.second_looks`). A server looks after the hosts of its own former life, too: it does not count as
dead any more when it is back.

Being dead is judged by heartbeats in the database, so a server that could not reach the database for long enough counts
as dead while its agents are well. What was written of its hosts it puts right when it hears of them
(:mod:`cloudlb.agents.liveness`).
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.statuses import write_changes
from cloudlb.cluster.membership import Membership
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, StatusChange, Transition
from cloudlb.domain.ports import Store, Transaction
from cloudlb.net.periodic import Periodic

INTERVAL = 10.0
"""Seconds between looks."""
_HELD = (HostStatus.CONNECTING, HostStatus.UP, HostStatus.REBALANCING)
"""Statuses of hosts that somebody has, or so they say."""
_REASON = "its management server is dead, and its agent has not come to another one"
_BATCH = 200
"""Most hosts of one transaction."""


class Bereaved:
    """Looks for hosts of dead servers."""

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        membership: Membership,
        disconnection: Disconnection,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._settings = settings
        self._membership = membership
        self._disconnection = disconnection
        self._clock = clock
        self._left_behind: list[Host] = []
        self._started = 0.0
        self._looks = Periodic(clock, "look for hosts of dead servers", self.look)

    async def start(self) -> None:
        """Note whom this server has left behind by an end without farewell, before it listens; begin to look."""
        own = self._membership.own.id
        self._left_behind = await self._store.read(lambda txn: txn.hosts.on_server(own, _HELD))
        self._started = self._clock.seconds()
        self._looks.start(INTERVAL)

    def stop(self) -> None:
        """Look no more."""
        self._looks.stop()

    async def look(self) -> None:
        """Disconnect all hosts for which it is time."""
        settings, now = self._settings.current, self._clock.seconds()
        patience = settings.ping_interval * settings.ping_timeout
        if self._started < now - patience:
            await self._disconnect(self._left_behind)
            self._left_behind = []
        if self._membership.steady:
            await self._disconnect(await self._store.read(lambda txn: _of_dead_servers(txn, patience)))

    async def _disconnect(self, hosts: Sequence[Host]) -> None:
        for first in range(0, len(hosts), _BATCH):
            batch = {host.id: host for host in hosts[first : first + _BATCH]}
            changes = [self._change(host) for host in batch.values()]
            now = self._clock.seconds()

            def work(txn: Transaction, changes: Sequence[StatusChange] = changes, now: float = now) -> list[Transition]:
                return [
                    transition
                    for transition in write_changes(txn, changes, now)
                    if transition is not None and transition.after is not transition.before
                ]

            for transition in await self._store.run(work):
                self._disconnection.tell(batch[transition.change.host_id], transition, _REASON)

    def _change(self, host: Host) -> StatusChange:
        return StatusChange(
            host_id=host.id,
            session=host.session,
            event=HostEvent.MANAGEMENT_SERVER_DOWN,
            server_id=self._membership.own.id,
            reason=_REASON,
        )


def _of_dead_servers(txn: Transaction, patience: float) -> list[Host]:
    """Hosts of the servers that have been dead for so long."""
    return [
        host
        for server in txn.servers.all()
        if not server.alive and server.age > patience
        for host in txn.hosts.on_server(server.id, _HELD)
    ]
