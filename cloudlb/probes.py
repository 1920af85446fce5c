"""What a management server tells whoever probes it: whether its process works, and whether it does its work."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.resource import IResource

from cloudlb.agents.directory import Directory
from cloudlb.cluster.membership import Membership
from cloudlb.domain.server_state import ServerState
from cloudlb.metrics.pages import HealthPage, ReadyPage
from cloudlb.metrics.reactor_lag import ReactorLag


class Probes:
    """Asks the parts of one server."""

    def __init__(self, name: str, membership: Membership, directory: Directory, reactor_lag: ReactorLag) -> None:
        self._name = name
        self._membership = membership
        self._directory = directory
        self._reactor_lag = reactor_lag
        self.started = False
        """All of the server's parts work."""
        self.stopping = False

    def pages(self) -> Mapping[str, IResource]:
        """The pages by their names on the server's site."""
        return {"healthz": HealthPage(self._health), "readyz": ReadyPage(self._obstacle)}

    def _health(self) -> str:
        lag = self._reactor_lag.last
        return f"{self._name} works: the reactor was {lag:.3f} s late, and {len(self._directory)} hosts are here"

    def _obstacle(self) -> str | None:
        """Why this server does not do its work; None: it does."""
        if self.stopping:
            return "the server is stopping"
        if not self.started:
            return "the server is starting"
        if self._membership.database_away:
            return f"the database is away: no heartbeat for {self._membership.heartbeat_age:.1f} s"
        if self._membership.state is not ServerState.UP:
            return f"the server is {self._membership.state.value}"
        return None
