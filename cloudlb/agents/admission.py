"""From an accepted connection to an agent that is Up.

1. The TLS handshake, under a deadline (net.link_protocol).
2. The first Request with StartupCommands, under another; anything else before it is thrown away. An agent that comes
   again and again is made to wait (`cloudlb.agents.flapping`).
3. The certificate is held against the GUID, and the hooks are asked; a misfit is refused with a StartupAnswer whose
   result is false.
4. StartupAnswer with host id 0, at once if there is room: the real id comes with ReadyCommand.
5. The host's row is created or taken over, many agents' in one transaction.
6. ReadyCommand, with the list only where the agent holds another one.
7. ReadyAnswer: the host is Up.

A host that moves here and is Up on another server is taken over only after step 6 was answered: whatever fails before
that, it stays where it is, and nobody notices. One that is Up and has a newer link, of an agent that has lost its
server or was started again, is taken over at step 5 and stays Up; commands wait for step 7 all the same, and where that
does not come it is Disconnected, at the latest after READY_TIMEOUT.

A refusal makes CloudStack's agent exit, so only what lasts is refused (`cloudlb.agents.refusals`). A server without
room says so in another way (`cloudlb.agents.room`). Where the database fails in the middle, the link is closed and the
agent comes back by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cloudlb.agents.claims import Claim, Claims
from cloudlb.agents.concerns import Concerns
from cloudlb.agents.directory import Directory
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.door import Door
from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, CommandError
from cloudlb.agents.flapping import Flapping
from cloudlb.agents.hooks import Hooks
from cloudlb.agents.introduction import Introduction, Refusal, introduce
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.lists import Lists
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.refusals import Refusals
from cloudlb.agents.room import RETRY_AFTER, Room
from cloudlb.agents.statuses import Statuses
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.ports import Refused, StoreUnavailable
from cloudlb.metrics.meters import Meters
from cloudlb.net.certificate_names import certificate_end
from cloudlb.net.in_order import InOrder
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.sparse_log import SparseLog
from cloudlb.net.spawn import spawn
from cloudlb.wire import (
    Answer,
    CommandInfo,
    Flag,
    Header,
    ReadyCommand,
    StartupAnswer,
    StartupCommand,
    response_flags,
    write_contents,
    write_packet,
)

READY_TIMEOUT = 60.0
"""Seconds that an agent has to answer ReadyCommand [CloudStack: ready.command.wait]."""
STOP_TIMEOUT = 3.0
"""Seconds that links have to end, and admissions under way, when the server stops."""
_POLL = 0.02


class _TurnedAway(Exception):
    """The host's row does not take the agent; the message says why."""


class Admission:
    """Admits agents to this server, and owns their attaches."""

    log = Logger()

    def __init__(
        self,
        settings: LiveSettings,
        claims: Claims,
        directory: Directory,
        statuses: Statuses,
        disconnection: Disconnection,
        lists: Lists,
        hooks: Hooks,
        concerns: Concerns,
        refusals: Refusals,
        door: Door,
        room: Room,
        flapping: Flapping,
        clock: IReactorTime,
        rng: random.Random,
        meters: Meters,
        *,
        max_message: int,
    ) -> None:
        self._meters = meters
        self._settings = settings
        self._claims = claims
        self._directory = directory
        self._statuses = statuses
        self._disconnection = disconnection
        self._lists = lists
        self._hooks = hooks
        self._concerns = concerns
        self._refusals = refusals
        self._door = door
        self._room = room
        self._flapping = flapping
        self._clock = clock
        self._rng = rng
        self._max_message = max_message
        self._attaches = InOrder[LinkAttache]()
        self._under_way = InOrder[Deferred[None]]()
        self._sparse_log = SparseLog(clock, self.log)
        self.reported: Callable[[LinkAttache, Sequence[CommandInfo]], tuple[str, ...]] = lambda *_: ()
        """Takes what a ping tells of commands; says which of them the agent may forget."""

    def begin(self, link: LinkProtocol, header: Header, startups: Sequence[StartupCommand]) -> None:
        """Take over a link whose agent has introduced itself."""
        introduction = introduce(startups, link.channel.peer_certificate)
        if isinstance(introduction, Introduction) and (reason := self._hooks.refusal(introduction.facts)) is not None:
            introduction = Refusal(reason)
        if isinstance(introduction, Refusal):
            self._count("refused")
            answer = StartupAnswer(result=False, details=introduction.reason)
            guid = startups[0].guid or ""
            self._refusals.refuse(link, self._response(header, -1, [answer]), guid, introduction.reason)
        else:
            self._door.knock(link, partial(self._knocked, link, header, introduction))

    def _knocked(
        self, link: LinkProtocol, header: Header, introduction: Introduction, avoid: tuple[str, ...] | None
    ) -> None:
        """Go on with an agent that fits, if this server takes any."""
        if avoid is not None:
            self._count("sent_on")
            self._sparse_log.info("{peer} is sent on: this server takes no agents", peer=link.peer_address)
            self._send_on(link, header, "the server takes no agents", RETRY_AFTER, avoid)
        else:
            self._flapping.admit(link, introduction.facts.guid, lambda: self._enter(link, header, introduction))

    def _enter(self, link: LinkProtocol, header: Header, introduction: Introduction) -> None:
        """Find room for an agent that fits."""
        known = introduction.known
        if self._room.enter(known=known):
            self._start(link, header, introduction)
        elif link.channel.is_cloudlb:
            self._count("busy")
            self._sparse_log.info("{peer} is told to come again: there is no room", peer=link.peer_address)
            self._send_on(link, header, "the server is busy", self._room.come_again(), self._lists.avoid_list())
        else:
            self._sparse_log.info("{peer} has to wait: there is no room", peer=link.peer_address)
            self._room.wait(link, lambda: self._start(link, header, introduction), known=known)

    def _send_on(self, link: LinkProtocol, header: Header, why: str, seconds: int, avoid: tuple[str, ...]) -> None:
        """Tell an agent of ours to try other servers now, and this one later."""
        servers = self._settings.current.servers
        busy = StartupAnswer(result=False, details=why, retry_after=seconds, avoid_ms_list=avoid, ms_list=servers)
        link.send(self._response(header, -1, [busy]))
        link.close()

    def _start(self, link: LinkProtocol, header: Header, introduction: Introduction) -> None:
        """Answer an agent for whom there is room."""
        attache = LinkAttache(
            link,
            self,
            self._clock,
            self._rng,
            server_id=self._claims.server_id,
            guid=introduction.facts.guid,
            ping_interval=self._settings.current.ping_interval,
            held=introduction.held,
            max_message=self._max_message,
        )
        certificate = link.channel.peer_certificate
        attache.certificate_end = certificate_end(certificate) if certificate is not None else None
        link.owner = attache
        self._attaches.add(attache)
        self._disconnection.liveness.heard(attache)
        answer = StartupAnswer(host_id=0, host_name="", host_uuid="", ping_interval=attache.ping_interval)
        link.send(self._response(header, -1, [answer]))
        self._spawn(attache, self._admit(attache, introduction))

    @property
    def links(self) -> int:
        """Links of agents, also of those that are being admitted and of those that have a newer session elsewhere."""
        return len(self._attaches)

    @property
    def waiting(self) -> int:
        """Admissions that wait for the database, and agents that wait for room."""
        return len(self._room)

    async def stop(self) -> None:
        """Drop every agent, and return when all of them are gone and no admission is under way."""
        end = self._clock.seconds() + STOP_TIMEOUT
        self._door.stop()
        self._room.stop()
        self._flapping.stop()
        for attache in list(self._attaches):
            self._disconnection.close(attache, HostEvent.MANAGEMENT_SERVER_DOWN, "the server is stopping")
        while (self._attaches or self._under_way) and self._clock.seconds() < end:
            await deferLater(self._clock, _POLL)

    # What an attache tells.

    def heard(self, attache: LinkAttache) -> None:
        """Stamp the agent as alive."""
        self._disconnection.liveness.heard(attache)

    def avoid_list(self) -> tuple[str, ...]:
        """Servers known to be down."""
        return self._lists.avoid_list()

    def pinged(self, attache: LinkAttache, *, gateway: bool, round_trip: object) -> bool:
        """Look at the little of a ping that matters to every host."""
        self._meters.pinged(round_trip)
        if not gateway:
            self._concerns.gateway_lost(attache)
        return self._disconnection.liveness.wants_restart(attache)

    def misbehaved(self, attache: LinkAttache, what: str) -> None:
        """Note what an agent can repeat at will."""
        self._sparse_log.info("{attache}: {what}", attache=attache, what=what)

    def started_again(self, attache: LinkAttache, header: Header, startups: Sequence[StartupCommand]) -> None:
        """Answer each command, and admit the host anew on the same link."""
        introduction = introduce(startups, attache.link.channel.peer_certificate)
        if isinstance(introduction, Refusal) or introduction.facts.guid != attache.guid:
            self._end(attache, "StartupCommands that do not fit the agent of this link")
        elif attache.admitting:
            self._end(attache, "StartupCommands while the last ones are still being looked at")
        elif not attache.owns_host:
            self._end(attache, "StartupCommands on a link that another session has replaced")
        else:
            attache.admitting = True
            self._disconnection.liveness.change_interval(attache)
            host = attache.host
            answer = StartupAnswer(
                host_id=host.id, host_name=host.facts.name, host_uuid=host.uuid, ping_interval=attache.ping_interval
            )
            attache.answer(header, [answer] * len(startups))
            attache.held = introduction.held
            self._spawn(attache, self._connect(attache, introduction))

    def lost(self, attache: LinkAttache, reason: str) -> None:
        """The link of an attache is gone."""
        self._attaches.discard(attache)
        self._disconnection.lost(attache, reason)

    def _end(self, attache: LinkAttache, reason: str) -> None:
        """Close the link of an agent that could not be admitted, or that breaks the rules of admission."""
        self._disconnection.close(attache, HostEvent.AGENT_DISCONNECTED, reason)

    # The steps.

    def _spawn(self, attache: LinkAttache, steps: Coroutine[Deferred[Any], Any, bool]) -> None:
        under_way = spawn(self._see_through(attache, steps), self.log, "admit an agent")
        self._under_way.add(under_way)
        under_way.addBoth(lambda _: self._under_way.discard(under_way))

    async def _see_through(self, attache: LinkAttache, steps: Coroutine[Deferred[Any], Any, bool]) -> None:
        """Whatever goes wrong, no link stays that belongs to nobody; the agent tries again by itself.

        Args:
            attache: of the agent.
            steps: say whether it came Up.
        """
        result = "failed"
        try:
            result = "up" if await steps else "failed"
        except _TurnedAway as refusal:
            result = "refused"
            self._refuse(attache, str(refusal))
        except AgentUnavailable:
            # Its link is gone, which `lost` was told of.
            pass
        except AgentTimedOut:
            self._end(attache, f"no answer to ReadyCommand within {READY_TIMEOUT:.0f} s")
        except CommandError as error:
            self._end(attache, str(error))
        except StoreUnavailable as error:
            self._sparse_log.info("{attache} cannot be admitted: {error}", attache=attache, error=error)
            self._end(attache, "the database is unavailable")
        except BaseException:
            self._end(attache, "internal error")
            raise
        finally:
            self._count(result)

    def _count(self, result: str) -> None:
        self._meters.admissions.labels(result).inc()

    async def _admit(self, attache: LinkAttache, introduction: Introduction) -> bool:
        served = True
        try:
            standing = await self._claims.standing(introduction)
            taken = standing is None and await self._take(attache, introduction, status=HostStatus.CONNECTING)
        except StoreUnavailable:
            served = False
            raise
        finally:
            self._room.leave(served=served)
        if standing is not None:
            return await self._transfer(attache, introduction, standing)
        if not taken or not await self._finish(attache):
            return False
        if introduction.known and not introduction.transferred and not self._lists.is_home(introduction.held):
            self._meters.failovers.inc()
        return True

    async def _connect(self, attache: LinkAttache, introduction: Introduction) -> bool:
        """Take the host again, then make its agent ready anew."""
        return await self._take(attache, introduction, status=attache.host.status) and await self._finish(attache)

    async def _finish(self, attache: LinkAttache) -> bool:
        return await self._make_ready(attache) and await self._up(attache)

    async def _transfer(self, attache: LinkAttache, introduction: Introduction, standing: Claim) -> bool:
        """Make the agent ready, then take the host: until then it is the other server's, whatever fails here."""
        attache.expect(standing.host, standing.rank)
        return (
            await self._make_ready(attache)
            and await self._take(attache, introduction, status=standing.host.status)
            and await self._up(attache)
        )

    async def _take(self, attache: LinkAttache, introduction: Introduction, *, status: HostStatus) -> bool:
        """Begin the session; whether it came to that.

        Args:
            attache: the one of the session.
            introduction: what its agent says of the host.
            status: what those who send commands go by meanwhile; the row's may be that of the session before.
        """
        anew = not attache.claimed
        claim = await self._claims.take(introduction)
        if isinstance(claim, Refused):
            raise _TurnedAway(claim.reason)
        if claim.new:
            host = claim.host
            self._hooks.tell(lambda hook: hook.host_added(host))
        self._flapping.began(claim.host, anew=anew)
        attache.admit(evolve(claim.host, status=status), claim.rank)
        if not attache.connected:
            self._disconnection.lost(attache, "the link was lost while the host was admitted")
            return False
        return self._directory.enter(attache)

    async def _make_ready(self, attache: LinkAttache) -> bool:
        """Tell the agent its list and who it is; whether it took it."""
        host = attache.host
        orders = self._lists.orders(attache)
        attache.avoided = self._lists.avoid_list()
        command = ReadyCommand(
            dc_id=host.zone.id,
            host_id=host.id,
            host_uuid=host.uuid,
            host_name=host.facts.name,
            ms_host_list=orders.wanted.addresses if orders.send_list else None,
            lb_algorithm=orders.wanted.algorithm if orders.send_list else None,
            lb_check_interval=orders.interval,
            avoid_ms_host_list=attache.avoided,
            arch=host.facts.arch or None,
            wait=int(READY_TIMEOUT),
        )
        answers = await attache.send([command], timeout=READY_TIMEOUT, flags=Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE)
        failure = next((a.details for a in answers if isinstance(a, Answer) and not a.result), None)
        if failure is not None or not answers:
            self._end(attache, f"the agent is not ready: {failure}")
            return False
        attache.check_interval = orders.interval
        # Ready with a remark: what became of the list is uncertain, so it does not count as held and is sent again.
        if orders.send_list and not any(a.details for a in answers if isinstance(a, Answer)):
            attache.held, attache.move_due = orders.wanted, True
        return True

    async def _up(self, attache: LinkAttache) -> bool:
        """Whether it came to that."""
        host = attache.host
        # Also for a host that was Up all along: what the database says of the session decides who has it.
        if await self._statuses.change(host, HostEvent.READY, "its agent is ready") is None:
            self._directory.leave(attache)
            attache.supersede()
            return False
        attache.take_status(HostStatus.UP)
        line = "host {name} ({id}) is Up, session {session}"
        preferred = None if self._lists.is_home(attache.held) or attache.held is None else attache.held.preferred
        if preferred is not None:
            line += "; its list begins with {preferred}"
        self.log.info(line, name=host.facts.name, id=host.id, session=host.session, preferred=preferred)
        self._hooks.tell(lambda hook: hook.connected(attache.host))
        self._concerns.up(attache)
        self._lists.check(attache)
        return True

    def _refuse(self, attache: LinkAttache, reason: str) -> None:
        """Say why, in the form that CloudStack's agent understands [AgentManagerImpl.sendReadyAndGetReady...]."""
        packet = write_packet(
            sequence=-1,
            server_id=-1,
            agent_id=-1,
            via=-1,
            flags=Flag.REQUEST | Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE,
            body=write_contents([ReadyCommand(details=reason)]),
        )
        if attache.claimed:
            # Its host was deleted, say, since it was admitted: it goes like any other that is lost.
            self._refusals.record(attache.guid, attache.link.peer_address, reason)
            attache.link.send(packet)
            attache.link.close()
        elif attache.connected:
            self._attaches.discard(attache)
            self._disconnection.liveness.forget(attache)
            self._refusals.refuse(attache.link, packet, attache.guid, reason)

    def _response(self, header: Header, via: int, answers: Sequence[Answer]) -> bytes:
        return write_packet(
            sequence=header.sequence,
            server_id=self._claims.server_id,
            agent_id=header.agent_id,
            via=via,
            flags=response_flags(header),
            body=write_contents(answers),
        )
