"""How a command can end without an answer. Each command ends once: with its answer, or with one of these."""

from __future__ import annotations

from collections.abc import Sequence

from cloudlb.wire import Command, Opaque


class CommandError(Exception):
    """The command has no answer; the message says why, and names the host."""


class AgentUnavailable(CommandError):
    """The host cannot be reached: it is unknown, not Up, forbidden the command by its resource state, its link closed.

    But for :class:`LinkLost` the command was not sent.
    """


class AgentBusy(AgentUnavailable):
    """Too much waits for the host already; the command was not sent."""


class NotSent(AgentUnavailable):
    """The session ended before the turn of the commands came; they may be sent on the next one."""

    def __init__(self, message: str, commands: Sequence[Command | Opaque]) -> None:
        super().__init__(message)
        self.commands = commands


class LinkLost(AgentUnavailable):
    """The link was lost after the command had been sent: whether it was carried out is not known."""

    def __init__(self, message: str, *, told_later: bool = True) -> None:
        super().__init__(message)
        self.told_later = told_later
        """The host's agent may tell on its next session, should the command be journalled."""


class AgentTimedOut(CommandError):
    """The agent did not answer in time, or an earlier in-sequence request kept the command from being sent."""


class CommandCancelled(CommandError):
    """Whoever sent the command has cancelled it."""


class BadAnswer(CommandError):
    """What came back does not parse or has not one answer to each command: what the host did is not known."""
