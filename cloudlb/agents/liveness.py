"""When each agent was last heard from: who is late, and what the database learns of it.

Stamping is a dictionary move, and finding the late ones looks at the heads of ordered queues only, so the cost of a
ping does not grow with the fleet. The database gets the stamps in batches. Each batch also finds those of its hosts
that somebody has written off all the same, such as another server that held this one dead: what is heard is not lost,
and they are Up again.

An agent keeps the ping interval that it was told when it introduced itself, and is judged by that one; how many
intervals it may be silent is the setting of the moment. Agents of ours that keep another interval than the setting's
are asked to introduce themselves again, with the answer to their next ping and not all at once. CloudStack's are not:
they would ping at the new interval and the old one [Agent.scheduleWatch].
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.statuses import write_changes
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import StatusChange, Transition
from cloudlb.domain.ports import Store, Transaction
from cloudlb.net.periodic import Periodic

if TYPE_CHECKING:
    from cloudlb.agents.attache import Attache
    from cloudlb.agents.link_attache import LinkAttache

FLUSH_INTERVAL = 10.0
"""Seconds between the batches of last-heard stamps; how far lastpinged may lag, and how much later than its next sign
of life a host is Up again that was held lost."""
CHECK_INTERVAL = 0.5
"""Seconds between looks at the queues' heads: at most so much later than its time-out an agent is found late."""
RESTARTS_PER_CHECK = 10
"""Agents that may be asked to introduce themselves again, 20 a second: each costs an admission."""


class Liveness:
    """Last-heard stamps of the agents on this server."""

    log = Logger()

    def __init__(
        self, store: Store, settings: LiveSettings, clock: IReactorTime, late: Callable[[Attache], None]
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._late = late
        # One queue per ping interval, within which the order of stamps is the order of deadlines.
        self._queues: dict[int, OrderedDict[Attache, float]] = {}
        self._unwritten: dict[Attache, float] = {}
        self._restarts = 0
        self._checks = Periodic(clock, "look for late agents", self.check)
        self._flushes = Periodic(clock, "write last-heard stamps", self.flush)

    def __contains__(self, attache: Attache) -> bool:
        """Whether an agent has been heard, or its clock begun anew, since it was reported late."""
        queue = self._queues.get(attache.ping_interval)
        return queue is not None and attache in queue

    def start(self) -> None:
        """Begin to look for late agents and to write stamps."""
        self._checks.start(CHECK_INTERVAL)
        self._flushes.start(FLUSH_INTERVAL)

    async def stop(self) -> None:
        """Stop and write what is left."""
        self._checks.stop()
        self._flushes.stop()
        await self.flush()

    def heard(self, attache: Attache) -> None:
        """An agent said something: called once for every message."""
        self.renew(attache)
        if attache.owns_host:
            self._unwritten[attache] = self._clock.seconds()

    def renew(self, attache: Attache) -> None:
        """Begin an agent's clock anew."""
        queue = self._queues.get(attache.ping_interval)
        if queue is None:
            queue = self._queues[attache.ping_interval] = OrderedDict()
        queue[attache] = self._clock.seconds()
        queue.move_to_end(attache)

    def forget(self, attache: Attache) -> None:
        """An agent's link is gone."""
        queue = self._queues.get(attache.ping_interval)
        if queue is not None:
            queue.pop(attache, None)
            if not queue:
                del self._queues[attache.ping_interval]

    def change_interval(self, attache: Attache) -> None:
        """An agent is about to be told the interval of the setting, and is judged by it from now on."""
        self.forget(attache)
        attache.ping_interval = self._settings.current.ping_interval
        self.renew(attache)

    def patience(self, attache: Attache) -> float:
        """Seconds that an agent may be silent."""
        return attache.ping_interval * self._settings.current.ping_timeout

    def wants_restart(self, attache: LinkAttache) -> bool:
        """Whether an agent that has pinged is to introduce itself again, because it keeps an old interval."""
        if attache.ping_interval == self._settings.current.ping_interval or not attache.owns_host:
            return False
        if attache.admitting or not attache.link.channel.is_cloudlb or self._restarts == 0:
            return False
        self._restarts -= 1
        return True

    def check(self) -> None:
        """Report every agent whose silence has lasted too long, once."""
        self._restarts = RESTARTS_PER_CHECK
        now, timeout = self._clock.seconds(), self._settings.current.ping_timeout
        for interval, queue in list(self._queues.items()):
            while queue:
                attache, heard = next(iter(queue.items()))
                if now - heard <= interval * timeout:
                    break
                queue.popitem(last=False)
                self._late(attache)

    async def flush(self) -> None:
        """Write the stamps gathered since the last time; kept for the next time if that fails."""
        heard, self._unwritten = self._unwritten, {}
        if not heard:
            return
        # Of two sessions of a host the newer one, which was heard later and entered later.
        stamps = {attache.host.id: at for attache, at in heard.items()}
        # Whose links have ended meanwhile are as lost as they are written.
        signs = {
            attache.host.id: _sign_of_life(attache)
            for attache in heard
            if attache.owns_host and attache.host.status is HostStatus.UP
        }
        now = self._clock.seconds()

        def work(txn: Transaction) -> list[Transition | None]:
            txn.hosts.touch(stamps)
            lost = txn.hosts.lost_since(min(stamps.values()))
            found = [signs[host_id] for host_id in lost if host_id in signs]
            return write_changes(txn, found, now) if found else []

        try:
            transitions = await self._store.run(work)
        except BaseException:
            self._unwritten = {**heard, **self._unwritten}
            raise
        for transition in transitions:
            if transition is not None:
                self.log.info("host {name} is Up: it was held lost, and is heard", name=transition.name)


def _sign_of_life(attache: Attache) -> StatusChange:
    host = attache.host
    assert host.server_id is not None, f"{attache} is on no server"
    return StatusChange(
        host_id=host.id,
        session=host.session,
        event=HostEvent.PING,
        server_id=host.server_id,
        reason="it was held lost, and its agent is heard",
    )
