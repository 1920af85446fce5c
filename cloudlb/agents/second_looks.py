"""Hosts that were lost are looked into again while they are Disconnected, every ``investigate.retry.interval`` seconds.

The first look may have found nothing, or what is true no more: a heartbeat outlives its host for a while. Or there was
none: the host's server has died or stopped, or its operator had it left alone. So who is to be looked into is found in
the database. A server looks after the hosts that it had last; those of servers that are gone are looked after by the
live one of the lowest id, which all work out alike. ``alert.wait`` ends it, with one look more.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.disconnection import Disconnection, Investigates
from cloudlb.agents.investigation import Case
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.statuses import write_changes
from cloudlb.domain.disconnects import LEFT_ALONE, conclusion
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, HostId, ServerId, StatusChange, Transition
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.domain.records import Verdict
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

INTERVAL = 10.0
"""Seconds between looks into the database; how much later than its turn a host may be looked into."""
AT_ONCE = 200
"""Most hosts of one look into the database, and most that are looked into again at the same time: those that were lost
just now come first."""

_LOST = (HostStatus.DISCONNECTED, HostStatus.ALERT)
_CAUSE = HostEvent.AGENT_DISCONNECTED


class SecondLooks:
    """Looks for hosts whose turn it is, and has them investigated."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        disconnection: Disconnection,
        investigators: Investigates,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._settings = settings
        self._disconnection = disconnection
        self._investigators = investigators
        self._clock = clock
        self._under_way: dict[HostId, Deferred[None]] = {}
        self._looks = Periodic(clock, "look for hosts to investigate again", self.look)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(INTERVAL)

    def stop(self) -> None:
        """Look no more; what is under way is left to the other servers."""
        self._looks.stop()
        for look in list(self._under_way.values()):
            look.cancel()

    async def look(self) -> None:
        """Begin to investigate hosts whose turn it is."""
        now = self._clock.seconds()
        before = now - self._settings.current.investigate_retry_interval
        hosts = await self._store.read(lambda txn: self._due(txn, before))
        # Those that are under way stand first among the hosts, so the others find all the room that there is.
        for host in hosts:
            if len(self._under_way) < AT_ONCE and not self._disconnection.looks_into(host):
                self._begin(host)

    def last(self, host: Host) -> None:
        """Look into a host that was Disconnected until now and is in Alert: for the last time, and at once."""
        if host.looked_into is not None and host.resource_state not in LEFT_ALONE:
            self._begin(host)

    def _due(self, txn: Transaction, before: float) -> Sequence[Host]:
        live = [server.id for server in txn.servers.all() if server.alive]
        if self.server_id not in live:
            # The others hold this server dead, and look after its hosts.
            return []
        orphans = self.server_id == min(live)
        return txn.hosts.to_look_into(before, AT_ONCE, server_id=self.server_id, live=live, orphans=orphans)

    def _begin(self, host: Host) -> None:
        if host.id in self._under_way:
            return
        look = self._under_way[host.id] = spawn(self._look_into(host), self.log, "look into a host again")
        look.addBoth(self._ended, host.id)

    def _ended(self, _: object, host_id: HostId) -> None:
        del self._under_way[host_id]

    async def _look_into(self, host: Host) -> None:
        investigation = await self._investigators.investigate(Case(host=host, attache=None, cause=_CAUSE))
        verdict = investigation.verdict
        if conclusion(_CAUSE, verdict, heard=False) is HostEvent.HOST_DOWN:
            await self._write_down(host, verdict)

    async def _write_down(self, host: Host, verdict: Verdict) -> None:
        reason = f"it stayed away, and was looked into again; found {verdict.value}"
        change = StatusChange(
            host_id=host.id, session=host.session, event=HostEvent.HOST_DOWN, server_id=self.server_id, reason=reason
        )
        now = self._clock.seconds()

        def work(txn: Transaction) -> Transition | None:
            row = txn.hosts.get(host.id)
            # A server that was only held dead may have put right meanwhile that the host is Up, in the same session.
            if row is None or row.status not in _LOST:
                return None
            return write_changes(txn, [change], now)[0]

        try:
            transition = await self._store.run(work)
        except StoreUnavailable as error:
            self.log.warn("cannot write that host {name} is down: {error}", name=host.facts.name, error=error)
        else:
            self._disconnection.tell(host, transition, reason)
