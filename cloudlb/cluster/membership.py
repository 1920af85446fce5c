"""Which management servers there are, and which live, by the heartbeats in their rows.

How old a heartbeat is the database says, so no server's clock matters. Ages are looked at only as they are read: while
the database is away nobody may grow old and seem dead.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb._version import __version__
from cloudlb.domain.models import PeerView, Server, ServerId
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings_in_force import Settings
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

SERVER_STATE = "server.state"
"""What a server is about to do, or how far it is, has changed: {"server_id"}."""


class Membership:
    """This server's row, kept alive, and a picture of everyone's rows as old as one heartbeat at most."""

    log = Logger()

    def __init__(
        self, store: Store, clock: IReactorTime, rng: random.Random, *, name: str, address: str, port: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._name = name
        self._address = address
        self._port = port
        self._own: Server | None = None
        self._views: Mapping[ServerId, PeerView] = {}
        self._servers: Mapping[ServerId, Server] = {}
        self._recorded: Mapping[ServerId, PeerView] = {}
        self._up: frozenset[str] = frozenset()
        self._down: frozenset[str] = frozenset()
        self._observers: list[Callable[[], None]] = []
        self._threshold = Settings().heartbeat_threshold
        self._last_beat = 0.0
        self._last_written = 0.0
        self._steady_since = float("-inf")
        self._cut_off_until = float("-inf")
        self._gave_time = False
        self._outage = False
        self._state = ServerState.UP
        self._looking = False
        self._lookers: list[Deferred[None]] = []
        """Who waits for the end of a look that has not begun."""
        self._heartbeats = Periodic(clock, "heartbeat", self._beat)

        self.superseded = False
        """Another process has started as this server since: its row is not ours any more."""
        self.on_superseded: Callable[[], object] = lambda: None

        self.started = 0.0
        """When this server joined, by its own clock."""

    @property
    def own(self) -> Server:
        """This server's row as it was registered."""
        assert self._own is not None, "the server is not registered yet"
        return self._own

    @property
    def joined(self) -> bool:
        """Whether this server is registered."""
        return self._own is not None

    @property
    def states(self) -> Mapping[ServerId, ServerState]:
        """What every server was about to do at the last look, and who was Down."""
        return {server_id: view.state for server_id, view in self._views.items()}

    @property
    def heartbeat_age(self) -> float:
        """Seconds since this server wrote a heartbeat."""
        return max(0.0, self._clock.seconds() - self._last_written)

    @property
    def state(self) -> ServerState:
        """What this server is about to do, as its row said at the last look; never Down."""
        return self._state

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between this server's heartbeats."""
        return self._heartbeats.interval or Settings().heartbeat_interval

    @property
    def cut_off(self) -> bool:
        """Whether this server has not written a heartbeat for so long that the others may call it Down."""
        return self._clock.seconds() - self._last_written > self._threshold

    def undoubted_since(self, moment: float) -> bool:
        """Whether the others cannot have called this server Down at any time since a moment of its own clock."""
        return not self.cut_off and self._cut_off_until <= moment

    @property
    def database_away(self) -> bool:
        """Whether the last heartbeat could not be written, or the next one takes very long."""
        return self._outage or self.cut_off

    @property
    def steady(self) -> bool:
        """Whether this server has written its heartbeats for so long that those of others would have been seen.

        After an outage of the database all heartbeats are old, and who writes first must not take the others for dead.
        """
        now = self._clock.seconds()
        return now - self._last_written <= self._threshold / 2 and now - self._steady_since > self._threshold

    @property
    def first(self) -> bool:
        """Whether no server that lives has a lower id, as of the last look: what one server alone is to do is its."""
        own = self.own.id
        return not any(server_id < own and self.lives(server_id) for server_id in self._views)

    def lives(self, server_id: ServerId) -> bool:
        """Tell whether a server lived at the last look, whatever it was about to do."""
        view = self._views.get(server_id)
        return view is not None and view.state is not ServerState.DOWN

    def observe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called whenever a server comes up, for the first time or again, or goes down."""
        self._observers.append(changed)

    async def join(self) -> None:
        """Register this server, or find its row, and start the heartbeats."""
        # 0 and -1 mean "no server" in packet headers.
        # One whose row was removed while it was held dead goes on under the id that its hosts and packets have.
        candidate = ServerId(self._rng.randrange(1, 2**48)) if self._own is None else self._own.id
        self.started = self._clock.seconds()

        def work(txn: Transaction) -> tuple[Server, Sequence[Server], Settings]:
            own = txn.servers.register(
                name=self._name,
                address=self._address,
                port=self._port,
                version=__version__,
                candidate_id=candidate,
            )
            return own, txn.servers.all(), txn.settings.load()

        self._own, servers, settings = await self._store.run(work)
        self._recorded = {}
        self._written(self.started, settings)
        self._look(servers)
        self._heartbeats.start(settings.heartbeat_interval)

    def look(self) -> Deferred[None]:
        """Look at everyone's rows now: somebody has changed one. Calls while a look is under way become one more.

        Returns:
            Fires when a look that begins now or later has ended, also where the database was away; never a failure.
        """
        looked: Deferred[None] = Deferred()
        self._lookers.append(looked)
        if not self._looking:
            self._looking = True
            spawn(self._look_now(), self.log, "look at the servers")
        return looked

    async def leave(self) -> None:
        """Stop the heartbeats and tell the others that this was a clean stop."""
        self._heartbeats.stop()
        if self._own is None:
            return
        own = self._own

        def work(txn: Transaction) -> None:
            if _later_run(own, txn.servers.all()) is None:
                txn.servers.stop(own.id)

        await self._store.run(work)

    def peer(self, server_id: ServerId) -> Server | None:
        """A server's row as it was read last; None if it was not there."""
        return self._servers.get(server_id)

    def is_alive(self, address: str) -> bool:
        """Tell whether an address of ``host`` belongs to a server that lives, and is not about to be emptied."""
        return address in self._up

    def is_own(self, address: str) -> bool:
        """Tell whether an address of ``host`` means this server."""
        return self.own.answers_to(address)

    def avoid(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Those of ``addresses`` that belong to a server known not to be Up: the avoid list for agents."""
        # Asked with every ping, and nearly always nobody is.
        return tuple(address for address in addresses if address in self._down) if self._down else ()

    async def _look_now(self) -> None:
        try:
            while self._lookers:
                lookers, self._lookers = self._lookers, []
                try:
                    await self._read_and_look()
                finally:
                    for looker in lookers:
                        looker.callback(None)
        finally:
            self._looking = False

    async def _read_and_look(self) -> None:
        try:
            servers = await self._store.read(lambda txn: txn.servers.all())
        except StoreUnavailable as error:
            self.log.info("the servers cannot be looked at before the next heartbeat: {error}", error=error)
            return
        # Where heartbeats are late, only they tell who has had the time to write one.
        if not self._late() and not self._gave_time and self._heartbeats.interval is not None:
            self._look(servers)

    async def _beat(self) -> None:
        own, views, begun = self.own.id, self._views, self._clock.seconds()
        news = views != self._recorded

        def work(txn: Transaction) -> tuple[bool, Sequence[Server], Settings]:
            known = txn.servers.heartbeat(own)
            if news:
                txn.servers.record_peers(own, views)
            return known, txn.servers.all(), txn.settings.load()

        try:
            known, servers, settings = await self._store.run(work)
        except StoreUnavailable as error:
            if not self._outage:
                self.log.warn("no heartbeat while the database is unavailable: {error}", error=error)
            self._outage = True
            return
        if self._outage:
            self.log.info("heartbeats are written again")
        self._outage = False
        later = _later_run(self.own, servers)
        if later is not None:
            self._give_way(later)
            return
        self._recorded = views
        late = self._late()
        self._written(begun, settings)
        # What held up this heartbeat has held up the others': they get the time of another one, but not for ever.
        self._gave_time = late and not self._gave_time
        if not self._gave_time:
            self._look(servers)
        if self._heartbeats.interval is not None:
            self._heartbeats.start(settings.heartbeat_interval)
        if not known:
            self.log.warn("the row of this server is gone; registering it again")
            await self.join()

    def _late(self) -> bool:
        return self._clock.seconds() - self._last_beat > self._threshold / 2

    def _give_way(self, later: Server) -> None:
        self.superseded = True
        self._heartbeats.stop()
        self.log.critical(
            "another process has started as server {name}, at {address} port {port} (run id {theirs}, ours is {ours}): "
            "this one stops",
            name=later.name,
            address=later.address,
            port=later.port,
            theirs=later.run_id,
            ours=self.own.run_id,
        )
        self.on_superseded()

    def _look(self, servers: Sequence[Server]) -> None:
        """Take over what was read."""
        up, down, views = set[str](), set[str](), dict[ServerId, PeerView]()
        for server in servers:
            if server.id == self.own.id:
                self._state = server.recorded
            (up if server.state is ServerState.UP else down).update((server.address, server.name))
            view, before = self._view(server), self._views.get(server.id)
            if before is not None and before.state is not view.state:
                self.log.info("server {name} is now {state}", name=server.name, state=view.state.value)
            views[server.id] = view
        again = any(
            server.id in self._servers and self._servers[server.id].run_id != server.run_id for server in servers
        )
        self._views, self._servers = views, {server.id: server for server in servers}
        known = self._up, self._down
        self._up, self._down = frozenset(up), frozenset(down - up)
        if again or (self._up, self._down) != known:
            for changed in self._observers:
                changed()

    def _view(self, server: Server) -> PeerView:
        known = self._views.get(server.id)
        if known is not None and (known.state, known.run_id) == (server.state, server.run_id):
            return known
        return PeerView(state=server.state, run_id=server.run_id, since=server.heartbeat + server.age)

    def _written(self, begun: float, settings: Settings) -> None:
        """Note a heartbeat: it is as old as the moment in which it was begun, at most."""
        now = self._clock.seconds()
        if self._last_written and now - self._last_written > self._threshold / 2:
            self._steady_since = now
        if self._last_written and now - self._last_written > self._threshold:
            self._cut_off_until = now
        self._last_written, self._last_beat = begun, now
        self._threshold = settings.heartbeat_threshold


def _later_run(own: Server, servers: Sequence[Server]) -> Server | None:
    """The row of a server if another process has started as it since."""
    return next((server for server in servers if server.id == own.id and server.run_id > own.run_id), None)
