"""The settings in force on this server, and the one way to change them.

Values live in the database. Every change is announced on the bus in the transaction that makes it, so that every
server reloads; a value that would strand the fleet is refused before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.domain.models import ClusterId
from cloudlb.domain.ports import Bus, Store, StoreUnavailable, Transaction
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings import HOST, InvalidSetting, check_value, setting_named
from cloudlb.domain.settings_in_force import Settings
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

TOPIC = "settings"
EDIT = "CONFIGURATION.VALUE.EDIT"
"""The event of a change."""
RELOAD_INTERVAL = 30.0
"""Seconds between looks at the database without being told to: after an outage, or a suspension that outlasted the
bus's memory, a server must not go on with old settings."""


class LiveSettings:
    """A snapshot of all settings that follows the database."""

    log = Logger()

    def __init__(self, store: Store, bus: Bus, clock: IReactorTime) -> None:
        self.current = Settings()
        self._store = store
        self._clock = clock
        self._observers: list[Callable[[], None]] = []
        self._reloads = Periodic(clock, "reload the settings", self._reload)
        self._outage = False
        self._started = 0
        self._applied = 0
        bus.subscribe(TOPIC, self._changed)

    def start(self) -> None:
        """Follow the database also where a message of the bus was missed."""
        self._reloads.start(RELOAD_INTERVAL)

    def stop(self) -> None:
        """Follow it no more."""
        self._reloads.stop()

    def observe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every change of ``current``."""
        self._observers.append(changed)

    async def load(self) -> None:
        """Take what the database holds now."""
        self._started = load = self._started + 1
        settings = await self._store.read(lambda txn: txn.settings.load())
        # Reads may overtake each other; one that began before an applied one knows less.
        if load < self._applied:
            return
        self._applied = load
        if settings == self.current:
            return
        self.current = settings
        for changed in self._observers:
            changed()

    def _changed(self, payload: Mapping[str, Any]) -> None:
        spawn(self._reload(), self.log, "reload the settings")

    async def _reload(self) -> None:
        try:
            before = self.current
            await self.load()
            if changed := before.differences(self.current):
                self.log.info("settings have changed: {names}", names=", ".join(changed))
        except StoreUnavailable as error:
            if not self._outage:
                self.log.warn("the settings cannot be reloaded: {error}", error=error)
            self._outage = True
        else:
            self._outage = False

    async def change(
        self,
        name: str,
        value: str,
        cluster_id: ClusterId | None = None,
        forced: bool = False,
        account_id: int | None = None,
    ) -> None:
        """Set a value for all, or for one cluster.

        Args:
            forced: take a ``host`` list of which no address belongs to a live server.
            account_id: whose doing it is.

        Raises:
            InvalidSetting: the message says why; nothing was changed.
        """
        checked = check_value(name, value, cluster=cluster_id is not None)
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            _check_cluster(txn, cluster_id)
            if name == HOST and not forced:
                _check_reachable(txn, checked)
            txn.settings.set(name, checked, cluster_id)
            said = f"setting {name} was set to {checked!r} ({_scope(cluster_id)})"
            txn.events.add(EDIT, said, now=now, account_id=account_id)
            txn.bus.publish(TOPIC, {"name": name, "cluster_id": cluster_id}, now)

        await self._store.run(work)
        self.log.info("setting {name} is now {value!r} ({scope})", name=name, value=checked, scope=_scope(cluster_id))
        await self.load()

    async def reset(self, name: str, cluster_id: ClusterId | None = None, account_id: int | None = None) -> None:
        """Return to the default, or for a cluster to the global value.

        Raises:
            InvalidSetting: as for :meth:`change`.
        """
        default = check_value(name, setting_named(name).default, cluster=cluster_id is not None)
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            _check_cluster(txn, cluster_id)
            if name == HOST:
                _check_reachable(txn, default)
            txn.settings.reset(name, cluster_id)
            said = f"setting {name} was reset ({_scope(cluster_id)})"
            txn.events.add(EDIT, said, now=now, account_id=account_id)
            txn.bus.publish(TOPIC, {"name": name, "cluster_id": cluster_id}, now)

        await self._store.run(work)
        self.log.info("setting {name} is reset ({scope})", name=name, scope=_scope(cluster_id))
        await self.load()


def _scope(cluster_id: ClusterId | None) -> str:
    return "global" if cluster_id is None else f"cluster {cluster_id}"


def _check_cluster(txn: Transaction, cluster_id: ClusterId | None) -> None:
    if cluster_id is not None and all(cluster.id != cluster_id for cluster in txn.topology.clusters()):
        raise InvalidSetting(f"there is no cluster {cluster_id}")


def _check_reachable(txn: Transaction, addresses: str) -> None:
    """Refuse a list that would send every agent to servers that are not there."""
    live = [server for server in txn.servers.all() if server.state is ServerState.UP]
    if not any(server.answers_to(address) for server in live for address in addresses.split(",")):
        names = ", ".join(server.address for server in live) or "none"
        raise InvalidSetting(
            f"{HOST}: no live management server answers to any of {addresses} (live: {names}); "
            "every agent would be stranded. Force it (forced=true) if the servers are about to start"
        )
