"""How far a session has come, and what it asks of the agent that owns it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from agent.placement import Placement
from cloudlb.wire import Answer, Command, Opaque, PingCommand, StartupCommand

if TYPE_CHECKING:
    from agent.session import Session


class Phase(Enum):
    """How far a session has come."""

    CONNECTING = "connecting"
    """The handshake is under way."""
    STARTING = "starting"
    """StartupCommands were sent."""
    UP = "up"
    LEAVING = "leaving"
    """Another session has taken over, or the agent stops; what is under way here is still answered here."""
    OVER = "over"


class SessionOwner(Protocol):
    """The agent, as its sessions see it."""

    def startups(self, session: Session) -> Sequence[StartupCommand]:
        """What to introduce the host with."""

    def ping(self, session: Session) -> PingCommand:
        """The next ping; never fails."""

    def execute(
        self,
        contents: Sequence[Command | Answer | Opaque],
        *,
        sequence: int,
        in_sequence: bool,
        stop_on_error: bool,
    ) -> Deferred[list[Answer]]:
        """Carry out a request; never fails."""

    def unanswered(self) -> None:
        """A request has ended whose link is gone."""

    def acknowledged(self, session: Session, ids: Sequence[str]) -> None:
        """The server has heard of the end of commands."""

    def session_up(self, session: Session) -> None:
        """The server has admitted the host."""

    def placed(self, session: Session, placement: Placement) -> None:
        """The server has said where the agent should be."""

    def check_preferred(self) -> None:
        """The server wants the agent on the head of its list now."""

    def leave_server(self, session: Session) -> None:
        """The server wants the agent to move to another one of its list."""

    def session_busy(self, session: Session, seconds: int, servers: Sequence[str]) -> None:
        """The server has no room for this host now, and names the seconds after which to ask, and all the servers
        that it knows; session_over follows."""

    def session_refused(self, session: Session, reason: str) -> None:
        """The server will not have this host; session_over follows."""

    def stopped_by_server(self, session: Session, reason: str) -> None:
        """The server wants the agent gone; session_over follows."""

    def session_over(self, session: Session, reason: str) -> None:
        """The link is gone; told once."""
