"""What the commands of the API work with."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from cloudlb.domain.models import ClusterId, HostId, Job, Server, ServerState
from cloudlb.domain.ports import Store


class SettingChanges(Protocol):
    """Changes of settings; LiveSettings of cloudlb.agents."""

    async def change(
        self, name: str, value: str, cluster_id: ClusterId | None = None, forced: bool = False
    ) -> None: ...
    async def reset(self, name: str, cluster_id: ClusterId | None = None) -> None: ...


class HostOperations(Protocol):
    """What is done to one host; Operations of cloudlb.agents."""

    async def reconnect_host(self, host_id: HostId, account_id: int) -> Job: ...
    async def delete_host(self, host_id: HostId) -> bool: ...


class ServerStates(Protocol):
    """The servers and which of them live; Membership of cloudlb.cluster."""

    async def servers(self) -> list[tuple[Server, ServerState]]: ...


@frozen(kw_only=True)
class ApiContext:
    """The server behind the API."""

    store: Store
    settings: SettingChanges
    operations: HostOperations
    membership: ServerStates
    clock: IReactorTime
