"""What operators let hosts do: maintenance, Enable and Disable, Degraded, Unmanaged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from attrs import frozen

from cloudlb.agents.resource_states import CANCEL, CANCEL_DEGRADED, DECLARE_DEGRADED, PREPARE, NotPossible
from cloudlb.api.command import Body, Call, Command, started
from cloudlb.api.context import HostStates
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter, unknown_entity
from cloudlb.api.host_answer import HostAnswer
from cloudlb.api.hosts import find_host, host_body
from cloudlb.api.places import WITHOUT_EFFECT
from cloudlb.api.schema import Key, optional, required
from cloudlb.domain.models import HostId, Job
from cloudlb.domain.ports import NotFound, Transaction
from cloudlb.domain.resource_state import ResourceEvent, ResourceState

T = TypeVar("T")

ALLOCATION_STATES: Mapping[str, ResourceEvent] = {"Enable": ResourceEvent.ENABLE, "Disable": ResourceEvent.DISABLE}
MANAGED_STATES: Mapping[str, ResourceEvent] = {"Managed": ResourceEvent.MANAGE, "Unmanaged": ResourceEvent.UNMANAGE}
"""The values of CloudStack's updateCluster."""


@frozen(kw_only=True)
class WhichHost:
    """Which host."""

    id: Key = required("the host ID", related="listHosts")


@frozen(kw_only=True)
class UpdateHost:
    """What of a host is to be changed."""

    id: Key = required("the ID of the host to update", related="listHosts")
    allocationstate: str | None = optional("Enable or Disable: whether anything new is placed on the host")
    managedstate: str | None = optional(
        "Unmanaged: its resource is left alone, no command is sent to it; Managed: it is enabled again. "
        "CloudStack has it for whole clusters",
        extension=True,
    )
    hosttags: list[str] | None = optional("list of tags of the host, instead of those before", length=4096)
    istagarule: bool | None = optional("true if the tag is a rule: there are no rules here")
    annotation: str | None = optional("a remark about the host, instead of the one before; empty: none", length=4096)
    name: str | None = optional("the name of the host, which is what its agent says")
    url: str | None = optional(WITHOUT_EFFECT, length=2048)
    oscategoryid: Key | None = optional(WITHOUT_EFFECT)
    guestosrule: str | None = optional(WITHOUT_EFFECT)


async def _update_host(call: Call, arguments: UpdateHost) -> Body:
    allocation = _event("allocationstate", arguments.allocationstate, ALLOCATION_STATES)
    managed = _event("managedstate", arguments.managedstate, MANAGED_STATES)
    if allocation is not None and managed is not None:
        raise invalid_parameter("managedstate", "it cannot be changed together with allocationstate")
    host = await call.store.read(lambda txn: find_host(txn, arguments.id))
    if arguments.name not in (None, host.facts.name):
        raise invalid_parameter("name", f"a host is called as its agent says: {host.facts.name}")
    if arguments.istagarule:
        raise invalid_parameter("istagarule", "there are no rules here")
    event = allocation or managed
    # A host whose agent has yet to come is Enabled once that is there.
    if event is not None and (host.resource_state, event) != (ResourceState.CREATING, ResourceEvent.ENABLE):
        await _possible(call.context.resource_states.change(host.id, event, call.account.id), arguments.id)

    def work(txn: Transaction) -> Body:
        if arguments.hosttags is not None:
            txn.hosts.set_tags(host.id, arguments.hosttags)
        if arguments.annotation is not None:
            txn.hosts.annotate(host.id, arguments.annotation or None)
        return host_body(txn, arguments.id)

    return await call.store.run(work)


def _event(parameter: str, value: str | None, events: Mapping[str, ResourceEvent]) -> ResourceEvent | None:
    if value is None:
        return None
    if value not in events:
        raise invalid_parameter(parameter, f"{value!r} is none of {', '.join(events)}")
    return events[value]


async def _possible(change: Awaitable[T], key: Key) -> T:
    """Wait for a change, with the API's words for what stands in its way."""
    try:
        return await change
    except NotFound as error:
        raise unknown_entity("id", key) from error
    except NotPossible as error:
        raise ApiError(ErrorCode.PARAMETER, str(error)) from error


def _job_command(
    name: str, description: str, start: Callable[[HostStates, HostId, int], Awaitable[Job]]
) -> Command[WhichHost]:
    async def run(call: Call, arguments: WhichHost) -> Body:
        host = await call.store.read(lambda txn: find_host(txn, arguments.id))
        job = await _possible(start(call.context.resource_states, host.id, call.account.id), arguments.id)
        return started(job.uuid)

    return Command(name=name, description=description, arguments=WhichHost, answer=HostAnswer, run=run, is_async=True)


COMMANDS = (
    Command(
        name="updateHost", description="Updates a host.", arguments=UpdateHost, answer=HostAnswer, run=_update_host
    ),
    _job_command(
        PREPARE,
        "Prepares a host for maintenance; the job ends when no VM is left on it.",
        lambda states, host_id, account_id: states.prepare_for_maintenance(host_id, account_id),
    ),
    _job_command(
        CANCEL,
        "Cancels host maintenance.",
        lambda states, host_id, account_id: states.cancel_maintenance(host_id, account_id),
    ),
    _job_command(
        DECLARE_DEGRADED,
        "Declares a host that has lost its agent as degraded.",
        lambda states, host_id, account_id: states.declare_degraded(host_id, account_id),
    ),
    _job_command(
        CANCEL_DEGRADED,
        "Cancels that a host was declared as degraded.",
        lambda states, host_id, account_id: states.cancel_degraded(host_id, account_id),
    ),
)
