"""What has changed, asked of the database once a second while somebody looks, and told to everybody who does.

Transactions of several servers are committed out of the order in which they changed something. So each look asks
anew for the last seconds before the look before it, and what was told already is not told again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.dashboard.fleet import (
    Known,
    Reading,
    know_all,
    preference,
    read_all,
    read_changes,
    show_columns,
    show_event,
    show_host,
    show_lists,
    show_servers,
)
from cloudlb.dashboard.frames import Frame, event_frame
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.change_ports import Glance
from cloudlb.domain.known_lists import same_lists
from cloudlb.domain.models import HostId, ServerId, ZoneId
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.domain.records import Event
from cloudlb.domain.settings_in_force import Settings
from cloudlb.net.periodic import Periodic

INTERVAL = 1.0
"""Seconds between looks."""
OVERLAP = 20.0
"""Seconds that a transaction may take from its change to its commit: databases end those that take longer."""
MOST_BEHIND = 256 * 1024
"""Compressed bytes of changes that are kept: a viewer that is further behind gets a new snapshot."""


@frozen
class _Whole:
    """The whole fleet at one moment, for viewers who know nothing."""

    reading: Reading
    known: dict[HostId, Known]
    columns: Mapping[str, Any]


def _read_whole(txn: Transaction) -> _Whole:
    # On the store's thread: a fleet of thousands would hold up the reactor.
    reading = read_all(txn)
    known = know_all(reading.hosts, reading.settings)
    return _Whole(reading, known, show_columns(host.shown for host in known.values()))


def _mark(host: Glance) -> tuple[Any, ...]:
    """What of a host tells whether it was changed; a server of an older version leaves the time as it is."""
    return host.changed, host.status, host.resource_state, host.server_id


class Watch:
    """Looks at the fleet while it runs, and keeps what viewers need to follow."""

    log = Logger()

    def __init__(
        self, store: Store, clock: IReactorTime, new_run: Callable[[], str], changed: Callable[[], object]
    ) -> None:
        """Prepare; nothing is read before :meth:`start`.

        Args:
            store: the database.
            clock: tells the time.
            new_run: makes a name for each time that it is started.
            changed: called when there is something new to tell.
        """
        self._store = store
        self._clock = clock
        self._new_run = new_run
        self._changed = changed
        self._turns = Periodic(clock, "look for what has changed", self._look)
        self._forget()

    @property
    def running(self) -> bool:
        """Whether it asks the database."""
        return self._turns.interval is not None

    def start(self) -> None:
        """Begin to look."""
        if not self.running:
            self._run = self._new_run()
            self._turns.start(INTERVAL, now=True)

    def stop(self) -> None:
        """Look no more, and forget what was seen."""
        self._turns.stop()
        self._forget()

    def _forget(self) -> None:
        self._run = ""
        self._version = 0
        self._base: tuple[int, Frame] | None = None
        """The latest snapshot, and its version."""
        self._whole_wanted = False
        self._deltas: deque[tuple[int, Frame]] = deque()
        self._bytes = 0
        self._bytes_since_base = 0
        self._known: dict[HostId, Known] = {}
        self._servers: dict[ServerId, Mapping[str, Any]] = {}
        self._settings = Settings({})
        self._alerts = 0
        self._read_at = 0.0
        """When the database was read, by its clock."""
        self._told: dict[int, float] = {}
        """Events by number, and when they were seen first; those of the last seconds."""
        self._event_floor = 0
        self._stale = False

    def after(self, position: str | None) -> tuple[str, Sequence[Frame]] | None:
        """What a viewer has yet to get, and its position then; None: that is read by the next look.

        Args:
            position: of the last frame that the viewer has, of this watch or another one; None: it has nothing.
        """
        if self._base is None:
            return None
        run, _, number = (position or "").partition(".")
        version = int(number) if run == self._run and number.isascii() and number.isdigit() else -1
        here = self._position(self._version)
        first = self._deltas[0][0] if self._deltas else self._version + 1
        if first - 1 <= version <= self._version:
            return here, [delta for at, delta in self._deltas if at > version]
        at_base, snapshot = self._base
        if self._bytes_since_base > MOST_BEHIND // 2:
            self._whole_wanted = True
            return None
        return here, [snapshot, *(delta for at, delta in self._deltas if at > at_base)]

    def _position(self, version: int) -> str:
        return f"{self._run}.{version}"

    async def _look(self) -> None:
        run = self._run
        try:
            if self._base is None or self._whole_wanted:
                whole = await self._store.read(_read_whole)
                if run == self._run:
                    self._take_whole(whole)
            else:
                await self._look_for_changes(run)
        except StoreUnavailable as error:
            if run == self._run and not self._stale:
                self._stale = True
                self.log.warn("viewers of the dashboard see what was: {error}", error=str(error))
                self._tell("stale", {"at": self._clock.seconds()})

    async def _look_for_changes(self, run: str) -> None:
        since, event = self._read_at - OVERLAP, self._event_floor
        reading = await self._store.read(lambda txn: read_changes(txn, since, event))
        if run != self._run:
            return
        if not same_lists(reading.settings, self._settings) or self._moved_up(reading):
            whole = await self._store.read(_read_whole)
            if run == self._run:
                self._take_whole(whole)
            return
        new = [host for host in reading.hosts if host.id not in self._known and not host.removed]
        zones = {host.zone_id for host in new}
        places = await self._places(zones, new) if new else {}
        if run == self._run:
            self._take_changes(reading, places)

    def _moved_up(self, reading: Reading) -> bool:
        """Whether hosts have other places in their zones, and so other lists: one before them is gone, or is back."""
        last = max(self._known, default=0)
        return self._settings.algorithm is Algorithm.ROUNDROBIN and any(
            host.id in self._known if host.removed else host.id not in self._known and host.id < last
            for host in reading.hosts
        )

    async def _places(self, zones: set[ZoneId], new: Sequence[Glance]) -> Mapping[HostId, int]:
        """The places of hosts that have joined, where an algorithm asks for them."""
        if self._settings.algorithm is not Algorithm.ROUNDROBIN:
            return {}
        ids = {zone: sorted(host.id for host in new if host.zone_id == zone) for zone in zones}

        def work(txn: Transaction) -> dict[HostId, int]:
            return {id_: place for zone in zones for id_, place in txn.hosts.places(zone, ids[zone]).items()}

        return await self._store.read(work)

    def _take_whole(self, whole: _Whole) -> None:
        """Begin anew with the whole fleet; viewers who know it already hear of what has changed."""
        reading, before = whole.reading, self._known
        self._known = whole.known
        hosts = [
            host.shown for id_, host in whole.known.items() if id_ not in before or before[id_].shown != host.shown
        ]
        gone = [id_ for id_ in before if id_ not in whole.known]
        lists = {} if same_lists(reading.settings, self._settings) else show_lists(reading.settings)
        delta = {**self._delta(reading, hosts, gone), **lists}
        if self._base is not None and 2 * len(hosts) <= len(whole.known):
            if delta:
                self._keep(delta)
        else:
            # There are no deltas that lead to it.
            self._deltas.clear()
            self._bytes = 0
            self._version += 1
        self._read_at = reading.at
        snapshot = {
            "at": self._clock.seconds(),
            "hosts": whole.columns,
            "servers": list(self._servers.values()),
            "events": [show_event(number, event, reading.usernames) for number, event in reading.events],
            "alerts": self._alerts,
            **show_lists(self._settings),
        }
        self._base = self._version, event_frame("snapshot", self._position(self._version), snapshot)
        self._bytes_since_base, self._whole_wanted = 0, False
        self._changed()

    def _take_changes(self, reading: Reading, places: Mapping[HostId, int]) -> None:
        """Tell what a look has found."""
        prefer = preference(self._settings)
        self._read_at = reading.at
        hosts, gone = [], []
        for host in reading.hosts:
            known = self._known.get(host.id)
            if host.removed:
                if self._known.pop(host.id, None) is not None:
                    gone.append(host.id)
            elif known is None or (known.changed, *known.shown[2:5]) != _mark(host):
                place = places.get(host.id, 0) if known is None else known.place
                shown = show_host(host, place, prefer)
                self._known[host.id] = Known(host.changed, place, shown)
                if known is None or known.shown != shown:
                    hosts.append(shown)
        if delta := self._delta(reading, hosts, gone):
            self._tell("delta", delta)

    def _delta(self, reading: Reading, hosts: Sequence[Any], gone: Sequence[HostId]) -> dict[str, Any]:
        """What is different from what viewers know, and note it; empty if nothing is."""
        servers = show_servers(reading)
        events = [show_event(number, event, reading.usernames) for number, event in self._new_events(reading)]
        changed = [server for id_, server in servers.items() if self._servers.get(id_) != server]
        left = [id_ for id_ in self._servers if id_ not in servers]
        settings = reading.settings.stored != self._settings.stored
        parts = {
            "hosts": hosts,
            "gone": gone,
            "servers": changed,
            "left": left,
            "events": events,
            "settings": settings,
            "fresh": self._stale,
        }
        delta: dict[str, Any] = {name: part for name, part in parts.items() if part}
        if reading.alerts != self._alerts:
            delta["alerts"] = reading.alerts
        if delta:
            delta["at"] = self._clock.seconds()
        self._servers, self._settings, self._alerts, self._stale = servers, reading.settings, reading.alerts, False
        return delta

    def _new_events(self, reading: Reading) -> list[tuple[int, Event]]:
        """Events that have not been told, the newest first."""
        now = self._clock.seconds()
        floor = self._event_floor
        new = [(number, event) for number, event in reading.events if number > floor and number not in self._told]
        for number, _ in new:
            self._told[number] = now
        old = [number for number, seen in self._told.items() if seen <= now - OVERLAP]
        if old:
            self._event_floor = max(self._event_floor, *old)
            self._told = {number: seen for number, seen in self._told.items() if number > self._event_floor}
        return new

    def _tell(self, name: str, data: Mapping[str, Any]) -> None:
        self._keep(data, name)
        self._changed()

    def _keep(self, data: Mapping[str, Any], name: str = "delta") -> None:
        """Keep one more step for viewers who follow."""
        self._version += 1
        delta = event_frame(name, self._position(self._version), data)
        self._deltas.append((self._version, delta))
        self._bytes += len(delta)
        self._bytes_since_base += len(delta)
        while self._bytes > MOST_BEHIND:
            self._bytes -= len(self._deltas.popleft()[1])
