"""Management servers as answers show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, frozen

from cloudlb.api.schema import Date, Long, date, shown


@frozen(kw_only=True)
class PeerAnswer:
    """A management server as another one sees it."""

    state: str | None = shown("the state in which the management server sees its peer")
    lastupdated: Date | None = shown("when it saw its peer in this state for the first time")
    peerid: str | None = shown("the ID of the peer")
    peername: str | None = shown("the name of the peer")
    peermsid: str | None = shown("the number of the peer")
    peerrunid: str | None = shown("the run ID of the peer, as the management server has seen it")
    peerstate: str | None = shown("the state of the peer now, by its heartbeat")
    peerserviceip: str | None = shown("the address of the peer that agents connect to")
    peerserviceport: str | None = shown("the port of the peer that agents connect to")


@frozen(kw_only=True)
class ServerAnswer:
    """A management server."""

    id: str | None = shown("the ID of the management server")
    name: str | None = shown("the name of the management server")
    state: str | None = shown("the state of the management server")
    version: str | None = shown("the version of the management server")
    msid: Long | None = shown("the number of the management server", extension=True)
    ipaddress: str | None = shown("the address that agents connect to")
    serviceip: str | None = shown("the address that agents connect to")
    osdistribution: str | None = shown("the name of the OS distribution running on the management server")
    kernelversion: str | None = shown("the running OS kernel version for this Management Server")
    lastboottime: Date | None = shown("the last time the host on which this Management Server runs was booted")
    lastserverstart: Date | None = shown("the last time this Management Server was started")
    lastserverstop: Date | None = shown("the last time this Management Server was stopped")
    runid: Long | None = shown("grows with each start of the management server", extension=True)
    peers: list[dict[str, Any]] | None = shown("how the management server sees the others, with peers=true")
    agents: list[str] | None = shown("the host agents this Management Server is responsible for, by their IDs")
    lastagents: list[str] | None = shown("the host agents that were on this Management Server last, and are not Up")
    agentscount: Long | None = shown("the number of host agents this Management Server is responsible for")
    preferredcount: Long | None = shown(
        "with placement=true: how many of them prefer it, by the list that each should hold", extension=True
    )
    pendingjobscount: Long | None = shown("the number of pending jobs in this Management Server")
    drain: dict[str, Any] | None = shown(
        "its latest emptying: total, moved, left, failed, eta and more", extension=True
    )


@frozen(kw_only=True)
class ServerMetricsAnswer(ServerAnswer):
    """A management server, and what it has told of its machine and process; numbers that are sizes are bytes."""

    availableprocessors: int | None = shown("the number of processors available to the management server")
    agentcount: int | None = shown("the number of agents this Management Server is responsible for")
    heapmemoryused: Long | None = shown("the amount of memory used by this Management Server")
    heapmemorytotal: Long | None = shown("the amount of memory allocated to this Management Server")
    threadstotalcount: int | None = shown("the number of threads")
    systemmemorytotal: str | None = shown("total system memory")
    systemmemoryfree: str | None = shown("free system memory")
    systemmemoryvirtualsize: str | None = shown("virtual size of the fully loaded process")
    systemloadaverages: list[float] | None = shown("the load averages for 1, 5, and 15 minutes")
    systemcycleusage: list[int] | None = shown(
        "the system load for user, and system processes and the system idle cycles"
    )
    cpuload: str | None = shown("the current system load in percent, since the machine was booted")
    collectiontime: Date | None = shown("the time these statistics were collected")


def show_metrics(answer: ServerAnswer, report: Mapping[str, Any], with_system: bool) -> ServerMetricsAnswer:
    """A server with its report, or without what it tells of the machine."""
    shown_before = asdict(answer, recurse=False)
    if not with_system:
        return ServerMetricsAnswer(**shown_before, agentcount=answer.agentscount)
    cycles = report.get("cycles")
    return ServerMetricsAnswer(
        **shown_before,
        availableprocessors=report.get("processors"),
        agentcount=answer.agentscount,
        heapmemoryused=report.get("resident"),
        heapmemorytotal=report.get("virtual_size"),
        threadstotalcount=report.get("threads"),
        systemmemorytotal=_readable(report.get("memory")),
        systemmemoryfree=_readable(report.get("free_memory")),
        systemmemoryvirtualsize=_readable(report.get("virtual_size")),
        systemloadaverages=report.get("loads"),
        systemcycleusage=cycles,
        cpuload=None if not cycles else f"{100 * (cycles[0] + cycles[1]) / max(1, sum(cycles)):.2f} %",
        collectiontime=date(report.get("at")),
    )


def _readable(size: int | None) -> str | None:
    """Bytes as people read them."""
    return None if size is None else f"{size / 2**30:.2f} GB"
