"""How far the emptying of a management server is, as answers show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from cloudlb.api.schema import Date, Long, as_answer, date, shown
from cloudlb.domain.drains import Drain
from cloudlb.domain.ports import AmbiguousName, Transaction


@frozen(kw_only=True)
class FailedHost:
    """A host that could not be moved."""

    hostid: str | None = shown("the ID of the host")
    hostname: str | None = shown("the name of the host")
    reason: str | None = shown("why it is still there, or that it went and is Up nowhere")


@frozen(kw_only=True)
class DrainAnswer:
    """The latest emptying of a server."""

    algorithm: str | None = shown("the algorithm by which the hosts choose their new servers, if it was named")
    forced: bool | None = shown("true if the hosts that are left when the time is over are disconnected")
    timeout: Long | None = shown("the seconds that it has")
    started: Date | None = shown("when it began; none: not yet")
    ended: Date | None = shown("when it ended; none: not yet")
    end: str | None = shown("how it ended: done, timed out, forced, cancelled or stopped")
    total: Long | None = shown("the number of hosts that were to be moved")
    moved: Long | None = shown("the number of hosts that are Up on another server")
    left: Long | None = shown("the number of hosts that the server still has")
    jobs: Long | None = shown("the number of jobs that the server still has to end")
    eta: Long | None = shown("the seconds until the last host will have gone, as things look; none: unknown")
    note: str | None = shown("why it does not go on, where it waits for something")
    failed: list[dict[str, Any]] | None = shown("hosts that could not be moved: hostid, hostname and reason")


def show_drain(txn: Transaction, drain: Drain | None) -> dict[str, Any] | None:
    """A drain as answers show it; None if there never was one."""
    if drain is None:
        return None
    return as_answer(
        DrainAnswer(
            algorithm=None if drain.algorithm is None else drain.algorithm.value,
            forced=drain.forced,
            timeout=Long(round(drain.timeout)),
            started=date(drain.started),
            ended=date(drain.ended),
            end=None if drain.end is None else drain.end.value,
            total=Long(drain.total),
            moved=Long(drain.moved),
            left=Long(drain.left),
            jobs=Long(drain.jobs),
            eta=None if drain.eta is None else Long(round(drain.eta)),
            note=drain.note,
            failed=[as_answer(host) for host in _failed(txn, drain)],
        )
    )


def _failed(txn: Transaction, drain: Drain) -> Iterator[FailedHost]:
    for uuid, reason in drain.failed.items():
        try:
            host = txn.hosts.find(uuid)
        except AmbiguousName:
            host = None
        yield FailedHost(hostid=uuid, hostname=None if host is None else host.facts.name, reason=reason)
