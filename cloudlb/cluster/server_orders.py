"""What an operator may have a management server do, from any server: be emptied for maintenance or a shutdown, be used
again, be forgotten.

An order is one transaction: the step of the server table, the drain, the event and the message that tells every server.
How the server is emptied is its own business: see :mod:`.draining`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.resource_states import NotPossible
from cloudlb.cluster.membership import SERVER_STATE
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Job, Server, ServerId
from cloudlb.domain.ports import NotFound, Store, Transaction
from cloudlb.domain.server_state import SERVER_TABLE, ServerEvent, ServerState
from cloudlb.domain.settings import HOST

HELD = (HostStatus.CONNECTING, HostStatus.UP, HostStatus.REBALANCING)
"""Statuses of hosts that a server has, or so they say."""


class Rebalancing(Protocol):
    """Evens out who is where; Rebalancer of :mod:`.rebalancer`."""

    def request(self, account_id: int) -> Awaitable[Job]: ...


@frozen(kw_only=True)
class _Order:
    """One kind of order."""

    event: ServerEvent
    call: str
    """How an operator gives it."""
    event_type: str
    text: str
    """What is to become of the server."""
    state: ServerState | None = None
    """Of those that empty a server: where it is meanwhile."""


_PREPARE_FOR_MAINTENANCE = _Order(
    event=ServerEvent.PREPARE_FOR_MAINTENANCE,
    call="prepareForMaintenance",
    event_type="MS.MAINTENANCE.PREPARE",
    text="is to be emptied for maintenance",
    state=ServerState.PREPARING_FOR_MAINTENANCE,
)
_CANCEL_MAINTENANCE = _Order(
    event=ServerEvent.CANCEL_MAINTENANCE,
    call="cancelMaintenance",
    event_type="MS.MAINTENANCE.CANCEL",
    text="is taken out of maintenance",
)
_PREPARE_FOR_SHUTDOWN = _Order(
    event=ServerEvent.PREPARE_FOR_SHUTDOWN,
    call="prepareForShutdown",
    event_type="MS.SHUTDOWN.PREPARE",
    text="is to be emptied for a shutdown",
    state=ServerState.PREPARING_FOR_SHUTDOWN,
)
_TRIGGER_SHUTDOWN = _Order(
    event=ServerEvent.TRIGGER_SHUTDOWN,
    call="triggerShutdown",
    event_type="MS.SHUTDOWN",
    text="is to be emptied and shut down",
    state=ServerState.SHUTTING_DOWN,
)
_CANCEL_SHUTDOWN = _Order(
    event=ServerEvent.CANCEL_SHUTDOWN,
    call="cancelShutdown",
    event_type="MS.SHUTDOWN.CANCEL",
    text="is not to be shut down",
)
_ORDERS: Mapping[ServerEvent, _Order] = {
    order.event: order
    for order in (
        _PREPARE_FOR_MAINTENANCE,
        _CANCEL_MAINTENANCE,
        _PREPARE_FOR_SHUTDOWN,
        _TRIGGER_SHUTDOWN,
        _CANCEL_SHUTDOWN,
    )
}


class ServerOrders:
    """The calls of the API that change what a management server does.

    Each raises NotFound where there is no such server, and NotPossible where the order does not fit it; nothing is
    changed then.
    """

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self.rebalancer: Rebalancing | None = None
        """Asked when a server is back; None: agents return by themselves, when they look for the head of their list."""

    async def prepare_for_maintenance(
        self, server_id: ServerId, account_id: int, *, algorithm: Algorithm | None = None, forced: bool = False
    ) -> None:
        """Have a server emptied; it stays in maintenance until that is cancelled, also when it is started again.

        Ordered again when its time was over, or with another algorithm, ``forced`` or time-out, it goes on with a new
        time.

        Args:
            algorithm: orders the lists by which its agents choose their new servers; None: the one in force.
            forced: when its time is over, disconnect the agents that are left.
        """
        await self._empty(server_id, account_id, _PREPARE_FOR_MAINTENANCE, algorithm, forced)

    async def cancel_maintenance(self, server_id: ServerId, account_id: int, *, rebalance: bool = True) -> Job | None:
        """Use a server again, also while it is being emptied, and have agents moved back to it unless told not to.

        Returns:
            The job that moves them.
        """
        await self._cancel(server_id, account_id, _CANCEL_MAINTENANCE)
        if rebalance and self.rebalancer is not None:
            return await self.rebalancer.request(account_id)
        return None

    async def prepare_for_shutdown(
        self, server_id: ServerId, account_id: int, *, algorithm: Algorithm | None = None, forced: bool = False
    ) -> None:
        """Have a server emptied, and wait for the order to shut down; see :meth:`prepare_for_maintenance`."""
        await self._empty(server_id, account_id, _PREPARE_FOR_SHUTDOWN, algorithm, forced)

    async def trigger_shutdown(
        self, server_id: ServerId, account_id: int, *, algorithm: Algorithm | None = None, forced: bool = False
    ) -> None:
        """Have a server emptied, where it is not empty already, and its process end."""
        await self._empty(server_id, account_id, _TRIGGER_SHUTDOWN, algorithm, forced)

    async def cancel_shutdown(self, server_id: ServerId, account_id: int) -> None:
        """Use a server again that was to be shut down."""
        await self._cancel(server_id, account_id, _CANCEL_SHUTDOWN)

    async def remove(self, server_id: ServerId, account_id: int) -> None:
        """Forget a server that is Down. Should it come back, it registers as a new one."""
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            server = _server(txn, server_id)
            if server.state is not ServerState.DOWN:
                raise NotPossible(
                    f"{_name(server)} is {server.state.value}: only one that is Down can be removed; "
                    "end it first, triggerShutdown does"
                )
            # Whoever looks after what a dead server leaves behind goes by its row.
            hosts = len(txn.hosts.on_server(server_id, HELD))
            jobs = pending_jobs(txn).get(server_id, 0)
            if hosts or jobs:
                raise NotPossible(
                    f"{_name(server)} still has hosts: {hosts}, jobs: {jobs}. The others take over the hosts that come "
                    "to them, disconnect the rest after ping.timeout, and end the jobs; remove it after that"
                )
            txn.servers.remove(server_id)
            self._tell(txn, server, "MANAGEMENT.SERVER.REMOVE", "is removed", account_id, now)

        await self._store.run(work)

    async def _empty(
        self, server_id: ServerId, account_id: int, order: _Order, algorithm: Algorithm | None, forced: bool
    ) -> None:
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            server = _server(txn, server_id)
            before = txn.drains.get(server_id)
            wanted = Drain(
                server_id=server_id,
                algorithm=algorithm,
                forced=forced,
                timeout=float(txn.settings.load().maintenance_timeout),
            )
            if server.alive and server.recorded is order.state:
                _check_goes_on(server, before, wanted)
            else:
                _check_possible(server, order)
            _check_others(txn, server, order)
            if server.recorded is not order.state:
                taken = txn.servers.change_state(server_id, order.event)
                assert taken is order.state, f"{_name(server)} changed within a transaction"
            txn.drains.put(wanted)
            self._tell(txn, server, order.event_type, order.text, account_id, now)

        await self._store.run(work)

    async def _cancel(self, server_id: ServerId, account_id: int, order: _Order) -> None:
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            server = _server(txn, server_id)
            _check_possible(server, order)
            txn.servers.change_state(server_id, order.event)
            drain = txn.drains.get(server_id)
            if drain is not None:
                txn.drains.progress(evolve(drain, ended=now, end=DrainEnd.CANCELLED, eta=None))
            self._tell(txn, server, order.event_type, order.text, account_id, now)

        await self._store.run(work)

    def _tell(self, txn: Transaction, server: Server, event_type: str, text: str, account_id: int, now: float) -> None:
        txn.events.add(event_type, f"{_name(server)} {text}", now=now, account_id=account_id, server_id=server.id)
        txn.bus.publish(SERVER_STATE, {"server_id": server.id}, now)


def pending_jobs(txn: Transaction) -> Mapping[ServerId, int]:
    """How many jobs each server still has to end."""
    counts: dict[ServerId, int] = {}
    for server_id, _, count in txn.jobs.under_way():
        counts[server_id] = counts.get(server_id, 0) + count
    return counts


def _server(txn: Transaction, server_id: ServerId) -> Server:
    for server in txn.servers.all():
        if server.id == server_id:
            return server
    raise NotFound(f"there is no management server {server_id}")


def _check_possible(server: Server, order: _Order) -> None:
    """Raise NotPossible, with what is possible, if the table has no such step or nobody is there to take it."""
    if not server.alive:
        raise NotPossible(
            f"{_name(server)} is Down: {order.call} is for one that runs. Its agents go to the others by themselves; "
            "possible are: start it again, removeManagementServer"
        )
    state = server.recorded
    if (state, order.event) in SERVER_TABLE:
        return
    possible = [other.call for event, other in _ORDERS.items() if (state, event) in SERVER_TABLE]
    raise NotPossible(
        f"{_name(server)} is {state.value}, where {order.call} is not possible; possible "
        f"{'is' if len(possible) == 1 else 'are'}: {', '.join(possible) or 'to wait until it has ended'}"
    )


def _check_goes_on(server: Server, before: Drain | None, wanted: Drain) -> None:
    """Raise NotPossible if exactly this is under way."""
    if before is not None and before.ended is None:
        ordered = before.algorithm, before.forced, before.timeout
        if ordered == (wanted.algorithm, wanted.forced, wanted.timeout):
            raise NotPossible(
                f"{_name(server)} is {server.recorded.value} already; readyForShutdown tells how far it is"
            )


def _check_others(txn: Transaction, server: Server, order: _Order) -> None:
    """Raise NotPossible if the server's agents would have nowhere to go."""
    others = _others_of_host(txn, server)
    up = [other for other in others if other.state is ServerState.UP]
    if up:
        # Two servers must not be emptied at the same time, each because the other one is Up.
        txn.servers.hold(up[0].id)
        return
    if order is not _PREPARE_FOR_MAINTENANCE and not txn.hosts.up_by_server().get(server.id, 0):
        return
    states = ", ".join(f"{other.name} is {other.state.value}" for other in others)
    instead = (
        "" if order is _PREPARE_FOR_MAINTENANCE else "; to stop it all the same, end its process: its agents come back"
    )
    raise NotPossible(
        f"{_name(server)} is the last one for its agents: no other server of `{HOST}` is Up "
        f"({states or 'it names no other one'}). Start or add one, or cancel the maintenance of one{instead}"
    )


def _others_of_host(txn: Transaction, server: Server) -> Sequence[Server]:
    """The servers of ``host`` but one, in its order."""
    rows = txn.servers.all()
    found: dict[ServerId, Server] = {}
    for address in txn.settings.load().servers:
        for row in rows:
            if row.id != server.id and row.answers_to(address):
                found.setdefault(row.id, row)
    return list(found.values())


def _name(server: Server) -> str:
    return f"management server {server.name}"
