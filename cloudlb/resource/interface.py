"""What a host can do. The one module that the author of a resource imports.

A resource describes its host, takes commands and returns answers. It knows neither network nor database, nor which
server the host is on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from typing import ClassVar

from twisted.internet.interfaces import IReactorTime

from cloudlb.wire import (
    COMMAND_ID,
    LOGGING_CONTEXT,
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    CheckNetworkAnswer,
    CheckNetworkCommand,
    CheckOnHostAnswer,
    CheckOnHostCommand,
    Command,
    GetHostStatsAnswer,
    GetHostStatsCommand,
    HostAddresses,
    HostNetwork,
    HostStats,
    HostVmState,
    MaintainAnswer,
    MaintainCommand,
    Opaque,
    PingCommand,
    PingRoutingCommand,
    PingStorageCommand,
    PingTestCommand,
    StartupCommand,
    StartupRoutingCommand,
    StartupStorageCommand,
    UnsupportedAnswer,
    context_of,
)

__all__ = [
    "COMMAND_ID",
    "LOGGING_CONTEXT",
    "Answer",
    "CheckHealthAnswer",
    "CheckHealthCommand",
    "CheckNetworkAnswer",
    "CheckNetworkCommand",
    "CheckOnHostAnswer",
    "CheckOnHostCommand",
    "Command",
    "GetHostStatsAnswer",
    "GetHostStatsCommand",
    "HostAddresses",
    "HostNetwork",
    "HostStats",
    "HostVmState",
    "InvalidProperty",
    "MaintainAnswer",
    "MaintainCommand",
    "Opaque",
    "PingCommand",
    "PingRoutingCommand",
    "PingStorageCommand",
    "PingTestCommand",
    "ServerResource",
    "StartupCommand",
    "StartupRoutingCommand",
    "StartupStorageCommand",
    "UnsupportedAnswer",
    "context_of",
]


class InvalidProperty(ValueError):
    """A property holds what the resource cannot use; the message names the property."""


class ServerResource(ABC):
    """A host's resource [ServerResource]."""

    blocking: ClassVar[bool] = False
    """True: :meth:`execute` may block, and runs on the resource's own threads, several at a time."""

    @abstractmethod
    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Take what stands in agent.properties, and the clock to tell time by; called once, before anything else.

        Raises:
            InvalidProperty: the agent does not start.
        """

    @abstractmethod
    def startup(self) -> Sequence[StartupCommand]:
        """Say what the host is and has, the host's own command first; called for each new connection.

        What is the agent's business is filled in by the agent: guid, name, place, version and list of servers.
        """

    @abstractmethod
    def ping(self, host_id: int) -> PingCommand:
        """Say how the host is. Must not block."""

    @abstractmethod
    def execute(self, command: Command | Opaque) -> Answer | Awaitable[Answer] | None:
        """Carry out a command.

        Whatever it raises becomes a failed Answer with the error's text. An awaitable may be cancelled when the
        sender's time is up; a blocking call cannot be, and runs on to its end.

        Returns:
            The answer, or None: a resource of this kind does not know the command.
        """

    def close(self) -> None:  # noqa: B027 - most resources hold nothing
        """Let go of everything; called once, at the end."""
