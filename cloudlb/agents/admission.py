"""From an accepted connection to an agent that is Up.

1. The TLS handshake, under a deadline (net.link_protocol).
2. The first Request with StartupCommands, under another; anything else before it is thrown away.
3. The certificate is held against the GUID; a misfit is refused with a StartupAnswer whose result is false.
4. StartupAnswer at once, with host id 0: the real one comes with ReadyCommand.
5. The host's row is created or taken over, many agents' in one transaction.
6. ReadyCommand, with the list only where the agent holds another one.
7. ReadyAnswer: the host is Up.

A refusal makes CloudStack's agent exit, so only what lasts is refused; where the database fails, the link is closed
and the agent comes back by itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import AgentTimedOut, AgentUnavailable, Attache
from cloudlb.agents.directory import ADMITTED, Directory
from cloudlb.agents.introduction import Introduction, Refusal, introduce
from cloudlb.agents.lists import Lists
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.liveness import PING_TIMEOUT, Liveness
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.models import Host, HostId, HostStatus, ServerId, ZoneId
from cloudlb.domain.ports import Admission as AdmissionRow
from cloudlb.domain.ports import Refused, Store, StoreUnavailable, Transaction
from cloudlb.net.batch import Batch
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.spawn import spawn
from cloudlb.wire import (
    Answer,
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
_BATCH = 100
"""Most admissions in one transaction: tens of milliseconds of the writer's time."""


@frozen
class _Admitted:
    host: Host
    rank: int
    algorithm: Algorithm
    """The one that the rank was looked up for."""


class Admission:
    """Admits agents to this server, and owns their attaches."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        directory: Directory,
        lists: Lists,
        clock: IReactorTime,
        rng: random.Random,
        *,
        max_message: int,
    ) -> None:
        self._store = store
        self._settings = settings
        self._directory = directory
        self._lists = lists
        self._clock = clock
        self._rng = rng
        self._max_message = max_message
        self._rows: Batch[AdmissionRow, _Admitted | Refused] = Batch(self._write, _BATCH)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster, before it listens."""
        self._attaches: set[Attache] = set()
        self.liveness = Liveness(store, clock, self._silent)

    def begin(self, link: LinkProtocol, header: Header, startups: Sequence[StartupCommand]) -> None:
        """Take over a link whose agent has introduced itself."""
        introduction = introduce(startups, link.channel.peer_certificate)
        if isinstance(introduction, Refusal):
            self.log.warn("{peer} is refused: {reason}", peer=link.peer_address, reason=introduction.reason)
            refused = StartupAnswer(result=False, details=introduction.reason)
            link.send(self._response(header, -1, [refused]))
            link.close()
            return
        attache = Attache(
            link,
            self,
            self._clock,
            self._rng,
            server_id=self.server_id,
            guid=introduction.facts.guid,
            ping_interval=self._settings.current.ping_interval,
            held=introduction.held,
            max_message=self._max_message,
        )
        link.owner = attache
        self._attaches.add(attache)
        self.liveness.heard(attache)
        answer = StartupAnswer(host_id=0, host_name="", host_uuid="", ping_interval=attache.ping_interval)
        link.send(self._response(header, -1, [answer]))
        spawn(self._admit(attache, introduction), self.log, "admit an agent")

    def close(self) -> None:
        """Drop the agents that are not in the directory: not admitted yet, or superseded."""
        for attache in list(self._attaches):
            attache.close("the server is stopping")

    # What an attache tells.

    def heard(self, attache: Attache) -> None:
        """Stamp the agent as alive."""
        self.liveness.heard(attache)

    def avoid_list(self) -> tuple[str, ...]:
        """Servers known to be down."""
        return self._lists.avoid_list()

    def started_again(self, attache: Attache, header: Header, startups: Sequence[StartupCommand]) -> None:
        """Answer each command, and admit the host anew on the same link."""
        introduction = introduce(startups, attache.link.channel.peer_certificate)
        if isinstance(introduction, Refusal) or introduction.facts.guid != attache.guid:
            attache.close("StartupCommands that do not fit the agent of this link")
            return
        if attache.admitting:
            attache.close("StartupCommands while the last ones are still being looked at")
            return
        attache.admitting = True
        host = attache.host
        answer = StartupAnswer(
            host_id=host.id, host_name=host.facts.name, host_uuid=host.uuid, ping_interval=attache.ping_interval
        )
        attache.answer(header, [answer] * len(startups))
        attache.held = introduction.held
        spawn(self._admit(attache, introduction), self.log, "admit an agent again")

    def lost(self, attache: Attache, reason: str) -> None:
        """The link of an attache is gone."""
        self._attaches.discard(attache)
        self.liveness.forget(attache)
        self._directory.disconnected(attache, reason)

    def _silent(self, attache: Attache) -> None:
        attache.close(f"no ping for more than {PING_TIMEOUT} intervals of {attache.ping_interval} s")

    # The steps.

    async def _admit(self, attache: Attache, introduction: Introduction) -> None:
        row = AdmissionRow(
            facts=introduction.facts,
            location=introduction.location,
            server_id=self.server_id,
            transferred=introduction.transferred,
        )
        try:
            admitted = await self._rows.add(row)
        except Exception as error:
            # The agent tries again by itself; what is wrong is the server's.
            attache.close(f"the admission could not be written: {error}")
            if not isinstance(error, StoreUnavailable):
                raise
            return
        if isinstance(admitted, Refused):
            self.log.warn("{attache} is refused: {reason}", attache=attache, reason=admitted.reason)
            self._refuse(attache, admitted.reason)
            return
        while admitted.algorithm is not self._settings.current.algorithm:
            # It changed while the row was written, so the rank may be one that nobody looked up.
            admitted = await self._look_up_rank(admitted.host)
        attache.admit(admitted.host)
        if not attache.connected:
            await self._directory.set_status(attache, HostStatus.DISCONNECTED)
            return
        if self._directory.enter(attache):
            await self._make_ready(attache, admitted.rank)

    async def _look_up_rank(self, host: Host) -> _Admitted:
        algorithm = self._settings.current.algorithm
        places = await self._store.read(lambda txn: self._ranks(txn, algorithm, [host]))
        return _Admitted(host, places.get(host.id, 0), algorithm)

    async def _make_ready(self, attache: Attache, rank: int) -> None:
        host = attache.host
        orders = self._lists.orders(host, rank, attache.held)
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
        try:
            answers = await attache.send([command], timeout=READY_TIMEOUT, flags=Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE)
        except AgentUnavailable:
            return
        except AgentTimedOut:
            attache.close(f"no answer to ReadyCommand within {READY_TIMEOUT:.0f} s")
            return
        failure = next((a.details for a in answers if isinstance(a, Answer) and not a.result), None)
        if failure is not None or not answers:
            attache.close(f"the agent is not ready: {failure}")
            return
        attache.held, attache.check_interval = orders.wanted, orders.interval
        # Also for a host that was Up all along: what the database says of the session decides who has it.
        if not await self._directory.set_status(attache, HostStatus.UP):
            self._directory.leave(attache)
            attache.supersede()
            return
        self.log.info(
            "host {name} ({id}) is Up, session {session}", name=host.facts.name, id=host.id, session=host.session
        )
        if orders.send_list:
            self._lists.move_to_preferred(attache)

    def _refuse(self, attache: Attache, reason: str) -> None:
        """Say why, in the form that CloudStack's agent understands [AgentManagerImpl.sendReadyAndGetReady...]."""
        packet = write_packet(
            sequence=-1,
            server_id=-1,
            agent_id=-1,
            via=-1,
            flags=Flag.REQUEST | Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE,
            body=write_contents([ReadyCommand(details=reason)]),
        )
        attache.link.send(packet)
        attache.link.close()

    def _response(self, header: Header, via: int, answers: Sequence[Answer]) -> bytes:
        return write_packet(
            sequence=header.sequence,
            server_id=self.server_id,
            agent_id=header.agent_id,
            via=via,
            flags=response_flags(header),
            body=write_contents(answers),
        )

    async def _write(self, rows: list[AdmissionRow]) -> Sequence[_Admitted | Refused]:
        algorithm, now = self._settings.current.algorithm, self._clock.seconds()

        def work(txn: Transaction) -> Sequence[_Admitted | Refused]:
            results = [txn.hosts.admit(row, now) for row in rows]
            hosts = [result for result in results if isinstance(result, Host)]
            places = self._ranks(txn, algorithm, hosts)
            if hosts:
                txn.bus.publish(ADMITTED, {"hosts": {str(host.id): host.session for host in hosts}}, now)
            return [
                _Admitted(result, places.get(result.id, 0), algorithm) if isinstance(result, Host) else result
                for result in results
            ]

        return await self._store.run(work)

    @staticmethod
    def _ranks(txn: Transaction, algorithm: Algorithm, hosts: Sequence[Host]) -> Mapping[HostId, int]:
        if algorithm is not Algorithm.ROUNDROBIN:
            return {}
        zones: dict[ZoneId, list[HostId]] = {}
        for host in hosts:
            zones.setdefault(host.zone.id, []).append(host.id)
        return {host_id: place for zone, ids in zones.items() for host_id, place in txn.hosts.places(zone, ids).items()}
