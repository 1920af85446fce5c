"""The composition root of a management server: every part is made here, and here only."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from cloudlb._version import __version__
from cloudlb.agents.admission import Admission
from cloudlb.agents.claims import Claims
from cloudlb.agents.command_jobs import CommandJobs
from cloudlb.agents.concerns import Concerns
from cloudlb.agents.departures import Departures
from cloudlb.agents.direct_attache import THREADS, DirectAttache
from cloudlb.agents.direct_hosts import DirectHosts
from cloudlb.agents.directory import Directory
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.door import Door
from cloudlb.agents.flapping import Flapping
from cloudlb.agents.hooks import Hooks
from cloudlb.agents.investigation import Investigators, Means
from cloudlb.agents.investigators import built_in
from cloudlb.agents.listener import Listener
from cloudlb.agents.lists import Lists
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.maintenance import Maintenance
from cloudlb.agents.moves import Moves
from cloudlb.agents.operations import Operations
from cloudlb.agents.overdue import Overdue
from cloudlb.agents.reconciliation import Reconciliation
from cloudlb.agents.refusals import Refusals
from cloudlb.agents.registration import Registration
from cloudlb.agents.resource_states import ResourceStates
from cloudlb.agents.room import Room
from cloudlb.agents.second_looks import SecondLooks
from cloudlb.agents.sender import Sender
from cloudlb.agents.statuses import Statuses
from cloudlb.bus.database_bus import DatabaseBus
from cloudlb.cluster.bereaved import Bereaved
from cloudlb.cluster.census import Census
from cloudlb.cluster.draining import Draining
from cloudlb.cluster.emptying import Emptying
from cloudlb.cluster.fencing import Fencing
from cloudlb.cluster.forwarding import Forwarding
from cloudlb.cluster.machine import look
from cloudlb.cluster.membership import SERVER_STATE, Membership
from cloudlb.cluster.namesake import NameTaken, refuse_namesake
from cloudlb.cluster.orphans import Orphans
from cloudlb.cluster.peer_links import PeerLinks
from cloudlb.cluster.peer_trust import PeerTrust, TlsTrust
from cloudlb.cluster.plan_parts import PlanParts
from cloudlb.cluster.pruning import Pruning
from cloudlb.cluster.rebalancer import Rebalancer
from cloudlb.cluster.relays import Relays
from cloudlb.cluster.self_reports import SelfReports
from cloudlb.cluster.server_orders import ServerOrders
from cloudlb.config import ServerConfig
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.gauges import Gauges
from cloudlb.listening import Ports, TlsChannels
from cloudlb.metrics.database import DatabaseTimes
from cloudlb.metrics.meters import Meters
from cloudlb.metrics.reactor_lag import ReactorLag
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.in_time import in_time
from cloudlb.net.tls import Identity
from cloudlb.probes import Probes
from cloudlb.resource.threads import ResourceThreads, Threads
from cloudlb.storage.database import Database
from cloudlb.storage.migrate import SchemaMismatch
from cloudlb.website import Website
from cloudlb.wire.link import Channel

STOP_TIMEOUT = 10.0
"""Seconds for each step of a stop that needs the database."""

OBSTACLES = (StoreUnavailable, SchemaMismatch, NameTaken, CannotListenError)
"""What may be in the way of a start: their messages tell an operator all that there is to know."""


class Server(Service):
    """One management server."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        database: Database,
        rng: random.Random,
        channel_factory: Callable[[], Channel] | None = None,
        trust: PeerTrust | None = None,
        failed: Callable[[], object] = lambda: None,
        stop: Callable[[], object] = lambda: None,
        threads: Callable[[str], Threads] | None = None,
        new_uuid: Callable[[], UUID] = uuid4,
    ) -> None:
        """Make the parts; nothing runs before the service starts.

        Args:
            reactor: IReactorTime and IReactorTCP.
            channel_factory: what encrypts accepted connections, TLS by the configuration's files if None.
            trust: links to other servers, by the same files if None.
            failed: called when the server could not start, or another process has started as this server.
            stop: called when the process is to end in good order, by a call of the API.
            threads: makes those of a direct host's resource, given a name; real ones if None.
            new_uuid: makes the ids of commands, and the GUIDs of hosts.
        """
        self.config = config
        self.database = database
        self.bus = DatabaseBus(database, reactor, told=database.tells_of_others)
        database.on_publish = self.bus.wake
        self.meters = Meters()
        database.measure = DatabaseTimes(self.meters, reactor.seconds)
        self.reactor_lag = ReactorLag(reactor, self.meters)
        self.settings = LiveSettings(database, self.bus, reactor)
        self.membership = Membership(database, reactor, rng, name=config.name, address=config.address, port=config.port)
        self.membership.on_superseded = failed
        self.hooks = Hooks()
        self.directory = Directory(self.bus)
        self.sender = Sender(self.directory, self.settings, self.hooks, reactor, self.meters, new_uuid)
        self.statuses = Statuses(database, reactor)
        self._means = Means(
            store=database, sender=self.sender, server_id=lambda: self.directory.server_id, reactor=reactor
        )
        self.investigators = Investigators(database, self.settings, reactor, rng, built_in(self._means))
        self.disconnection = Disconnection(
            database, self.settings, self.directory, self.statuses, self.hooks, self.investigators, reactor, self.meters
        )
        self.second_looks = SecondLooks(database, self.settings, self.disconnection, self.investigators, reactor)
        self.overdue = Overdue(database, self.settings, self.statuses, self.second_looks, reactor)
        self.pruning = Pruning(database, self.settings, reactor)
        self.bereaved = Bereaved(database, self.settings, self.membership, self.disconnection, reactor)
        departures = Departures(database, self.settings, self.statuses, self.disconnection, reactor)
        self.moves = Moves(
            self.bus, self.settings, self.directory, self.membership, departures, reactor, rng, self.meters
        )
        self.disconnection.tell_of_ends(self.moves.ended)
        self.lists = Lists(database, self.settings, self.directory, self.membership, self.moves, reactor, rng)
        self.fencing = Fencing(
            self.membership, self.directory, self.disconnection, self.lists, self.moves, reactor, rng
        )
        self.claims = Claims(database, self.settings, reactor)
        self.concerns = Concerns(database, self.settings, self.directory, reactor)
        half_open = HalfOpen(reactor, config.max_half_open, config.max_half_open_per_address)
        self.refusals = Refusals(database, reactor, half_open)
        self.door = Door(half_open)
        self.admission = Admission(
            self.settings,
            self.claims,
            self.directory,
            self.statuses,
            self.disconnection,
            self.lists,
            self.hooks,
            self.concerns,
            self.refusals,
            self.door,
            Room(reactor, half_open),
            Flapping(reactor, half_open),
            reactor,
            rng,
            self.meters,
            max_message=config.max_message,
        )
        self.resource_states = ResourceStates(database, self.bus, self.settings, self.directory, reactor)
        self.maintenance = Maintenance(database, self.bus, self.settings, self.directory, self.sender, reactor)
        self.hooks.add(self.maintenance)
        self.command_jobs = CommandJobs(database, self.bus, self.directory, self.sender, self.membership, reactor)
        self.reconciliation = Reconciliation(
            database, self.bus, self.directory, self.sender, self.command_jobs, reactor
        )
        self.admission.reported = self.reconciliation.reported
        self.orphans = Orphans(database, self.membership, self.command_jobs, self.reconciliation, reactor)
        self.direct_hosts = DirectHosts(
            database,
            self.bus,
            self.settings,
            self.directory,
            self.statuses,
            self.disconnection,
            self.hooks,
            self.concerns,
            reactor,
            threads=threads or partial(ResourceThreads, reactor, size=THREADS),
            attach=lambda guid, loaded, owner: DirectAttache(
                loaded, owner, reactor, rng, guid=guid, ping_interval=self.settings.current.ping_interval
            ),
        )
        self.membership.observe(self.direct_hosts.wake)
        self.draining = Draining(
            database,
            self.bus,
            self.settings,
            self.membership,
            self.directory,
            self.disconnection,
            Emptying(database, self.settings, self.directory, self.lists, self.moves, self.membership, reactor, rng),
            reactor,
            links=lambda: self.admission.links + self.direct_hosts.running,
            stop_process=stop,
        )
        self.door.elsewhere, self.door.look = self.draining.elsewhere, self.membership.look
        self.bus.subscribe(SERVER_STATE, lambda _: self.membership.look())
        self.operations = Operations(database, self.bus, self.directory, self.hooks, reactor)
        self.registration = Registration(
            database,
            self.settings,
            self.hooks,
            reactor,
            rng,
            port=config.port,
            ca_folder=config.ca_folder,
            new_uuid=new_uuid,
        )
        self.plan_parts = PlanParts(
            database, self.bus, self.membership, self.directory, self.lists, self.moves, reactor
        )
        self.rebalancer = Rebalancer(database, self.bus, self.settings, self.membership, reactor, new_uuid)
        self.server_orders = ServerOrders(database, reactor)
        self.server_orders.rebalancer = self.rebalancer
        identity = Identity(ca=config.ca_certificate, certificate=config.certificate, private_key=config.private_key)
        channel_factory = channel_factory or TlsChannels(identity, self.settings)
        trust = trust or TlsTrust(identity)
        self.peer_links = PeerLinks(
            self.membership,
            trust,
            reactor,
            rng,
            handshake_timeout=config.handshake_timeout,
            max_message=config.max_message,
        )
        self.forwarding = Forwarding(database, self.directory, self.peer_links, reactor, max_message=config.max_message)
        self.sender.router = self.forwarding
        self.relays = Relays(self.membership, self.directory, trust, reactor, max_message=config.max_message)
        self.listener = Listener(
            config, reactor, channel_factory, self.admission.begin, half_open, self.relays.begin, self.meters
        )
        self.census = Census(database, reactor)
        self.self_reports = SelfReports(database, self.membership, reactor, look)
        self.meters.registry.register(
            Gauges(
                self.membership,
                self.bus,
                self.directory,
                self.listener,
                self.admission,
                self.lists,
                self.moves,
                self.disconnection,
                self.draining,
                self.census,
            )
        )
        self.probes = Probes(config.name, self.membership, self.directory, self.reactor_lag)
        self.website = Website(
            reactor,
            database,
            self.meters,
            self.probes,
            threads("passwords") if threads else ResourceThreads(reactor, "passwords", size=1),
            new_uuid,
            settings=self.settings,
            operations=self.operations,
            registration=self.registration,
            resource_states=self.resource_states,
            command_jobs=self.command_jobs,
            server_orders=self.server_orders,
            rebalancer=self.rebalancer,
            membership=self.membership,
        )
        self._reactor = reactor
        self._failed = failed
        self._ports = Ports(reactor, config)
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin to start; where that fails, the log says why."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no types there
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            self.hooks.load()
            self.investigators.load(self._means)
            await self.database.start()
            await refuse_namesake(self.database, self._reactor, self.config.name)
            # From the moment in which it is there again others may send it jobs of the hosts that it had.
            await self.bus.mark()
            await self.membership.join()
            own = self.membership.own.id
            self.claims.server_id = self.directory.server_id = self.operations.server_id = own
            self.registration.server_id = self.direct_hosts.server_id = self.moves.server_id = own
            self.resource_states.server_id = self.maintenance.server_id = self.plan_parts.server_id = own
            self.statuses.server_id = self.investigators.server_id = self.refusals.server_id = own
            self.command_jobs.server_id = self.second_looks.server_id = own
            await self.settings.load()
            await self.bus.start()
            await self.settings.load()
            self.settings.start()
            self.disconnection.start()
            self.refusals.start()
            self.concerns.start()
            self.orphans.start()
            self.overdue.start()
            self.second_looks.start()
            self.pruning.start()
            self.rebalancer.start()
            self.fencing.start()
            await self.bereaved.start()
            self.direct_hosts.start()
            await self.draining.start()
            self.census.start()
            self.self_reports.start()
            self.reactor_lag.start()
            self._ports.open(self.listener, self.website.factory)
        except Exception as error:  # noqa: BLE001 - whatever it is, the server does not run
            tell = self.log.critical if isinstance(error, OBSTACLES) else self.log.failure
            tell("The server cannot start: {error}", error=error)
            self._failed()
            return
        self.probes.started = True
        self.log.info(
            "Management server {name} (msid {id}, version {version}) listens for agents on {address} port {port}, "
            "and for the API on {api_address} port {api_port}",
            name=self.config.name,
            id=self.membership.own.id,
            version=__version__,
            address=self.config.bind_address,
            port=self.config.port,
            api_address=self.config.api_address,
            api_port=self.config.api_port,
        )

    def hurry(self) -> None:
        """Do not wait any longer for agents to move, if the service is stopping."""
        self.draining.hurry()

    def stopService(self) -> Deferred[None]:
        """Have the agents moved away, let go of those that are left, write what is left and leave the cluster."""
        super().stopService()  # type: ignore[no-untyped-call]  # as above
        self.probes.stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        assert self._starting is not None
        await self._starting
        await self.draining.before_stop()
        self.draining.stop()
        self.census.stop()
        self.self_reports.stop()
        self.reactor_lag.stop()
        await self._ports.close()
        self.website.stop()
        self.settings.stop()
        self.lists.stop()
        self.rebalancer.stop()
        self.plan_parts.stop()
        self.moves.stop()
        self.maintenance.stop()
        self.overdue.stop()
        self.second_looks.stop()
        self.pruning.stop()
        self.fencing.stop()
        self.bereaved.stop()
        self.concerns.stop()
        self.orphans.stop()
        self.listener.close()
        self.direct_hosts.stop()
        await self.admission.stop()
        await self._try("write how commands ended", self.command_jobs.stop())
        self.sender.stop()
        self.forwarding.stop()
        self.peer_links.stop()
        self.relays.stop()
        await self._try("write who was refused", self.refusals.stop())
        await self._try("write the hosts that lost their agents", self.disconnection.stop())
        await self._try("write when agents were heard last", self.disconnection.liveness.stop())
        await self._try("tell the other servers of the stop", self.membership.leave())
        self.bus.stop()
        await self.database.stop()

    async def _try(self, what: str, step: Coroutine[Deferred[Any], Any, None]) -> None:
        """Take one step of the stop: a database that does not answer must not keep the server from the others."""
        try:
            await in_time(step, STOP_TIMEOUT, self._reactor)
        except StoreUnavailable as error:
            self.log.error("Stopping, but failed to {what}: {error}", what=what, error=error)  # noqa: TRY400 - the reason is enough
