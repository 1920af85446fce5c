"""Hosts that have been Disconnected for longer than ``alert.wait`` become Alert.

Each is looked into once more then, by the server that has taken the step.

Found by a look into the database, because the server that lost such a host may be gone itself. Every server looks, and
each step is taken once, whoever comes first.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.second_looks import SecondLooks
from cloudlb.agents.statuses import Statuses
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.ports import Store
from cloudlb.net.periodic import Periodic

INTERVAL = 10.0
"""Seconds between looks; how much later than ``alert.wait`` a host may become Alert."""
BATCH = 200
"""Most hosts of one look into the database."""


class Overdue:
    """Looks for hosts whose agents have been gone for too long."""

    log = Logger()

    def __init__(
        self, store: Store, settings: LiveSettings, statuses: Statuses, second_looks: SecondLooks, clock: IReactorTime
    ) -> None:
        self._store = store
        self._settings = settings
        self._statuses = statuses
        self._second_looks = second_looks
        self._clock = clock
        self._looks = Periodic(clock, "look for hosts whose agents have been gone for too long", self.look)

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(INTERVAL)

    def stop(self) -> None:
        """Look no more."""
        self._looks.stop()

    async def look(self) -> None:
        """Alert all hosts for which it is time."""
        wait = self._settings.current.alert_wait
        while await self._alert_some(wait) == BATCH:
            pass

    async def _alert_some(self, wait: int) -> int:
        """Alert the hosts of one batch; how many became Alert."""
        before = self._clock.seconds() - wait
        hosts = await self._store.read(lambda txn: txn.hosts.overdue(before, BATCH))
        reason = f"no agent for more than {wait} s"
        writes = [self._statuses.change(host, HostEvent.WAITED_TOO_LONG, reason) for host in hosts]
        alerted = [host for host, write in zip(hosts, writes, strict=True) if await write is not None]
        for host in alerted:
            self.log.info("host {name} is in alert: {reason}", name=host.facts.name, reason=reason)
            self._second_looks.last(host)
        return len(alerted)
