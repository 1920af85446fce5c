"""How one host goes to another server: what it is asked, and when it counts as gone; see cloudlb.agents.moves."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.errors import AgentBusy, AgentUnavailable, CommandCancelled, CommandError
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.statuses import Statuses
from cloudlb.domain.host_list import HostList
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, HostId
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.wire import Answer, Flag, MigrateAgentConnectionCommand, SetupMSListCommand

DIRECT_MOVE = "host.direct.move"
"""A server is to load the resource of a direct host that another one runs: {"host_id", "server_id"}."""
ANSWER_TIMEOUT = 10.0
"""Seconds that an agent has to acknowledge."""
LEAVES_WITHIN = 20.0
"""Seconds that a host has to be another server's, once it was asked. One that comes to it later has moved all the same,
but nobody waits for that."""
NEWS_WITHIN = 5.0
"""Seconds after the end of a link in which the message that another server has the host must have come."""
IDLE_WITHIN = 20.0
"""Seconds that commands to a host have to end before its agent, which would break the link, is left where it is. New
ones wait so long, and as long as the move takes then: less than they may (cloudlb.cluster.forwarding)."""
RETURNS_WITHIN = 60.0
"""Seconds that an agent which breaks its link before it makes the new one may be without a server."""
LOADED_WITHIN = 60.0
"""Seconds that another server has to load a direct host's resource."""
TOLD_AGAIN = 10.0
"""Seconds after which it is told so again; one that is loading it already takes no notice."""
RETRY = 1.0
"""Seconds until a step is written again that the database did not take."""
POLL = 0.25
"""Seconds between looks whether anything is under way on a host."""


class MoveEnd(Enum):
    """What became of a request to move a host."""

    MOVED = "moved"
    """A newer session elsewhere has the host."""
    STAYED = "stayed"
    """The host is on this server still, or again."""
    LOST = "lost"
    """The host's session has ended, and no other one is known."""


class MoveReason(Enum):
    """Why somebody wants a host moved."""

    LIST = "list"
    """The agent's list begins with another server."""
    REBALANCE = "rebalance"
    """The servers are evened out."""
    DRAIN = "drain"
    """The server is being emptied."""
    FENCING = "fencing"
    """The server has lost the database, and the others have not."""


@define(eq=False)
class Move:
    """A request to move a host, until its end."""

    attache: Attache
    hosts: HostList
    avoid: Sequence[str]
    reason: MoveReason
    why: str
    begun: bool = False
    end: MoveEnd | None = None
    """What is known of it from others."""
    then: Move | None = None
    """The next request, of somebody who wants the host elsewhere."""
    waiters: list[Deferred[MoveEnd]] = field(factory=list)
    news: Deferred[None] | None = None
    """Fired by :meth:`tell`."""
    pause: IDelayedCall | None = None
    """Until its host may be asked to go to the same server again."""

    def tell(self) -> None:
        """Something has happened to the host."""
        news, self.news = self.news, None
        if news is not None:
            news.callback(None)

    def end_pause(self) -> None:
        """Wait for nothing but the turn."""
        pause, self.pause = self.pause, None
        if pause is not None and pause.active():
            pause.cancel()


class Departures:
    """Sees each host through its move."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        statuses: Statuses,
        disconnection: Disconnection,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._settings = settings
        self._statuses = statuses
        self._disconnection = disconnection
        self._clock = clock

    async def depart(self, move: Move, target: str, avoid: Sequence[str], *, leave: bool) -> MoveEnd:
        """Move a host.

        Args:
            move: the request, whose ``end`` is set and told when another session of the host has begun.
            target: the server where it should go.
            avoid: addresses of servers to which it should not.
            leave: it should rather go to any other server than stay.
        """
        attache = move.attache
        if not isinstance(attache, LinkAttache):
            return await self._hand_over(move, target)
        if attache.link.channel.is_cloudlb:
            asked = await self._ask(attache, move.hosts, avoid, leave=leave)
            attache.asked_to_go = asked
            try:
                return await self._outcome(move, LEAVES_WITHIN, NEWS_WITHIN, bound=False) if asked else _stayed(move)
            finally:
                attache.asked_to_go = False
        return await self._break_and_make(move, attache, avoid)

    # Agents.

    async def _ask(self, attache: LinkAttache, hosts: HostList, avoid: Sequence[str], *, leave: bool) -> bool:
        """Tell an agent to go; whether it may do so."""
        host = attache.host
        interval = self._settings.current.check_interval(host.cluster.id if host.cluster else None)
        command: MigrateAgentConnectionCommand | SetupMSListCommand
        if leave:
            command = MigrateAgentConnectionCommand(
                ms_list=hosts.addresses,
                avoid_ms_list=tuple(avoid),
                lb_algorithm=hosts.algorithm,
                lb_check_interval=interval,
            )
        else:
            # To a server that stands before this one, or nowhere.
            command = SetupMSListCommand(
                ms_list=hosts.addresses,
                avoid_ms_list=tuple(avoid),
                lb_algorithm=hosts.algorithm,
                lb_check_interval=interval,
                trigger_host_lb=True,
            )
        try:
            answers = await attache.send([command], timeout=ANSWER_TIMEOUT, flags=Flag.STOP_ON_ERROR)
        except (AgentBusy, AgentUnavailable) as error:
            self.log.info("host {name} was not asked to move: {error}", name=host.facts.name, error=error)
            return False
        except CommandCancelled:
            # The server stops.
            raise CancelledError from None
        except CommandError as error:
            self.log.info("host {name} may move or not: {error}", name=host.facts.name, error=error)
            return True
        if not answers or any(isinstance(answer, Answer) and not answer.result for answer in answers):
            details = next((a.details for a in answers if isinstance(a, Answer)), None)
            self.log.warn("host {name} does not move: {details}", name=host.facts.name, details=details)
            return False
        attache.held, attache.check_interval = hosts, interval
        return True

    async def _break_and_make(self, move: Move, attache: LinkAttache, avoid: Sequence[str]) -> MoveEnd:
        """Have an agent go that is without a server in between."""
        host = attache.host
        if not await self._begin_rebalancing(attache, host, move.why):
            return _stayed(move)
        if await self._idle(move):
            # Before it is asked: its link may end together with the answer.
            attache.leaving = True
            if await self._ask(attache, move.hosts, avoid, leave=True):
                end = await self._outcome(move, LEAVES_WITHIN, RETURNS_WITHIN)
                if end is MoveEnd.LOST:
                    self._disconnection.not_returned(attache, f"it has come to no server in {RETURNS_WITHIN:.0f} s")
                    return end
        await self._stay_up(attache, host)
        return _stayed(move)

    async def _begin_rebalancing(self, attache: LinkAttache, host: Host, why: str) -> bool:
        """Make a host Rebalancing, if it is Up. If its link ends meanwhile, it is lost as any other."""
        attache.rebalances = True
        try:
            transition = await self._statuses.change(host, HostEvent.START_AGENT_REBALANCE, why)
        except StoreUnavailable as error:
            self.log.info("host {name} is not moved: {error}", name=host.facts.name, error=error)
            # It may have been written all the same.
            await self._stay_up(attache, host)
            return False
        if transition is None or not attache.owns_host:
            return False
        attache.take_status(HostStatus.REBALANCING)
        return True

    async def _idle(self, move: Move) -> bool:
        """Wait until nothing is under way on a host; whether it came to that."""
        attache, end = move.attache, self._clock.seconds() + IDLE_WITHIN
        while attache.under_way and attache.owns_host and self._clock.seconds() < end:
            await deferLater(self._clock, POLL)
        return not attache.under_way and attache.owns_host

    async def _stay_up(self, attache: LinkAttache, host: Host) -> None:
        """Have a host Up again whose agent is here still; through Connecting, as one that has just come.

        If its link ends meanwhile, it is lost as any other.
        """
        attache.leaving = False
        reason = "its agent stays"
        while attache.owns_host and attache.host.session == host.session:
            try:
                await self._statuses.change(host, HostEvent.REBALANCE_COMPLETED, reason)
                await self._statuses.change(host, HostEvent.READY, reason)
            except StoreUnavailable:
                await deferLater(self._clock, RETRY)
            else:
                if attache.owns_host and attache.host.session == host.session:
                    attache.take_status(HostStatus.UP)
                return

    # Direct hosts.

    async def _hand_over(self, move: Move, target: str) -> MoveEnd:
        """Have another server begin a session of a direct host."""
        host, end = move.attache.host, self._clock.seconds() + LOADED_WITHIN
        while (left := end - self._clock.seconds()) > 0:
            try:
                await self._tell_to_load(host.id, target)
            except StoreUnavailable as error:
                self.log.info("host {name} is not handed over: {error}", name=host.facts.name, error=error)
                break
            # A server that has started again since was told before it could hear.
            outcome = await self._outcome(move, min(left, TOLD_AGAIN), NEWS_WITHIN)
            if outcome is not MoveEnd.STAYED:
                return outcome
        return _stayed(move)

    async def _tell_to_load(self, host_id: HostId, target: str) -> None:
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            for server in txn.servers.all():
                if server.answers_to(target):
                    txn.bus.publish(DIRECT_MOVE, {"host_id": host_id, "server_id": server.id}, now)

        await self._store.run(work)

    # Ends.

    async def _outcome(self, move: Move, leaves_within: float, returns_within: float, *, bound: bool = True) -> MoveEnd:
        """Wait until another session has the host.

        Args:
            move: the request.
            leaves_within: seconds for that while the session here goes on.
            returns_within: seconds for that from its end.
            bound: who was asked cannot be asked to go elsewhere now.
        """
        deadline = self._clock.seconds() + leaves_within
        gone = False
        while move.end is None:
            if not move.attache.connected and not gone:
                gone, deadline = True, self._clock.seconds() + returns_within
            if (left := deadline - self._clock.seconds()) <= 0 or (move.then is not None and not bound and not gone):
                break
            await self._news(move, left)
        return _stayed(move)

    async def _news(self, move: Move, seconds: float) -> None:
        """Wait for something to happen to a host."""
        move.news = Deferred()
        timer = self._clock.callLater(seconds, move.tell)
        try:
            await move.news
        finally:
            move.news = None
            if timer.active():
                timer.cancel()


def _stayed(move: Move) -> MoveEnd:
    """What is known of a move for which nobody waits any longer."""
    return move.end or (MoveEnd.STAYED if move.attache.connected else MoveEnd.LOST)
