"""The one place where it is decided what becomes of a host whose agent is late or gone, whatever the cause.

The table is `cloudlb.domain.disconnects`. This module brings it the causes, does what it says and never asks twice at
the same time: an agent that is late keeps its link until an investigation has ended; one that is gone is written at
once, and investigated then. What belongs to a session that is not the host's latest changes nothing, because the
database takes no step of an older one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.hooks import Hooks
from cloudlb.agents.investigation import Case
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.liveness import Liveness
from cloudlb.agents.losses import Loss, Losses
from cloudlb.agents.statuses import Statuses
from cloudlb.domain.disconnects import FirstStep, conclusion, first_step
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, HostId, Session, Transition
from cloudlb.domain.ports import Store, StoreUnavailable
from cloudlb.domain.records import Investigation, Verdict
from cloudlb.metrics.meters import Meters
from cloudlb.net.in_order import InOrder
from cloudlb.net.spawn import spawn

GRACE = 1.0
"""Seconds that a lost link has to turn out as one that its agent has left for another server, whose claim of the host
is on its way to the database. Ends that were announced need none."""
GRACE_OF_MOVES = 5.0
"""The same for an agent that was asked to go: its claim may have to wait among many, on a database that is slow, and
whoever has asked for it waits as long."""


class Investigates(Protocol):
    """Who is asked whether a host lives: `cloudlb.agents.investigation.Investigators`."""

    def investigate(self, case: Case) -> Awaitable[Investigation]:
        """Find out; never fails."""
        ...


class Disconnection:
    """What this server does about agents that fall silent, go, or are to go."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        directory: Directory,
        statuses: Statuses,
        hooks: Hooks,
        investigators: Investigates,
        clock: IReactorTime,
        meters: Meters,
    ) -> None:
        self._meters = meters
        self._store = store
        self._directory = directory
        self._hooks = hooks
        self._investigators = investigators
        self._clock = clock
        self._losses = Losses(statuses, clock)
        self._decided: dict[Attache, FirstStep] = {}
        self._investigated: set[tuple[HostId, Session]] = set()
        self._under_way = InOrder[Deferred[None]]()
        self._stopping = False
        self._ended: Callable[[Attache], object] = lambda _: None
        self.liveness = Liveness(store, settings, clock, self.late)

    def tell_of_ends(self, ended: Callable[[Attache], object]) -> None:
        """Have somebody told of every session that has ended, before anything comes of it."""
        self._ended = ended

    @property
    def unwritten(self) -> int:
        """Hosts that are lost, of which the database has not been told."""
        return len(self._losses)

    def start(self) -> None:
        """Begin to look for late agents, and to write who is lost."""
        self.liveness.start()
        self._losses.start()

    async def stop(self) -> None:
        """Write everything that is left, when no agent is connected any more."""
        self._stopping = True
        for investigation in list(self._under_way):
            investigation.cancel()
        await self._losses.stop()

    def close(self, attache: Attache, cause: HostEvent, reason: str) -> None:
        """End an agent's link, for a cause of the table."""
        self._close(attache, first_step(cause, attache.host.resource_state) if attache.claimed else None, reason)

    def late(self, attache: Attache) -> None:
        """An agent has been silent for longer than its time-out."""
        if attache.superseded:
            attache.close("silent, and replaced by another session")
        elif not attache.owns_host:
            # Its admission has deadlines of its own.
            self.liveness.renew(attache)
        elif not self.looks_into(attache.host):
            reason = f"no ping for {self.liveness.patience(attache):g} s"
            step = first_step(HostEvent.PING_TIMEOUT, attache.host.resource_state)
            if step.investigate:
                self._spawn(self._look_into_late(attache, reason))
            else:
                self._close(attache, step, reason)

    def lost(self, attache: Attache, reason: str) -> None:
        """An agent's link is gone."""
        self.liveness.forget(attache)
        self._ended(attache)
        step = self._decided.pop(attache, None)
        # Before the directory forgets it, which is nothing to one that does not speak for its host.
        self._directory.leave(attache)
        if not attache.claimed:
            # Never admitted; or taken over by another session, and then the host is as Up as it was.
            return
        announced = step is not None or attache.parting is not None
        if step is None:
            cause = HostEvent.SHUTDOWN_REQUESTED if attache.parting else HostEvent.AGENT_DISCONNECTED
            step = first_step(cause, attache.host.resource_state)
        grace = GRACE_OF_MOVES if attache.asked_to_go else GRACE
        self._write(attache, step, reason, due=self._clock.seconds() + (0.0 if announced else grace))

    def not_returned(self, attache: Attache, reason: str) -> None:
        """The agent of a host that is Rebalancing has broken its link, and made no other one."""
        attache.leaving = False
        step = first_step(HostEvent.AGENT_DISCONNECTED, attache.host.resource_state)
        self._write(attache, step, reason, due=self._clock.seconds())

    def looks_into(self, host: Host) -> bool:
        """Whether the loss of a host's session is being investigated."""
        return (host.id, host.session) in self._investigated

    def _close(self, attache: Attache, step: FirstStep | None, reason: str) -> None:
        if not attache.connected:
            return
        if step is not None:
            self._decided[attache] = step
        attache.close(reason)

    def _write(self, attache: Attache, step: FirstStep, reason: str, *, due: float) -> None:
        host = attache.host
        if step.event is None:
            return

        def written(transition: Transition | None) -> None:
            if transition is not None and transition.after is HostStatus.REBALANCING:
                # It is to come back elsewhere: who has sent it waits for that.
                return
            self.tell(host, transition, reason)
            if transition is not None and step.investigate and not self.looks_into(host):
                self._spawn(self._look_into_lost(attache, reason))

        # Not its status as this server knows it: the link may end while that is being written, or is in doubt.
        if attache.rebalances and not attache.leaving and step.event is not HostEvent.MANAGEMENT_SERVER_DOWN:
            self._fail_rebalancing(host, reason, due)
        self._losses.add(Loss(host, step.event, reason, due, written))

    def _fail_rebalancing(self, host: Host, reason: str, due: float) -> None:
        """Have a host be lost from Rebalancing first, which knows of no other loss; nothing, if it is not that."""

        def written(transition: Transition | None) -> None:
            if transition is not None:
                self.tell(host, transition, reason)

        self._losses.add(Loss(host, HostEvent.REBALANCE_FAILED, reason, due, written))

    def tell(self, host: Host, transition: Transition | None, reason: str) -> None:
        """Tell log and hooks of a loss that was written, by whichever part of this server.

        Args:
            host: as it was.
            transition: what came of it; None: nothing, because another session has the host.
            reason: for the log.
        """
        if transition is None:
            self.log.info("host {name} has left for a newer session: {reason}", name=host.facts.name, reason=reason)
            return
        after = transition.after
        self.log.info(
            "host {name} lost its agent and is {status}: {reason}",
            name=host.facts.name,
            status=after.value,
            reason=reason,
        )
        if after is not transition.before:
            self._meters.lost.labels(after.value).inc()
            self._hooks.tell(lambda hook: hook.disconnected(host, after))

    # Investigations.

    def _spawn(self, steps: Coroutine[Deferred[Any], Any, None]) -> None:
        if self._stopping:
            steps.close()
            return
        under_way = spawn(steps, self.log, "look into a host")
        self._under_way.add(under_way)
        under_way.addBoth(lambda _: self._under_way.discard(under_way))

    async def _look_into_late(self, attache: Attache, reason: str) -> None:
        """Decide on an agent whose link is open, if it is at the end."""
        cause = HostEvent.PING_TIMEOUT
        verdict = await self._ask(attache, cause)
        if not attache.claimed:
            return
        event = conclusion(cause, verdict, heard=attache in self.liveness)
        if event is HostEvent.PING:
            self.log.info(
                "host {name} was late, but its agent answers: {reason}", name=attache.host.facts.name, reason=reason
            )
        elif attache.connected:
            self._close(attache, FirstStep(event, investigate=False), f"{reason}; found {verdict.value}")
        else:
            # The link went meanwhile, which was written as its own loss; what was found is news only if it is Down.
            self._write(attache, FirstStep(event, investigate=False), reason, due=self._clock.seconds())

    async def _look_into_lost(self, attache: Attache, reason: str) -> None:
        cause = HostEvent.AGENT_DISCONNECTED
        verdict = await self._ask(attache, cause)
        if conclusion(cause, verdict, heard=False) is HostEvent.HOST_DOWN:
            step = FirstStep(HostEvent.HOST_DOWN, investigate=False)
            self._write(attache, step, f"{reason}; found {verdict.value}", due=self._clock.seconds())

    async def _ask(self, attache: Attache, cause: HostEvent) -> Verdict:
        """Have a host investigated, unless it is needless."""
        host = attache.host
        self._investigated.add((host.id, host.session))
        try:
            if await self._has_newer_session(host):
                return Verdict.UNKNOWN
            case = Case(host=host, attache=attache if attache.connected else None, cause=cause)
            return (await self._investigators.investigate(case)).verdict
        finally:
            self._investigated.discard((host.id, host.session))

    async def _has_newer_session(self, host: Host) -> bool:
        try:
            row = await self._store.read(lambda txn: txn.hosts.get(host.id))
        except StoreUnavailable:
            return False
        return row is None or row.session != host.session
