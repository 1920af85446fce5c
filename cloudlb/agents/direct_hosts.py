"""Hosts without an agent of their own: their resources run inside the servers, each on exactly one of them.

Every server looks for such hosts every ``direct.agent.scan.interval`` seconds, and as soon as one is added or a server
comes or goes. It begins to load at most ``direct.agent.load.size`` of those that are its own to load:

- A host whose resource runs on a server that lives is that server's, also if that is about to be emptied.
- All servers agree which of those that are Up loads any other host: a hash of host and server decides. It changes with
  every interval, so that a server that cannot load a host, since it lacks a package, does not keep the others from it.
- A server to which a host is to move is told so, and loads it beside the one that has it.

    start the resource -> claim the host's row -> Up

The claim begins a session of the host, as an agent's admission does, if nobody has begun one since the row was read.
So of two servers that disagree, one has the host and the other lets go of its resource. A host that moves is Up all the
while: what is under way in the session before is answered there, and then that one's resource is closed. What cannot be
loaded is logged and noted in an event, once for each reason; the host becomes Error if it has never been Up, and is
tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb._version import __version__
from cloudlb.agents.attache import Attache
from cloudlb.agents.concerns import Concerns
from cloudlb.agents.departures import DIRECT_MOVE
from cloudlb.agents.direct_attache import DirectAttacheOwner
from cloudlb.agents.direct_resources import CannotLoad, Loaded, Loader
from cloudlb.agents.directory import ADMITTED, Directory
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.hooks import Hooks
from cloudlb.agents.introduction import Introduction, Refusal, introduce
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.registration import DIRECT
from cloudlb.agents.statuses import Statuses
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, HostId, ServerId, StatusChange
from cloudlb.domain.ports import Admission, Bus, Refused, Store, StoreUnavailable, Transaction
from cloudlb.domain.records import Level
from cloudlb.domain.resource_state import ResourceState
from cloudlb.domain.server_state import ServerState
from cloudlb.net.in_order import InOrder
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn
from cloudlb.resource.threads import Threads

Attach = Callable[[str, Loaded, DirectAttacheOwner], Attache]
"""Makes what speaks for the host of a GUID, whose resource runs here. It closes the resource at its end."""

_PAGE = 500
"""Rows that are read at once."""
_HELD = (HostStatus.UP, HostStatus.CONNECTING)


class DirectHosts:
    """Loads the resources that are this server's to run, and owns their attaches."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        bus: Bus,
        settings: LiveSettings,
        directory: Directory,
        statuses: Statuses,
        disconnection: Disconnection,
        hooks: Hooks,
        concerns: Concerns,
        clock: IReactorTime,
        *,
        threads: Callable[[str], Threads],
        attach: Attach,
    ) -> None:
        """Prepare.

        Args:
            threads: makes the threads of one resource, given a name for them.
            attach: makes the attache of a host, which is to be admitted.
        """
        self._store = store
        self._settings = settings
        self._directory = directory
        self._statuses = statuses
        self._disconnection = disconnection
        self._hooks = hooks
        self._concerns = concerns
        self._clock = clock
        self._loader = Loader(clock, threads)
        self._attach = attach
        self._attaches = InOrder[Attache]()
        self._loading: dict[HostId, Deferred[None]] = {}
        self._moving: dict[HostId, None] = {}
        """Hosts that are to move here, in the order in which they came."""
        self._reasons: dict[HostId, str] = {}
        """Why hosts could not be loaded the last time."""
        self._running = False
        self._scanning = False
        self._again = False
        self._scans = Periodic(clock, "look for direct hosts", self.scan)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        settings.observe(self._follow)
        bus.subscribe(DIRECT, lambda _: self.wake())
        bus.subscribe(DIRECT_MOVE, self._told_to_load)

    @property
    def running(self) -> int:
        """Resources that run here, also of hosts that have a newer session elsewhere."""
        return len(self._attaches)

    def start(self) -> None:
        """Begin to look."""
        self._running = True
        self._follow()
        self.wake()

    def stop(self) -> None:
        """Load nothing more, and let go of every resource."""
        self._running = False
        self._scans.stop()
        self._moving.clear()
        for loading in list(self._loading.values()):
            loading.cancel()
        for attache in list(self._attaches):
            self._disconnection.close(attache, HostEvent.MANAGEMENT_SERVER_DOWN, "the server is stopping")

    def wake(self) -> None:
        """Look now: there is a new host, or a server more or less."""
        if self._running:
            spawn(self.scan(), self.log, "look for direct hosts")

    # What an attache tells.

    def pinged(self, attache: Attache, *, gateway: bool) -> None:
        """Stamp the host as alive, and look at the little of a ping that matters to every host."""
        self._disconnection.liveness.heard(attache)
        if not gateway:
            self._concerns.gateway_lost(attache)

    def lost(self, attache: Attache, reason: str) -> None:
        """The resource does not run here any more."""
        self._attaches.discard(attache)
        self._disconnection.lost(attache, reason)

    # Which hosts.

    async def scan(self) -> None:
        """Begin to load the hosts that are this server's to load, as many as may be loaded at once."""
        self._again = self._scanning
        if self._scanning:
            return
        self._scanning = True
        try:
            for host in await self._wanted():
                self._begin(host)
        except StoreUnavailable as error:
            self.log.warn("cannot look for direct hosts: {error}", error=error)
        finally:
            self._scanning = False
        if self._again:
            self.wake()

    def _follow(self) -> None:
        if self._running:
            self._scans.start(self._settings.current.direct_scan_interval)

    async def _wanted(self) -> list[Host]:
        settings, now = self._settings.current, self._clock.seconds()
        room = settings.direct_load_size - len(self._loading)
        turn = int(now // settings.direct_scan_interval)
        wanted: list[Host] = []
        after: HostId | None = HostId(0)
        while after is not None and len(wanted) < room:
            page = await self._store.read(partial(_read_page, after))
            wanted += [host for host in page.hosts if self._is_wanted(host, page, turn)]
            after = page.hosts[-1].id if len(page.hosts) == _PAGE else None
        return wanted[:room]

    def _is_wanted(self, host: Host, page: _Page, turn: int) -> bool:
        if host.id in self._loading or not self._can_have(host):
            return False
        if host.status in _HELD and host.server_id in page.live:
            # If it is this server, it lost the host: it has started anew, or the host's attache has just ended.
            return host.server_id == self.server_id and self.server_id in page.taking
        return self.server_id == max(page.taking, key=lambda server: _weight(host, server, turn), default=None)

    def _can_have(self, host: Host) -> bool:
        """Whether a host's resource does not run here, and may."""
        if host.id in self._loader.stuck or self._directory.get(host.id) is not None:
            return False
        return host.resource_state is not ResourceState.UNMANAGED

    # Loading.

    def _begin(self, host: Host) -> None:
        if self._running:
            self._spawn(host.id, self._load(host))

    def _spawn(self, host_id: HostId, steps: Coroutine[Deferred[Any], Any, None]) -> None:
        loading = self._loading[host_id] = spawn(steps, self.log, "load a direct host")
        loading.addBoth(lambda _: self._loaded(host_id))

    def _loaded(self, host_id: HostId) -> None:
        self._loading.pop(host_id, None)
        self._load_moving()

    def _told_to_load(self, payload: Mapping[str, Any]) -> None:
        if payload["server_id"] == self.server_id and self._running:
            self._moving[HostId(payload["host_id"])] = None
            self._load_moving()

    def _load_moving(self) -> None:
        """Begin to load hosts that are to move here, as long as there is room."""
        while self._moving and len(self._loading) < self._settings.current.direct_load_size:
            host_id = next(iter(self._moving))
            del self._moving[host_id]
            if host_id not in self._loading:
                self._spawn(host_id, self._load_beside(host_id))

    async def _load_beside(self, host_id: HostId) -> None:
        """Load a host that another server has; whatever fails here, it keeps it."""
        try:
            host = await self._store.read(lambda txn: txn.hosts.get(host_id))
        except StoreUnavailable as error:
            self.log.warn("host {id} cannot be moved here: {error}", id=host_id, error=error)
            return
        if host is not None and host.removed is None and host.direct is not None and self._can_have(host):
            await self._load(host)

    async def _load(self, host: Host) -> None:
        try:
            loaded = await self._loader.load(host)
            try:
                claimed = await self._claim(host, loaded)
            except BaseException:
                loaded.close()
                raise
            if claimed is None:
                self.log.info("host {name} was loaded elsewhere meanwhile", name=host.facts.name)
                loaded.close()
                return
            await self._up(claimed, loaded)
        except CannotLoad as error:
            await self._failed(host, str(error))
        except StoreUnavailable as error:
            self.log.warn("host {name} cannot be loaded: {error}", name=host.facts.name, error=error)

    async def _claim(self, host: Host, loaded: Loaded) -> Host | None:
        """Begin a session; None if somebody else has."""
        introduction = _introduction(host, loaded)
        now = self._clock.seconds()
        admission = Admission(facts=introduction.facts, location=introduction.location, server_id=self.server_id)

        def work(txn: Transaction) -> Host | Refused | None:
            row = txn.hosts.get(host.id)
            if row is None or row.removed is not None or row.session != host.session:
                return None
            (result,) = txn.hosts.admit([admission], now)
            if isinstance(result, Host):
                payload = {"server_id": self.server_id, "hosts": {str(result.id): result.session}}
                txn.bus.publish(ADMITTED, payload, now)
            return result

        result = await self._store.run(work)
        if isinstance(result, Refused):
            raise CannotLoad(result.reason)
        return result

    async def _up(self, host: Host, loaded: Loaded) -> None:
        attache = self._attach(host.facts.guid, loaded, self)
        self._attaches.add(attache)
        attache.admit(host, 0)
        self._disconnection.liveness.heard(attache)
        if not self._directory.enter(attache):
            return
        if await self._statuses.change(host, HostEvent.READY, "its resource runs in the server") is None:
            self._directory.leave(attache)
            attache.supersede()
            return
        attache.take_status(HostStatus.UP)
        self._reasons.pop(host.id, None)
        self.log.info(
            "host {name} ({id}) is Up, session {session}: its resource runs here",
            name=host.facts.name,
            id=host.id,
            session=host.session,
        )
        self._hooks.tell(lambda hook: hook.connected(attache.host))

    async def _failed(self, host: Host, reason: str) -> None:
        if self._reasons.get(host.id) == reason:
            return
        self.log.error("host {name} cannot be loaded: {reason}", name=host.facts.name, reason=reason)
        now = self._clock.seconds()
        change = StatusChange(
            host_id=host.id, session=host.session, event=HostEvent.ERROR, server_id=self.server_id, reason=reason
        )

        def work(txn: Transaction) -> None:
            row = txn.hosts.get(host.id)
            if row is None or row.removed is not None or row.session != host.session:
                return
            # From any other status than Creating there is no such step.
            txn.hosts.transition([change], now)
            txn.events.add(
                "HOST.LOAD",
                f"Host {host.facts.name} cannot be loaded: {reason}",
                now=now,
                level=Level.ERROR,
                server_id=self.server_id,
                host_id=host.id,
            )

        await self._store.run(work)
        self._reasons[host.id] = reason


@frozen
class _Page:
    hosts: list[Host]
    live: Collection[ServerId]
    taking: Collection[ServerId]
    """Servers that load what nobody has: those that are Up, or where none is, all that live."""


def _read_page(after: HostId, txn: Transaction) -> _Page:
    servers = [server for server in txn.servers.all() if server.alive]
    live = {server.id for server in servers}
    up = {server.id for server in servers if server.state is ServerState.UP}
    return _Page(txn.hosts.direct(_PAGE, after=after), live, up or live)


def _weight(host: Host, server: ServerId, turn: int) -> bytes:
    return blake2b(f"{host.uuid} {server} {turn}".encode(), digest_size=8).digest()


def _introduction(host: Host, loaded: Loaded) -> Introduction:
    """What the resource says of the host, with what an agent would add to it."""
    introduction = introduce(
        [
            evolve(
                command,
                guid=host.facts.guid,
                resource_name=type(loaded.resource).__name__,
                name=host.facts.name,
                data_center=host.zone.uuid,
                pod=host.pod.uuid if host.pod else None,
                cluster=host.cluster.uuid if host.cluster else None,
                version=__version__,
                private_ip_address=command.private_ip_address or host.facts.ip_address,
            )
            for command in loaded.startups
        ],
        None,
    )
    if isinstance(introduction, Refusal):
        raise CannotLoad(introduction.reason)
    return introduction
