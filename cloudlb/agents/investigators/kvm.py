"""Neighbours look for the sign of life that the host's agent leaves on the storage which they share."""

from __future__ import annotations

from cloudlb.agents.investigation import Case, Investigator, Means
from cloudlb.agents.investigators.neighbours import Said, ask, neighbours
from cloudlb.domain.models import Host
from cloudlb.domain.records import Verdict
from cloudlb.wire import Answer, CheckOnHostAnswer, CheckOnHostCommand, HostAddresses, HostNetwork, Opaque

HYPERVISORS = ("KVM", "LXC")
"""Whose agents leave such a sign [KVMInvestigator]."""


class KVMInvestigator(Investigator):
    """Down is whose sign of life the neighbours miss, Up whose they see.

    The word of a neighbour counts only if it sees its own sign of life: CloudStack's agent says of every host that its
    heart is not beating when it has no storage to look on. Where neighbours disagree, nobody knows.

    It is the agent that leaves the sign. A host whose agent alone has died looks Down here, so let those be asked
    first who see the machine itself (IcmpInvestigator, PingInvestigator).
    """

    def __init__(self, means: Means) -> None:
        self._means = means

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """See :class:`Investigator`."""
        if case.host.facts.hypervisor not in HYPERVISORS:
            return Verdict.UNKNOWN, f"its hypervisor is not one of {', '.join(HYPERVISORS)}"
        hosts = await neighbours(self._means, case.host, CheckOnHostCommand)
        if not hosts:
            return Verdict.UNKNOWN, "it has no neighbour that is Up and may be asked"

        def commands(neighbour: Host) -> list[CheckOnHostCommand]:
            return [_look_for(neighbour), _look_for(case.host)]

        said = await ask(self._means, hosts, commands, case.seconds)
        words = {each.name: word for each in said if (word := _word(each)) is not None}
        see = [name for name, alive in words.items() if alive]
        miss = [name for name, alive in words.items() if not alive]
        if see and miss:
            return Verdict.UNKNOWN, f"{', '.join(see)} see its heartbeat, {', '.join(miss)} do not"
        if see:
            return Verdict.UP, f"its heartbeat is seen by {', '.join(see)}"
        if miss:
            return Verdict.DOWN, f"its heartbeat has stopped, as {', '.join(miss)} can tell, whose own is there"
        return Verdict.UNKNOWN, f"none of {len(hosts)} neighbours could look for its heartbeat"


def _look_for(host: Host) -> CheckOnHostCommand:
    network = HostNetwork(ip=host.facts.ip_address or None)
    addresses = HostAddresses(guid=host.facts.guid, private_network=network)
    return CheckOnHostCommand(host=addresses, bypass_host_maintenance=True)


def _word(said: Said) -> bool | None:
    """Whether a neighbour sees the host's sign of life; None: it cannot see anybody's."""
    if len(said.answers) != 2:
        return None
    own, other = map(_sees, said.answers)
    return other if own else None


def _sees(answer: Answer | Opaque) -> bool | None:
    # Older agents of CloudStack's send a bare Answer, of which a failure cannot be told from a heartbeat that is seen.
    if isinstance(answer, CheckOnHostAnswer) and answer.determined:
        return answer.alive
    return None
