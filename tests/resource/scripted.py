"""Resources that do what a test says, and commands and answers for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from cloudlb.resource.interface import Answer, Command, Opaque, PingCommand, ServerResource, StartupCommand
from cloudlb.wire import COMMAND_ID


@frozen(kw_only=True)
class UnregisteredAnswer(Answer):
    """A class that the wire has no name for."""


class Scripted(ServerResource):
    """Notes what it is asked and does what the test says."""

    def __init__(self, act: Callable[[Command | Opaque], Answer | Awaitable[Answer] | None]) -> None:
        self.seen: list[Command | Opaque] = []
        self._act = act

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Needs nothing."""

    def startup(self) -> Sequence[StartupCommand]:
        """Has nothing."""
        return [StartupCommand()]

    def ping(self, host_id: int) -> PingCommand:
        """Is well."""
        return PingCommand(host_id=host_id)

    def execute(self, command: Command | Opaque) -> Answer | Awaitable[Answer] | None:
        """Follow the script."""
        self.seen.append(command)
        return self._act(command)


class Blocking(Scripted):
    """The same, on threads."""

    blocking: ClassVar[bool] = True


def command(number: int, wait: int = 0) -> Opaque:
    """A command that a test tells from others."""
    return Opaque(f"com.example.Command{number}", {"wait": wait})


def identified(id_: str, wait: int = 0) -> Opaque:
    """A command that changes something."""
    return Opaque("com.example.Change", {"wait": wait, "contextMap": {COMMAND_ID: id_}})
