"""Which management servers there are, and which live, by the heartbeats in their rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb._version import __version__
from cloudlb.domain.models import HEARTBEAT_INTERVAL, HEARTBEAT_THRESHOLD, Server, ServerId, ServerState
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.net.periodic import Periodic


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
        self._states: dict[ServerId, ServerState] = {}
        self._up: frozenset[str] = frozenset()
        self._down: frozenset[str] = frozenset()
        self._observers: list[Callable[[], None]] = []
        self._last_beat = 0.0
        self._gave_time = False
        self._outage = False
        self._heartbeats = Periodic(clock, "heartbeat", self._beat)

    @property
    def own(self) -> Server:
        """This server's row as it was registered."""
        assert self._own is not None, "the server is not registered yet"
        return self._own

    def observe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called whenever a server comes up, for the first time too, or goes down."""
        self._observers.append(changed)

    async def join(self) -> None:
        """Register this server, or find its row, and start the heartbeats."""
        # 0 and -1 mean "no server" in packet headers.
        candidate = ServerId(self._rng.randrange(1, 2**48))
        now = self._clock.seconds()

        def work(txn: Transaction) -> tuple[Server, Sequence[Server]]:
            own = txn.servers.register(
                name=self._name,
                address=self._address,
                port=self._port,
                version=__version__,
                candidate_id=candidate,
                now=now,
            )
            return own, txn.servers.all()

        self._own, servers = await self._store.run(work)
        self._last_beat = self._clock.seconds()
        self._look(servers)
        self._heartbeats.start(HEARTBEAT_INTERVAL)

    async def leave(self) -> None:
        """Stop the heartbeats and tell the others that this was a clean stop."""
        self._heartbeats.stop()
        if self._own is not None:
            own, now = self._own.id, self._clock.seconds()
            await self._store.run(lambda txn: txn.servers.stop(own, now))

    async def servers(self) -> list[tuple[Server, ServerState]]:
        """Every server with its state, fresh from the database."""
        servers = await self._store.read(lambda txn: txn.servers.all())
        now = self._clock.seconds()
        return [(server, server.state(now)) for server in servers]

    def is_alive(self, address: str) -> bool:
        """Tell whether an address of ``host`` belongs to a server that lives."""
        return address in self._up

    def is_own(self, address: str) -> bool:
        """Tell whether an address of ``host`` means this server."""
        return self.own.answers_to(address)

    def avoid(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Those of ``addresses`` that belong to a server known to be down: the avoid list for agents."""
        # Asked with every ping, and nearly always nobody is.
        return tuple(address for address in addresses if address in self._down) if self._down else ()

    async def _beat(self) -> None:
        own = self.own.id

        def work(txn: Transaction) -> tuple[bool, Sequence[Server]]:
            # The time of the write and not of the call: it may have waited long for a busy database.
            return txn.servers.heartbeat(own, self._clock.seconds()), txn.servers.all()

        try:
            known, servers = await self._store.run(work)
        except StoreUnavailable as error:
            if not self._outage:
                self.log.warn("no heartbeat while the database is unavailable: {error}", error=error)
            self._outage = True
            return
        self._outage = False
        late = self._clock.seconds() - self._last_beat > HEARTBEAT_THRESHOLD / 2
        self._last_beat = self._clock.seconds()
        # What held up this heartbeat has held up the others': they get the time of another one, but not for ever.
        self._gave_time = late and not self._gave_time
        if not self._gave_time:
            self._look(servers)
        if not known:
            self.log.warn("the row of this server is gone; registering it again")
            await self.join()

    def _look(self, servers: Sequence[Server]) -> None:
        """Judge by ages at the time of reading: while the database is away nobody may grow old and seem dead."""
        now = self._clock.seconds()
        up, down = set[str](), set[str]()
        for server in servers:
            state = server.state(now)
            (up if state is ServerState.UP else down).update((server.address, server.name))
            if self._states.get(server.id, state) is not state:
                self.log.info("server {name} is now {state}", name=server.name, state=state.value)
            self._states[server.id] = state
        before = self._up, self._down
        self._up, self._down = frozenset(up), frozenset(down - up)
        if (self._up, self._down) != before:
            for changed in self._observers:
                changed()
