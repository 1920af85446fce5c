"""A management server of the test world: a machine, and the daemon that runs on it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Engine, event
from twisted.internet.defer import Deferred, maybeDeferred

from cloudlb.agents.attache import Attache
from cloudlb.config import ServerConfig
from cloudlb.domain.models import HostId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.server_state import ServerState
from cloudlb.service import Server
from cloudlb.storage.database import Database
from cloudlb.storage.executor import Executor, InlineExecutor
from tests.support.inline_threads import InlineThreads
from tests.support.lagging_executor import LaggingExecutor
from tests.support.machine import Machine
from tests.support.plain_channel import PlainChannel, PlainTrust
from tests.support.results import result_of

if TYPE_CHECKING:
    from tests.support.world import World

T = TypeVar("T")
PORT = 8250
NOTIFICATION = 0.001
"""Seconds from a commit with messages until the servers hear that there are some, where the database tells."""


class _ToldDatabase(Database):
    """One that tells every server of messages, as PostgreSQL does."""

    tells_of_others = True
    committed: Callable[[], None]

    def _transact(self, engine: Engine, work: Callable[[Transaction], T]) -> tuple[T, bool]:
        result, published = super()._transact(engine, work)
        if published:
            self.committed()
        return result, published


class ServerProcess:
    """One management server's machine and what runs on it."""

    def __init__(self, world: World, address: str, name: str | None = None) -> None:
        self.address = address
        self.name = name or address
        self.frozen = False
        self.database_lag = world.database_lag
        self.database_away = False
        self._world = world
        self.start()

    def start(self) -> None:
        """Run the daemon."""
        world, address = self._world, self.address
        self.machine: Machine = world.network.machine(address)
        self._executors: list[LaggingExecutor] = []
        self.database = (_ToldDatabase if world.told else Database)(
            world.database_url,
            writer=self._executor(1),
            reader=self._executor(4),
            new_uuid=world.new_uuid,
            clock=world.clock.seconds,
        )
        if isinstance(self.database, _ToldDatabase):
            self.database.committed = world.tell_of_messages
        event.listen(
            self.database._write_engine,
            "connect",
            lambda connection, _: connection.create_function("writer", 0, lambda: address),
        )
        self.service = Server(
            self.machine,
            _server_config(address, self.name, world.database_url),
            self.database,
            random.Random(world.rng.random()),
            channel_factory=lambda: PlainChannel(server_side=True),
            trust=PlainTrust(),
            failed=lambda: world.clock.callLater(0, self._end_of, self.machine),
            stop=lambda: world.clock.callLater(0, self._stop),
            threads=lambda name: InlineThreads(),
            new_uuid=world.new_uuid,
        )
        self.machine.callLater(0, self.service.startService)

    def hear_of_messages(self) -> None:
        """The database tells the server that there is something on the bus."""
        if self.alive and not self.database_away:
            self.machine.callLater(NOTIFICATION, self._hear_of_messages, self.database)

    def _hear_of_messages(self, database: Database) -> None:
        if not self.database_away:
            database.on_publish()

    def _executor(self, size: int) -> Executor:
        world = self._world
        if not world.database_lag:
            return InlineExecutor()
        executor = LaggingExecutor(self.machine, random.Random(world.rng.random()), self.database_lag, size=size)
        executor.away = self.database_away
        self._executors.append(executor)
        return executor

    def slow_database(self, lag: float) -> None:
        """Have the server wait for the database for ``lag`` seconds at most, twice; only in a world with a lag."""
        self.database_lag = lag
        for executor in self._executors:
            executor.lag = lag

    def lose_database(self, *, away: bool) -> None:
        """Cut the server off from the database, or let it have it back; only in a world with a lag."""
        self.database_away = away
        for executor in self._executors:
            executor.away = away
        if self._world.told:
            # It may have missed something.
            self.hear_of_messages()

    @property
    def alive(self) -> bool:
        """Whether it has not been killed or stopped."""
        return self.machine.alive

    @property
    def running(self) -> bool:
        """Whether it does anything: alive and not frozen."""
        return self.alive and not self.frozen

    @property
    def is_stopping(self) -> bool:
        """Whether it ends, or will before long."""
        return not self.service.running or self.service.membership.state is ServerState.SHUTTING_DOWN

    def attache(self, host_id: int) -> Attache | None:
        """The attache that speaks for a host here, if this server believes that one does."""
        found = self.service.directory.get(HostId(host_id))
        return found if found is not None and found.owns_host else None

    def _stop(self) -> None:
        """End in good order, as the process was asked to by a call."""
        machine = self.machine
        maybeDeferred(self.service.stopService).addCallback(lambda _: self._world.network.kill(machine))

    def _end_of(self, machine: Machine) -> None:
        """Like a process that could not start."""
        if machine is self.machine and self.alive:
            self.end()

    def end(self, *, silently: bool = False) -> None:
        """Kill the process, or cut its machine's power."""
        network = self._world.network
        (network.power_off if silently else network.kill)(self.machine)
        self.frozen = False
        result_of(Deferred.fromCoroutine(self.database.stop()))


def _server_config(address: str, name: str, database_url: str) -> ServerConfig:
    return ServerConfig(
        name=name,
        address=address,
        bind_address=address,
        api_address=address,
        port=PORT,
        database_url=database_url,
        ca_certificate=Path("ca"),
        certificate=Path("certificate"),
        private_key=Path("key"),
    )
