"""What the commands of the API work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.command_orders import Order
from cloudlb.agents.registration import Bundle, NewHost
from cloudlb.api.passwords import Passwords
from cloudlb.api.sessions import Sessions
from cloudlb.cluster.server_orders import ServerOrders
from cloudlb.domain.models import ClusterId, Host, HostId, Job, Server
from cloudlb.domain.ports import HostFilter, Store, Transaction
from cloudlb.domain.resource_state import ResourceEvent
from cloudlb.domain.server_state import ServerState


class SettingChanges(Protocol):
    """Changes of settings; LiveSettings of cloudlb.agents."""

    async def change(
        self,
        name: str,
        value: str,
        cluster_id: ClusterId | None = None,
        forced: bool = False,
        account_id: int | None = None,
    ) -> None: ...
    async def reset(self, name: str, cluster_id: ClusterId | None = None, account_id: int | None = None) -> None: ...


class HostOperations(Protocol):
    """What is done to one host; Operations of cloudlb.agents."""

    async def reconnect_host(self, host_id: HostId, account_id: int) -> Job: ...
    async def delete_host(self, host_id: HostId, account_id: int) -> bool: ...
    async def restore_host(self, host_id: HostId, account_id: int) -> bool: ...


class HostRegistration(Protocol):
    """Hosts that are added; Registration of cloudlb.agents."""

    async def add(self, new: NewHost, account_id: int) -> tuple[Host, Bundle | None]: ...


class HostStates(Protocol):
    """What operators let hosts do; ResourceStates of cloudlb.agents."""

    async def change(self, host_id: HostId, event: ResourceEvent, account_id: int) -> Host: ...
    async def prepare_for_maintenance(self, host_id: HostId, account_id: int) -> Job: ...
    async def cancel_maintenance(self, host_id: HostId, account_id: int) -> Job: ...
    async def declare_degraded(self, host_id: HostId, account_id: int) -> Job: ...
    async def cancel_degraded(self, host_id: HostId, account_id: int) -> Job: ...


class JobStarts(Protocol):
    """Commands for hosts, as jobs; CommandJobs of cloudlb.agents."""

    async def start(self, order: Order) -> Job: ...


class OwnServer(Protocol):
    """Who this server is; Membership of cloudlb.cluster."""

    @property
    def own(self) -> Server: ...
    @property
    def state(self) -> ServerState: ...


class Rebalances(Protocol):
    """Evening out how many hosts each server has; Rebalancer of cloudlb.cluster."""

    async def request(self, account_id: int) -> Job: ...


class HostPages(Protocol):
    """Pages of hosts; HostRoll of cloudlb.api."""

    async def page(
        self, filter_of: Callable[[Transaction], HostFilter | None], offset: int, limit: int
    ) -> Mapping[str, Any]: ...


@frozen(kw_only=True)
class ApiContext:
    """The server behind the API."""

    store: Store
    settings: SettingChanges
    operations: HostOperations
    registration: HostRegistration
    resource_states: HostStates
    command_jobs: JobStarts
    server_orders: ServerOrders
    rebalancer: Rebalances
    membership: OwnServer
    clock: IReactorTime
    host_roll: HostPages
    sessions: Sessions
    passwords: Passwords
