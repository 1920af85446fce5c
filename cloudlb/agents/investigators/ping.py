"""Neighbours ping the host."""

from __future__ import annotations

from cloudlb.agents.investigation import Case, Investigator, Means
from cloudlb.agents.investigators.icmp import unfit
from cloudlb.agents.investigators.neighbours import Said, ask, neighbours
from cloudlb.domain.models import Host
from cloudlb.domain.records import Verdict
from cloudlb.wire import Answer, PingTestCommand


class PingInvestigator(Investigator):
    """Up is whom a neighbour reaches. That none does says nothing: the network may have failed, not the host."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """See :class:`Investigator`."""
        address = case.host.facts.ip_address
        if (problem := unfit(address)) is not None:
            return Verdict.UNKNOWN, problem
        hosts = await neighbours(self._means, case.host, PingTestCommand)
        if not hosts:
            return Verdict.UNKNOWN, "it has no neighbour that is Up and may be asked"

        def commands(_: Host) -> list[PingTestCommand]:
            return [PingTestCommand(computing_host_ip=address, bypass_host_maintenance=True)]

        said = await ask(self._means, hosts, commands, case.seconds, _reaches)
        for each in said:
            if _reaches(each):
                return Verdict.UP, f"its neighbour {each.name} reaches {address}"
        answered = [each.name for each in said if each.answers]
        if not answered:
            return Verdict.UNKNOWN, f"none of {len(hosts)} neighbours could be asked"
        return Verdict.UNKNOWN, f"{', '.join(answered)} cannot reach {address}"


def _reaches(said: Said) -> bool:
    return any(isinstance(answer, Answer) and answer.result for answer in said.answers)
