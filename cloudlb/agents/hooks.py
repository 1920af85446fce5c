"""What other parts of a cloud attach to: they are told what becomes of hosts and commands.

A hook is an instance of a subclass of :class:`Hook`, given to the server in code or registered under the entry point
group ``cloudlb.hooks`` (a callable that returns one). Hooks do not know of each other: one that raises is logged and
stops nobody. Only :class:`Refuse`, raised by ``about_to_connect``, has a meaning: the agent is refused.

All calls are made on the reactor's thread and must not block; what a hook returns, a coroutine too, is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from inspect import iscoroutine

from twisted.logger import Logger

from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostFacts, HostId
from cloudlb.net.spawn import spawn
from cloudlb.wire import Answer, Command, Opaque

ENTRY_POINTS = "cloudlb.hooks"


class Refuse(Exception):
    """Raised by a hook whose word counts: this agent is not admitted, for the reason in the message."""


class Hook:
    """Base class; every method does nothing."""

    def about_to_connect(self, facts: HostFacts) -> object:
        """An agent has introduced itself. May raise :class:`Refuse`."""

    def connected(self, host: Host) -> object:
        """The host is Up on this server: told once for each session of it.

        Where a session takes a host over that was Up all along, no ``disconnected`` was told before.
        """

    def disconnected(self, host: Host, status: HostStatus) -> object:
        """The host has lost its agent here, and this is its status now; Down is where high availability begins."""

    def host_added(self, host: Host) -> object:
        """A host has its row: an operator added it, or its agent came for the first time."""

    def about_to_be_removed(self, host: Host) -> object:
        """An operator deletes the host."""

    def removed(self, host: Host) -> object:
        """The host is deleted."""

    def commands_seen(self, host_id: HostId, commands: Sequence[Command | Opaque]) -> object:
        """Commands go to a host. Their repr holds no secrets, their fields may."""

    def answers_seen(self, host_id: HostId, answers: Sequence[Answer | Opaque]) -> object:
        """Answers came from a host."""

    def timed_out(self, host_id: HostId, commands: Sequence[Command | Opaque]) -> object:
        """A host did not answer these in time."""


class Hooks:
    """All hooks of one server."""

    _log = Logger()

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = list(hooks)

    @property
    def watch_time_outs(self) -> bool:
        """Whether any is told of time-outs, for which the commands have to be kept."""
        return any(type(hook).timed_out is not Hook.timed_out for hook in self._hooks)

    def add(self, hook: Hook) -> None:
        """Tell a hook, too, from now on."""
        self._hooks.append(hook)

    def load(self) -> None:
        """Add those of the entry points; one that cannot be made is logged."""
        for entry in entry_points(group=ENTRY_POINTS):
            try:
                self.add(entry.load()())
            except Exception:  # noqa: BLE001 - foreign code, whatever it raises
                self._log.failure("The hook {name} cannot be loaded", name=entry.name)

    def refusal(self, facts: HostFacts) -> str | None:
        """Ask all whether an agent may connect; why not, if one of them refuses it."""
        for hook in self._hooks:
            try:
                self._see_through(hook, hook.about_to_connect(facts))
            except Refuse as refusal:
                return str(refusal)
            except Exception:  # noqa: BLE001 - foreign code, whatever it raises
                self._failed(hook)
        return None

    def tell(self, what: Callable[[Hook], object]) -> None:
        """Tell all: ``hooks.tell(lambda hook: hook.connected(host))``."""
        for hook in self._hooks:
            try:
                self._see_through(hook, what(hook))
            except Exception:  # noqa: BLE001 - foreign code, whatever it raises
                self._failed(hook)

    def _see_through(self, hook: Hook, returned: object) -> None:
        if iscoroutine(returned):
            spawn(returned, self._log, f"run the hook {type(hook).__qualname__}")

    def _failed(self, hook: Hook) -> None:
        self._log.failure("The hook {hook} failed", hook=type(hook).__qualname__)
