"""What a server does that is to be emptied: for maintenance, for a shutdown, or because it was told to stop.

Its row says what it is about to do, and a drain what was ordered (:mod:`cloudlb.domain.drains`). Whoever wrote them,
this server finds them there, asks its hosts to go (:mod:`.emptying`), writes about once a second how far it is, and how
it ended. What counts is the database: a host has moved when its row is Up on another server.

While it does not take agents, those of ours that come are sent on to other servers. CloudStack's know no such word, and
are admitted and moved. All of this only while another server of ``host`` takes agents: otherwise everybody may come,
and nobody is moved. When its time is over, the agents that are left stay and work, unless the order was ``forced``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.directory import Directory
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.cluster.emptying import Emptying
from cloudlb.cluster.membership import SERVER_STATE, Membership
from cloudlb.cluster.server_orders import pending_jobs
from cloudlb.domain.drains import Drain, DrainEnd, Tally, Whereabouts
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId, Server
from cloudlb.domain.ports import Bus, Store, StoreUnavailable, Transaction
from cloudlb.domain.server_state import ServerEvent, ServerState
from cloudlb.net.in_time import in_time
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

TICK = 1.0
"""Seconds between two looks at how far a drain is."""
CLOSES_WITHIN = 10.0
"""Seconds that links have to end that were closed by force."""
ORDER_TIMEOUT = 5.0
"""Seconds that the database has for the order to stop; without it there is no point in moving agents."""
PROGRESS_INTERVAL = 5.0
"""Seconds between two lines in the log about a drain."""
NOWHERE = "no other server of `host` takes agents"
_STOPPABLE = (ServerState.UP, ServerState.PREPARING_FOR_SHUTDOWN, ServerState.READY_TO_SHUTDOWN)
"""What a stop by a signal makes ShuttingDown; maintenance lasts over it."""


@frozen
class _Found:
    """What the database says."""

    state: ServerState
    drain: Drain | None
    jobs: int
    missing: Mapping[HostId, Whereabouts]


class Draining:
    """Empties this server when that was ordered."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        bus: Bus,
        settings: LiveSettings,
        membership: Membership,
        directory: Directory,
        disconnection: Disconnection,
        emptying: Emptying,
        clock: IReactorTime,
        *,
        links: Callable[[], int],
        stop_process: Callable[[], object],
    ) -> None:
        """Prepare.

        Args:
            links: counts the sessions of hosts here, also those that only answer what is under way on them.
            stop_process: ends the process in good order.
        """
        self._store = store
        self._settings = settings
        self._membership = membership
        self._directory = directory
        self._disconnection = disconnection
        self._emptying = emptying
        self._clock = clock
        self._links = links
        self._stop_process = stop_process
        self._tally = Tally()
        self._drain: Drain | None = None
        """The one that this server is at."""
        self._closed: float | None = None
        """When the links that were left were closed."""
        self._due = False
        """Something has happened that was not looked at yet."""
        self._looking = False
        self._running, self._stopping = False, False
        self._awaited = 0
        """The drain after whose end the stop goes on."""
        self._over: Deferred[None] = Deferred()
        """Fired when a stop may go on, which may be before it has begun."""
        self._told = float("-inf")
        """When the log was told last how far it is."""
        self._ticks = Periodic(clock, "look how far the drain is", self._tick)
        bus.subscribe(SERVER_STATE, self._changed)
        membership.observe(self.wake)

    async def start(self) -> None:
        """End what an earlier process has left unfinished; begin to look."""
        own, now = self._membership.own.id, self._clock.seconds()

        def work(txn: Transaction) -> None:
            drain = txn.drains.get(own)
            if drain is not None:
                txn.drains.progress(_ended(evolve(drain, left=0, jobs=0), DrainEnd.STOPPED, now))

        await self._store.run(work)
        self._running = True
        self._ticks.start(TICK)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._running = False
        self._ticks.stop()
        self._emptying.rest()

    @property
    def under_way(self) -> Drain | None:
        """The drain that this server is at, and how far it is."""
        return self._drain

    def elsewhere(self) -> tuple[str, ...] | None:
        """Servers to avoid, for agents that are to go to another one than this; None: this one takes agents."""
        if self._membership.state is ServerState.UP or not self._emptying.possible:
            return None
        own = self._membership.own
        return tuple(dict.fromkeys((own.address, own.name, *self._membership.avoid(self._settings.current.servers))))

    def wake(self) -> None:
        """Look now."""
        self._due = True
        if self._running and not self._looking:
            spawn(self._look(), self.log, "look at the drain")

    # The stop.

    async def before_stop(self) -> None:
        """Have the agents moved away before the server stops, while that is of use and there is time. Never fails."""
        self._stopping = True
        if not self._running or self._membership.cut_off or self._membership.superseded:
            return
        seconds = self._settings.current.stop_timeout
        order = in_time(self._order_stop(seconds), ORDER_TIMEOUT, self._clock)
        self._over.addCallback(lambda _: order.cancel())
        try:
            ordered = await order
        except StoreUnavailable as error:
            self.log.info("stopping at once: the database is away ({error})", error=error)
            return
        except CancelledError:
            self.log.info("stopping at once: told to hurry")
            return
        if ordered is not None:
            self._awaited = ordered.number
            self.log.info("told to stop: the agents have {seconds} s to move to other servers", seconds=seconds)
            deadline = self._clock.callLater(seconds + 2 * TICK, self.hurry)
            self.wake()
            await self._over
            if deadline.active():
                deadline.cancel()
            await self._give_up(ordered)

    async def _give_up(self, ordered: Drain) -> None:
        """Say of a drain that is not over that it was ended by the stop."""
        drain = self._drain
        if drain is not None and drain.number >= ordered.number:
            work = self._write(_ended(drain, DrainEnd.STOPPED, self._clock.seconds()))
            try:
                await in_time(work, ORDER_TIMEOUT, self._clock)
            except StoreUnavailable as error:
                self.log.info("the drain's end is written at the next start: {error}", error=error)

    def hurry(self) -> None:
        """Stop now, whoever is left."""
        if not self._over.called:
            self._over.callback(None)

    async def _order_stop(self, seconds: float) -> Drain | None:
        """Say that this server is about to stop; how it is to be emptied first, if it is."""
        own, now = self._membership.own.id, self._clock.seconds()
        here = bool(len(self._directory) or self._links())

        def work(txn: Transaction) -> Drain | None:
            servers, settings, before = txn.servers.all(), txn.settings.load(), txn.drains.get(own)
            recorded = next((server.recorded for server in servers if server.id == own), ServerState.UP)
            if recorded in _STOPPABLE:
                txn.servers.change_state(own, ServerEvent.TRIGGER_SHUTDOWN)
            under_way = before is not None and before.ended is None
            # After a triggerShutdown all was done that could be.
            useful = here and seconds > 0 and (recorded is not ServerState.SHUTTING_DOWN or under_way)
            useful = useful and any(_takes(server, settings.servers) for server in servers if server.id != own)
            txn.bus.publish(SERVER_STATE, {"server_id": own}, now)
            if useful:
                algorithm = before.algorithm if before is not None and under_way else None
                return txn.drains.put(Drain(server_id=own, timeout=seconds, algorithm=algorithm))
            if before is not None:
                txn.drains.progress(_ended(before, DrainEnd.STOPPED, now))
            return None

        return await self._store.run(work)

    # The drain.

    def _changed(self, payload: Mapping[str, Any]) -> None:
        if self._running and payload["server_id"] == self._membership.own.id:
            self.wake()

    async def _tick(self) -> None:
        idle = self._membership.state is ServerState.UP or not (len(self._directory) or self._links())
        if self._due or self._drain is not None or not idle:
            await self._look()

    async def _look(self) -> None:
        if self._looking:
            return
        self._looking, self._due = True, False
        try:
            await self._step()
        except StoreUnavailable as error:
            self.log.warn("cannot look how far the drain is: {error}", error=error)
            self._due = True
            return
        finally:
            self._looking = False
        if self._due:
            self.wake()

    async def _step(self) -> None:
        now = self._clock.seconds()
        self._tally.look({attache.host.id: attache.host.uuid for attache in self._directory}, now)
        found = await self._find()
        if not self._running:
            return
        self._tally.learn(self._membership.own.id, found.missing, now)
        drain = found.drain
        if drain is not None and drain.ended is None:
            await self._carry_on(drain, found, now)
        else:
            await self._rest(drain, found.state)

    async def _find(self) -> _Found:
        own, missing = self._membership.own.id, self._tally.missing

        def work(txn: Transaction) -> _Found:
            states = {server.id: server.recorded for server in txn.servers.all()}
            where = txn.hosts.whereabouts(missing) if missing else {}
            jobs = pending_jobs(txn).get(own, 0)
            return _Found(states.get(own, ServerState.UP), txn.drains.get(own), jobs, where)

        return await self._store.read(work)

    async def _rest(self, drain: Drain | None, state: ServerState) -> None:
        """No drain is under way: keep an empty server empty."""
        if self._drain is not None:
            self._drain = None
            self._emptying.rest()
        if drain is not None and 0 < self._awaited <= drain.number:
            self.hurry()
        if state is ServerState.SHUTTING_DOWN:
            if not self._stopping:
                await self._shut_down(drain)
        elif state in (ServerState.MAINTENANCE, ServerState.READY_TO_SHUTDOWN) and self._emptying.possible:
            await self._emptying.ask(None)
        elif state is ServerState.UP:
            self._emptying.rest()

    async def _shut_down(self, drain: Drain | None) -> None:
        """End the process; but agents that have nowhere to go keep it alive, also when its time is over."""
        if len(self._directory):
            if not self._emptying.possible:
                return
            if drain is not None and drain.note is not None:
                await self._order_again(drain)
                return
        self._stopping = True
        self.log.info("the time for the shutdown has come: {count} hosts are here", count=len(self._directory))
        self._stop_process()

    async def _order_again(self, drain: Drain) -> None:
        """Give its whole time once more to a drain whose agents had nowhere to go when it was over."""

        def work(txn: Transaction) -> None:
            latest = txn.drains.get(drain.server_id)
            if latest is not None and latest.number == drain.number:
                txn.drains.put(
                    Drain(
                        server_id=drain.server_id,
                        algorithm=drain.algorithm,
                        forced=drain.forced,
                        timeout=drain.timeout,
                    )
                )

        await self._store.run(work)
        self._due = True

    async def _carry_on(self, ordered: Drain, found: _Found, now: float) -> None:
        if self._drain is None or self._drain.number != ordered.number:
            self._begin(now)
        possible = self._emptying.possible
        self._drain = drain = self._tally.counted(
            ordered if ordered.started is not None else evolve(ordered, started=now),
            jobs=found.jobs,
            stayed=self._emptying.failed,
            note=None if possible else NOWHERE,
            now=now,
        )
        end = self._end(drain, found.state, possible, now)
        if end is not None:
            drain = evolve(_ended(drain, end, now), note=drain.note if end is DrainEnd.TIMED_OUT else None)
        if drain != ordered:
            await self._write(drain)
        if end is not None:
            self._tell_end(drain)
            await self._rest(drain, found.state)
            return
        if now >= self._told + PROGRESS_INTERVAL:
            self._told = now
            self.log.info("the server is being emptied: {progress}", progress=_shown(drain))
        if possible:
            await self._emptying.ask(drain.algorithm)
        elif not possible:
            self._emptying.rest()

    def _begin(self, now: float) -> None:
        self._emptying.rest()
        self._tally, self._closed = Tally(), None
        self._tally.look({attache.host.id: attache.host.uuid for attache in self._directory}, now)

    def _end(self, drain: Drain, state: ServerState, possible: bool, now: float) -> DrainEnd | None:
        """Whether a drain is over, and how it ended."""
        if state is ServerState.UP:
            return DrainEnd.CANCELLED
        if self._closed is not None:
            # Those that have nowhere to go come back to this server.
            if possible and not drain.left and not self._links():
                return DrainEnd.FORCED
            return DrainEnd.TIMED_OUT if now >= self._closed + CLOSES_WITHIN else None
        if self._tally.is_over(now) and not drain.jobs and not self._links():
            return DrainEnd.DONE
        if self._stopping and not possible:
            # The process ends in any case; its agents look for a server then, as those of any that ends.
            return DrainEnd.STOPPED
        if now < (drain.started or now) + drain.timeout:
            return None
        if not drain.forced or not possible:
            return DrainEnd.TIMED_OUT
        self._closed = now
        for attache in self._directory:
            self._disconnection.close(attache, HostEvent.MANAGEMENT_SERVER_DOWN, "its server had to be emptied")
        return None

    async def _write(self, drain: Drain) -> None:
        """Write how far a drain is, or how it ended and what that means for the server."""
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            if not txn.drains.progress(drain) or drain.end is None:
                return
            if drain.end in (DrainEnd.DONE, DrainEnd.FORCED):
                txn.servers.change_state(drain.server_id, ServerEvent.DRAINED)
            txn.bus.publish(SERVER_STATE, {"server_id": drain.server_id}, now)

        await self._store.run(work)

    def _tell_end(self, drain: Drain) -> None:
        end = drain.end.value if drain.end is not None else ""
        self.log.info("the drain has ended ({end}): {progress}", end=end, progress=_shown(drain))


def _ended(drain: Drain, end: DrainEnd, now: float) -> Drain:
    return evolve(drain, ended=now, end=end, eta=None, note=None)


def _takes(server: Server, hosts: tuple[str, ...]) -> bool:
    return server.state is ServerState.UP and any(server.answers_to(address) for address in hosts)


def _shown(drain: Drain) -> str:
    parts = [f"{drain.moved} of {drain.total} hosts have moved", f"{drain.left} are here", f"{drain.jobs} jobs run"]
    parts += [f"{len(drain.failed)} failed"] if drain.failed else []
    parts += [f"about {drain.eta:.0f} s to go"] if drain.eta else []
    return ", ".join([*parts, *([drain.note] if drain.note else [])])
