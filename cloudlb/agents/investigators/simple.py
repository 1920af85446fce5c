"""The agent itself is asked, on its link, and the other servers, whether they have it."""

from __future__ import annotations

from cloudlb.agents.errors import CommandError
from cloudlb.agents.investigation import Case, Investigator, Means
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import Verdict
from cloudlb.wire import Answer, CheckHealthCommand


class SimpleInvestigator(Investigator):
    """Up is who answers CheckHealthCommand, or has come to another server.

    The other servers are asked through the database: whoever admits a host counts its session up in the host's row,
    so a newer session than the one that was lost is another server's word, or this one's, that the agent is there.
    """

    def __init__(self, means: Means) -> None:
        self._store = means.store

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """See :class:`Investigator`."""
        if (elsewhere := await self._store.read(lambda txn: _elsewhere(txn, case.host))) is not None:
            return Verdict.UP, elsewhere
        if case.attache is None or not case.attache.connected:
            return Verdict.UNKNOWN, "its link is gone, and it has not come to any server"
        command = CheckHealthCommand(bypass_host_maintenance=True)
        try:
            (answer,) = await case.attache.send([command], timeout=case.seconds)
        except CommandError as error:
            return Verdict.UNKNOWN, str(error)
        if isinstance(answer, Answer) and answer.result:
            return Verdict.UP, "its agent answers CheckHealthCommand"
        details = answer.details if isinstance(answer, Answer) else None
        return Verdict.UNKNOWN, f"its agent says that the host is not well: {details or 'without a reason'}"


def _elsewhere(txn: Transaction, host: Host) -> str | None:
    row = txn.hosts.get(host.id)
    if row is None or row.session <= host.session or row.status is not HostStatus.UP:
        return None
    server = next((server.name for server in txn.servers.all() if server.id == row.server_id), "a server")
    return f"its agent has come to {server} (session {row.session})"
