"""Evening out how many hosts each management server has, by command."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, started
from cloudlb.api.schema import Long, shown
from cloudlb.cluster.rebalancer import REBALANCE


@frozen(kw_only=True)
class NoArguments:
    """It takes nothing."""


@frozen(kw_only=True)
class RebalanceAnswer:
    """What the job says under `rebalance`, while it runs and when it has ended."""

    planned: Long | None = shown("the number of hosts that were to be moved")
    moved: Long | None = shown("the number of hosts that have moved")
    stayed: Long | None = shown("the number of hosts that were to be moved, and are where they were")
    failed: Long | None = shown("the number of hosts that left and were not heard of since")
    left: Long | None = shown("the number of hosts that are still to be moved")
    stay: list[dict[str, Any]] | None = shown("why other hosts are not to be moved: reason and count")
    note: list[str] | None = shown("what else there is to know about the plan")


async def _rebalance(call: Call, arguments: NoArguments) -> Body:
    job = await call.context.rebalancer.request(call.account.id)
    return started(job.uuid)


COMMANDS = (
    Command(
        name=REBALANCE,
        description="Evens out now how many hosts the management servers have, as `plan` shows it; the job ends when "
        "every move has ended.",
        arguments=NoArguments,
        answer=RebalanceAnswer,
        run=_rebalance,
        is_async=True,
        extension=True,
    ),
)
