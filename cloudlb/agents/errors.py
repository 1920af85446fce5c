"""How a command can end without an answer. Each command ends once: with its answer, or with one of these."""

from __future__ import annotations


class CommandError(Exception):
    """The command has no answer; the message says why, and names the host."""


class AgentUnavailable(CommandError):
    """The host cannot be reached: it is unknown, not Up, forbidden the command by its resource state, its link closed.

    Whether a command that had been sent was carried out is not known, unless it is one of those that are journalled.
    """


class AgentBusy(AgentUnavailable):
    """Too much waits for the host already; the command was not sent."""


class AgentTimedOut(CommandError):
    """The agent did not answer in time."""


class CommandCancelled(CommandError):
    """Whoever sent the command has cancelled it."""
