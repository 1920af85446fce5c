"""The parts of a server that load direct hosts, without threads and without attaches that do anything."""

from __future__ import annotations

import random
from typing import NoReturn, cast

from twisted.internet.task import Clock

from cloudlb.agents.attache import Attache
from cloudlb.agents.concerns import Concerns
from cloudlb.agents.direct_attache import DirectAttacheOwner
from cloudlb.agents.direct_hosts import DirectHosts
from cloudlb.agents.direct_resources import Loaded
from cloudlb.agents.directory import Directory
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.hooks import Hook, Hooks
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.registration import Registration
from cloudlb.agents.requests import Parcel
from cloudlb.agents.statuses import Statuses
from cloudlb.bus.database_bus import DatabaseBus
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, ServerId
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.support.inline_threads import InlineThreads


class FakeAttache(Attache):
    """What speaks for a direct host, and does nothing else."""

    def __init__(self, clock: Clock, guid: str, loaded: Loaded, owner: DirectAttacheOwner) -> None:
        super().__init__(clock, random.Random(1), guid=guid, ping_interval=60)
        self._loaded = loaded
        self._owner = owner

    def close(self, reason: str) -> None:
        """End."""
        if self.connected:
            self.connected = False
            self._loaded.close()
            self._owner.lost(self, reason)

    def send_away(self, reason: str) -> None:
        """End."""
        self.parting = reason
        self.close(reason)

    def relay(self, packet: bytes, header: object, *, timeout: float) -> NoReturn:
        """Never called."""
        raise AssertionError

    def _pack(self, commands: object, flags: object) -> Parcel:
        raise AssertionError

    @property
    def unsent(self) -> int:
        """Nothing."""
        return 0

    def carry(self, sequence: int, parcel: Parcel) -> None:
        """Never called."""

    def call_off(self, sequence: int, reason: str) -> None:
        """Never called."""

    def idle(self) -> None:
        """End, if it has been replaced."""
        if self.superseded:
            self.close("replaced")


class Connections(Hook):
    """Names of hosts that came Up."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def connected(self, host: Host) -> None:
        """Keep the name."""
        self.names.append(host.facts.name)


class FakeDisconnection:
    """Writes at once what a lost host leads to."""

    def __init__(self, clock: Clock, statuses: Statuses) -> None:
        self._statuses = statuses
        self.liveness = self
        self.alive = True
        self.stamped: list[Attache] = []

    def heard(self, attache: Attache) -> None:
        """Keep who was heard."""
        self.stamped.append(attache)

    def close(self, attache: Attache, cause: HostEvent, reason: str) -> None:
        """End it."""
        attache.parting = reason
        attache.close(reason)

    def lost(self, attache: Attache, reason: str) -> None:
        """Write it, if the attache spoke for the host."""
        if self.alive and attache.claimed:
            self.directory.leave(attache)
            self._statuses.change(attache.host, HostEvent.SHUTDOWN_REQUESTED, reason)

    directory: Directory


class Side:
    """The parts of one server that direct hosts need."""

    def __init__(self, clock: Clock, url: str, number: int) -> None:
        self.clock = clock
        self.database = Database(url, writer=InlineExecutor(), reader=InlineExecutor(), clock=clock.seconds)
        self.bus = DatabaseBus(self.database, clock)
        self.database.on_publish = self.bus.wake
        self.settings = LiveSettings(self.database, self.bus, clock)
        self.directory = Directory(self.bus)
        self.statuses = Statuses(self.database, clock)
        self.disconnection = FakeDisconnection(clock, self.statuses)
        self.disconnection.directory = self.directory
        self.hooks = Hooks([connections := Connections()])
        self.connected = connections.names
        self.threads: list[InlineThreads] = []
        self.hosts = DirectHosts(
            self.database,
            self.bus,
            self.settings,
            self.directory,
            self.statuses,
            cast("Disconnection", self.disconnection),
            self.hooks,
            Concerns(self.database, self.settings, self.directory, clock),
            clock,
            threads=lambda name: InlineThreads(),
            attach=lambda guid, loaded, owner: FakeAttache(clock, guid, loaded, owner),
        )
        self.id = ServerId(number)
        self.hosts.server_id = self.statuses.server_id = self.directory.server_id = self.id
        self.registration = Registration(
            self.database, self.settings, self.hooks, clock, random.Random(1), port=8250, ca_folder=None
        )
        self.alive = True

    async def start(self) -> None:
        """Join and look."""
        await self.database.start()
        await self.database.run(
            lambda txn: txn.servers.register(
                name=f"s{self.id}", address=f"10.0.0.{self.id}", port=8250, version="1", candidate_id=self.id
            )
        )
        await self.bus.start()
        await self.settings.load()
        self.hosts.start()

    def beat(self) -> None:
        """Show that the server lives."""
        self.database.run(lambda txn: txn.servers.heartbeat(self.id))

    def die(self) -> None:
        """Stop without a word: nothing that it does reaches the database."""
        self.alive = self.disconnection.alive = False
        self.bus.stop()
        self.hosts.stop()
