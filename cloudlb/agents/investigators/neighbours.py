"""The hosts beside a host: those of its cluster that can be asked about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

from cloudlb.agents.errors import CommandError
from cloudlb.agents.investigation import Means
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host
from cloudlb.wire import Answer, Command, Opaque

MOST = 3
"""Neighbours that are asked: enough that one's own trouble does not decide, few enough for a dead switch's sake."""
PATIENCE = 0.9
"""The part of an investigator's time that neighbours have; the rest is for drawing conclusions from who has spoken."""


@frozen
class Said:
    """What became of the commands to one neighbour."""

    neighbour: Host
    answers: Sequence[Answer | Opaque]
    """One per command; none if it could not be asked, or did not answer in time."""

    @property
    def name(self) -> str:
        """The neighbour's."""
        return self.neighbour.facts.name


async def neighbours(means: Means, host: Host) -> list[Host]:
    """Up to :data:`MOST` Up hosts of the cluster whose agents are on the host's own server.

    Commands reach the agents of the server that sends them only, and it is the one that had the host that investigates.
    """
    if host.cluster is None:
        return []
    cluster = host.cluster.id
    found = await means.store.read(lambda txn: txn.hosts.in_cluster(cluster, HostStatus.UP))
    # A direct resource is in the server, not beside the host.
    beside = [each for each in found if each.id != host.id and each.server_id == host.server_id and not each.direct]
    # From the host on and round again, so that not the same three are asked about all the hosts that a cluster loses.
    beside.sort(key=lambda each: (each.id < host.id, each.id))
    return beside[:MOST]


def ask(
    means: Means,
    hosts: Sequence[Host],
    commands: Callable[[Host], Sequence[Command]],
    seconds: float,
    enough: Callable[[Said], bool] = lambda _: False,
) -> Deferred[list[Said]]:
    """Ask neighbours, all at the same time.

    Args:
        commands: what to ask each.
        seconds: how long the investigator may take.
        enough: whether what one has said makes the others' words needless.

    Returns:
        What they said, in the order in which it came; never fails, but may be cancelled.
    """
    heard: list[Said] = []
    over = False

    def end() -> None:
        nonlocal over
        over = True
        for each in asked:
            each.cancel()

    def hear(answers: Sequence[Answer | Opaque], host: Host) -> None:
        if over:
            return
        heard.append(Said(host, answers))
        if len(heard) == len(hosts) or enough(heard[-1]):
            end()
            result.callback(heard)

    def mute(failure: Failure) -> Sequence[Answer | Opaque]:
        failure.trap(CommandError, CancelledError, DeferredTimeout)  # type: ignore[no-untyped-call]  # Twisted has no types
        return ()

    result: Deferred[list[Said]] = Deferred(lambda _: end())
    asked: list[Deferred[None]] = []
    if not hosts:
        result.callback(heard)
    for host in hosts:
        if over:
            break
        sent = means.sender.send(host.id, commands(host), timeout=PATIENCE * seconds, stop_on_error=False)
        # Its time may be longer: what commands.timeout says of a command wins.
        sent.addTimeout(PATIENCE * seconds, means.reactor)
        asked.append(sent.addErrback(mute).addCallback(hear, host))
    return result
