"""Who would be moved to another server: as things are, or after a change of settings that nobody has made yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, has_keyword, page_of, single
from cloudlb.api.errors import invalid_parameter
from cloudlb.api.schema import Long, as_answer, optional, shown
from cloudlb.api.settings import VALUE_LENGTH
from cloudlb.cluster.planning import Picture, picture, plan_moves, sends_agents
from cloudlb.domain.models import HostId, Server
from cloudlb.domain.ports import Transaction
from cloudlb.domain.rebalancing import Plan, Share
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_WEIGHTS, InvalidSetting, check_value

_SETTINGS = {"host": HOST, "algorithm": LB_ALGORITHM, "weights": LB_WEIGHTS}
"""By parameter, the setting that it stands for."""


@frozen(kw_only=True)
class ServerShare:
    """A server's part in a plan."""

    name: str | None = shown("the name of the management server, if there is one of the address")
    address: str | None = shown("the address, as `host` has it")
    state: str | None = shown("the state of the management server")
    listed: bool | None = shown("true if the address is in `host`")
    weight: Long | None = shown("the weight of the management server")
    before: Long | None = shown("the number of hosts that are Up on it")
    after: Long | None = shown("the number of hosts that would be Up on it after all moves")
    average: Long | None = shown("the number that it would have if hosts were spread by weight alone, rounded")


@frozen(kw_only=True)
class PlannedMove:
    """A host that would be moved."""

    hostid: str | None = shown("the ID of the host")
    hostname: str | None = shown("the name of the host")
    source: str | None = shown("the address of the management server that it is on")
    target: str | None = shown("the address of the management server that it would be moved to")


@frozen(kw_only=True)
class StayingHosts:
    """Hosts that would not be moved."""

    reason: str | None = shown("why they would not be moved")
    count: Long | None = shown("how many they are")


@frozen(kw_only=True)
class PlanAnswer:
    """A plan."""

    count: Long | None = shown("the number of moves")
    server: list[dict[str, Any]] | None = shown("the management servers: name, address, state, before, after and more")
    move: list[dict[str, Any]] | None = shown("hostid, hostname, source and target, in the order of the moves")
    stay: list[dict[str, Any]] | None = shown("why other hosts would not be moved: reason and count")
    note: list[str] | None = shown("what else there is to know about the plan")


@frozen(kw_only=True)
class PlanArguments(ListArguments):
    """The settings that are tried; none: as things are."""

    host: str | None = optional("`host` as it would be", length=VALUE_LENGTH)
    algorithm: str | None = optional("`indirect.agent.lb.algorithm` as it would be")
    weights: str | None = optional("`indirect.agent.lb.weights` as it would be", length=VALUE_LENGTH)


async def _plan(call: Call, arguments: PlanArguments) -> Body:
    tried = dict(_tried(arguments))
    offset, limit = page_of(arguments)

    def work(txn: Transaction) -> Body:
        in_force = txn.settings.load()
        settings = evolve(in_force, stored={**in_force.stored, **tried})
        seen = picture(txn.servers.all(), settings)
        planned = plan_moves(txn, seen, new_lists=sends_agents(in_force, settings))
        names = txn.hosts.names([move.host_id for move in planned.moves])
        return single("plan", _show(planned, seen, names, arguments, offset, limit))

    return await call.store.read(work)


def _tried(arguments: PlanArguments) -> Iterator[tuple[str, str]]:
    for parameter, name in _SETTINGS.items():
        value = getattr(arguments, parameter)
        if value is not None:
            try:
                yield name, check_value(name, value)
            except InvalidSetting as error:
                raise invalid_parameter(parameter, str(error)) from error


def _show(
    planned: Plan,
    seen: Picture,
    names: Mapping[HostId, tuple[str, str]],
    arguments: PlanArguments,
    offset: int,
    limit: int | None,
) -> PlanAnswer:
    moves = [(move, *names[move.host_id]) for move in planned.moves]
    moves = [one for one in moves if has_keyword(one[2], arguments)]
    page = moves[offset:] if limit is None else moves[offset : offset + limit]
    stays = Counter(planned.stays.values())
    return PlanAnswer(
        count=Long(len(moves)),
        server=[
            as_answer(_show_share(share, row)) for share, (_, row) in zip(planned.shares, seen.servers, strict=True)
        ],
        move=[
            as_answer(PlannedMove(hostid=uuid, hostname=name, source=move.source, target=move.target))
            for move, uuid, name in page
        ],
        stay=[as_answer(StayingHosts(reason=stay.value, count=Long(count))) for stay, count in stays.most_common()],
        note=list(planned.notes),
    )


def _show_share(share: Share, row: Server | None) -> ServerShare:
    return ServerShare(
        name=None if row is None else row.name,
        address=share.server.address,
        state=None if row is None else row.state.value,
        listed=share.server.listed,
        weight=Long(share.server.weight),
        before=Long(share.before),
        after=Long(share.after),
        average=Long(round(share.average)),
    )


COMMANDS = (
    Command(
        name="plan",
        description="Tells which hosts would be moved to which management server, as things are or after a change of "
        "settings, and moves none.",
        arguments=PlanArguments,
        answer=PlanAnswer,
        run=_plan,
        reads=True,
        extension=True,
    ),
)
