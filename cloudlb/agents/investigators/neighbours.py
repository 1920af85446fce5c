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
from cloudlb.domain.models import Host, ServerId
from cloudlb.domain.permissions import refusal
from cloudlb.domain.ports import Transaction
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


async def neighbours(means: Means, host: Host, command: type[Command]) -> list[Host]:
    """Up to :data:`MOST` Up hosts of the cluster that may be sent a command, those of this server first.

    Those of other live servers are asked through these, which takes longer; what a dead one had is as lost as the host.
    """
    if host.cluster is None:
        return []
    cluster, own = host.cluster.id, means.server_id()

    def find(txn: Transaction) -> tuple[list[Host], set[ServerId | None]]:
        live = {server.id for server in txn.servers.all() if server.alive}
        return txn.hosts.in_cluster(cluster, HostStatus.UP), {own, *live}

    found, servers = await means.store.read(find)
    # A direct resource is in the server, not beside the host.
    beside = [each for each in found if each.id != host.id and each.server_id in servers and not each.direct]
    willing = [each for each in beside if refusal(command.__name__, each.resource_state, bypass=True) is None]
    # From the host on and round again, so that not the same three are asked about all the hosts that a cluster loses.
    willing.sort(key=lambda each: (each.server_id != own, each.id < host.id, each.id))
    return willing[:MOST]


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
