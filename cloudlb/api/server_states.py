"""What operators have management servers do: maintenance, shutdown, removal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import frozen

from cloudlb.agents.resource_states import NotPossible
from cloudlb.api.command import SUCCESS, Body, Call, Command, Success, single
from cloudlb.api.drains import show_drain
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter, unknown_entity
from cloudlb.api.schema import Key, Long, optional, required, shown
from cloudlb.api.servers import find_server
from cloudlb.cluster.server_orders import HELD, ServerOrders, pending_jobs
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.models import ServerId
from cloudlb.domain.ports import NotFound, Transaction
from cloudlb.domain.server_state import ServerState

T = TypeVar("T")

_MAINTENANCE = frozenset({ServerState.PREPARING_FOR_MAINTENANCE, ServerState.MAINTENANCE})
_SHUTDOWN = frozenset({ServerState.PREPARING_FOR_SHUTDOWN, ServerState.READY_TO_SHUTDOWN, ServerState.SHUTTING_DOWN})


@frozen(kw_only=True)
class MaintenanceAnswer:
    """How far a server is."""

    managementserverid: str | None = shown("The id of the management server")
    managementservername: str | None = shown("the name of the management server", extension=True)
    state: str | None = shown("the state of the management server")
    maintenanceinitiated: bool | None = shown("Indicates whether maintenance has been initiated")
    shutdowntriggered: bool | None = shown("Indicates whether a shutdown has been triggered")
    readyforshutdown: bool | None = shown("Indicates whether it is ready to shutdown: it has neither jobs nor hosts")
    pendingjobscount: Long | None = shown("The number of jobs in progress")
    agentscount: Long | None = shown("The number of host agents this management server is responsible for")
    agents: list[str] | None = shown("The host agents this management server is responsible for")
    drain: dict[str, Any] | None = shown(
        "its latest emptying: total, moved, left, failed, eta and more", extension=True
    )
    rebalancejobid: str | None = shown("the job that moves hosts back to it, after cancelMaintenance", extension=True)


@frozen(kw_only=True)
class WhichServer:
    """Which server."""

    managementserverid: Key = required("the id of the management server", related="listManagementServers")


@frozen(kw_only=True)
class EmptyServer(WhichServer):
    """Which server is to be emptied, and how."""

    algorithm: str | None = optional(
        "the algorithm by which its hosts choose their new servers: static, roundrobin, shuffle or rendezvous; "
        "without it, that of the setting `indirect.agent.lb.algorithm`"
    )
    forced: bool | None = optional(
        "true: when `management.server.maintenance.timeout` is over, disconnect the hosts that are left"
    )


@frozen(kw_only=True)
class ShutDownServer(WhichServer):
    """Which server is to be shut down, and how it is emptied; CloudStack's waits for its jobs alone."""

    algorithm: str | None = optional("as of prepareForMaintenance", extension=True)
    forced: bool | None = optional("as of prepareForMaintenance", extension=True)


@frozen(kw_only=True)
class CancelMaintenance(WhichServer):
    """Which server is to be used again."""

    rebalance: bool | None = optional("false: do not have hosts moved back to it now; true is the default")


@frozen(kw_only=True)
class ReadyForShutdown:
    """Which server is asked about."""

    managementserverid: Key | None = optional(
        "the id of the management server; without it, the one that is called", related="listManagementServers"
    )


@frozen(kw_only=True)
class RemoveServer:
    """Which server."""

    id: Key = required("the ID of the Management Server", related="listManagementServers")


def _emptying(
    name: str,
    description: str,
    arguments_class: type[EmptyServer | ShutDownServer],
    order: Callable[[ServerOrders], Any],
) -> Command[Any]:
    async def run(call: Call, arguments: EmptyServer | ShutDownServer) -> Body:
        algorithm = _algorithm(arguments.algorithm)
        return await _obey(
            call,
            name,
            arguments.managementserverid,
            lambda server_id: order(call.context.server_orders)(
                server_id, call.account.id, algorithm=algorithm, forced=bool(arguments.forced)
            ),
        )

    return Command(
        name=name,
        description=description,
        arguments=arguments_class,
        answer=MaintenanceAnswer,
        run=run,
        everywhere=True,
    )


async def _cancel_maintenance(call: Call, arguments: CancelMaintenance) -> Body:
    job = await _follow(
        call,
        "managementserverid",
        arguments.managementserverid,
        lambda server_id: call.context.server_orders.cancel_maintenance(
            server_id, call.account.id, rebalance=arguments.rebalance is not False
        ),
    )
    job_id = None if job is None else job.uuid
    return await call.store.read(lambda txn: _show(txn, "cancelMaintenance", arguments.managementserverid, job_id))


async def _cancel_shutdown(call: Call, arguments: WhichServer) -> Body:
    return await _obey(
        call,
        "cancelShutdown",
        arguments.managementserverid,
        lambda server_id: call.context.server_orders.cancel_shutdown(server_id, call.account.id),
    )


async def _ready_for_shutdown(call: Call, arguments: ReadyForShutdown) -> Body:
    key = arguments.managementserverid or Key(call.context.membership.own.uuid)
    return await call.store.read(lambda txn: _show(txn, "readyForShutdown", key))


async def _remove(call: Call, arguments: RemoveServer) -> Body:
    await _follow(
        call, "id", arguments.id, lambda server_id: call.context.server_orders.remove(server_id, call.account.id)
    )
    return SUCCESS


async def _obey(call: Call, name: str, key: Key, order: Callable[[ServerId], Awaitable[None]]) -> Body:
    """Give an order, and answer with how the server is then."""
    await _follow(call, "managementserverid", key, order)
    return await call.store.read(lambda txn: _show(txn, name, key))


async def _follow(call: Call, parameter: str, key: Key, order: Callable[[ServerId], Awaitable[T]]) -> T:
    """Give an order, with the API's words for what stands in its way."""
    server = await call.store.read(lambda txn: find_server(txn, key, parameter))
    try:
        return await order(server.id)
    except NotFound as error:
        raise unknown_entity(parameter, key) from error
    except NotPossible as error:
        raise ApiError(ErrorCode.PARAMETER, str(error)) from error


def _algorithm(name: str | None) -> Algorithm | None:
    if not name:
        return None
    try:
        return Algorithm(name)
    except ValueError as error:
        known = ", ".join(algorithm.value for algorithm in Algorithm)
        raise invalid_parameter("algorithm", f"{name!r} is none of {known}") from error


def _show(txn: Transaction, name: str, key: Key, rebalance_job: str | None = None) -> Body:
    server = find_server(txn, key)
    jobs = pending_jobs(txn).get(server.id, 0)
    agents = [host.uuid for host in txn.hosts.on_server(server.id, HELD)]
    return single(
        name.lower(),
        MaintenanceAnswer(
            managementserverid=server.uuid,
            managementservername=server.name,
            state=server.state.value,
            maintenanceinitiated=server.state in _MAINTENANCE,
            shutdowntriggered=server.state in _SHUTDOWN,
            readyforshutdown=not jobs and not agents,
            pendingjobscount=Long(jobs),
            agentscount=Long(len(agents)),
            agents=agents,
            drain=show_drain(txn, txn.drains.get(server.id)),
            rebalancejobid=rebalance_job,
        ),
    )


COMMANDS = (
    _emptying(
        "prepareForMaintenance",
        "Prepares management server for maintenance: it takes no new jobs, ends those that it has, and its hosts are "
        "moved to the others. Called again, it goes on.",
        EmptyServer,
        lambda orders: orders.prepare_for_maintenance,
    ),
    Command(
        name="cancelMaintenance",
        description="Cancels maintenance of the management server, also while it is prepared.",
        arguments=CancelMaintenance,
        answer=MaintenanceAnswer,
        run=_cancel_maintenance,
        everywhere=True,
    ),
    _emptying(
        "prepareForShutdown",
        "Prepares the management server for a shutdown: it takes no new jobs, ends those that it has, and its hosts "
        "are moved to the others. Called again, it goes on.",
        ShutDownServer,
        lambda orders: orders.prepare_for_shutdown,
    ),
    _emptying(
        "triggerShutdown",
        "Shuts the management server down, once it has neither jobs nor hosts.",
        ShutDownServer,
        lambda orders: orders.trigger_shutdown,
    ),
    Command(
        name="cancelShutdown",
        description="Cancels a shutdown that was prepared and not triggered.",
        arguments=WhichServer,
        answer=MaintenanceAnswer,
        run=_cancel_shutdown,
        everywhere=True,
    ),
    Command(
        name="readyForShutdown",
        description="Tells whether a management server is ready to be shut down, and how far it is.",
        arguments=ReadyForShutdown,
        answer=MaintenanceAnswer,
        run=_ready_for_shutdown,
        reads=True,
    ),
    Command(
        name="removeManagementServer",
        description="Removes a management server that is Down.",
        arguments=RemoveServer,
        answer=Success,
        run=_remove,
        everywhere=True,
    ),
)
