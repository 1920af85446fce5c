"""Starting a resource inside the server, so that one that fails or hangs is nobody else's trouble.

    import the module -> make the resource -> configure -> startup

The first step runs on a thread always. The others, and everything later, run there too if the resource says that it
may block; one that says it does not is believed, and is called on the reactor's thread, where it may use the clock.
What has not returned in time is given up: its thread is lost until it returns, and its host is not tried before that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.domain.models import DirectResource, Host, HostId
from cloudlb.resource.interface import InvalidProperty, ServerResource, StartupCommand
from cloudlb.resource.loading import UnknownResource, load_resource
from cloudlb.resource.threads import Threads

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds that a resource has to be imported, and again to start."""


class CannotLoad(Exception):
    """A host's resource does not start; the message says why."""


@frozen
class Loaded:
    """A resource that has started."""

    resource: ServerResource
    threads: Threads | None
    """Of a resource that may block."""
    startups: Sequence[StartupCommand] = ()
    """What it says of its host."""

    def close(self) -> None:
        """Let go of it. May be called only once."""
        if self.threads is None:
            _close(self.resource)
        else:
            self.threads.run(partial(_close, self.resource))
            self.threads.stop()

    def close_after(self, start: object) -> None:
        """Let go of it after a start that nobody wants any more, or that failed and so left only threads."""
        if not isinstance(start, Failure):
            self.close()
        elif self.threads is not None:
            self.threads.stop()


class Loader:
    """Starts resources."""

    def __init__(self, clock: IReactorTime, threads: Callable[[str], Threads]) -> None:
        """Prepare.

        Args:
            clock: for the deadlines, and for the resources.
            threads: makes the threads of one resource, given a name for them.
        """
        self._clock = clock
        self._threads = threads
        self.stuck: set[HostId] = set()
        """Hosts whose last attempt has not returned yet."""

    async def load(self, host: Host) -> Loaded:
        """Start the resource of a direct host.

        Raises:
            CannotLoad: it does not start.
        """
        direct = host.direct
        assert direct is not None
        threads = self._threads(f"resource of {host.facts.name}")
        imported = threads.run(partial(load_resource, direct.resource))
        resource = await self._within(host.id, "be imported", imported, lambda _: threads.stop())
        if resource.blocking:
            loaded = Loaded(resource, threads)
            starting = threads.run(partial(self._start, resource, direct))
        else:
            threads.stop()
            loaded = Loaded(resource, None)
            starting = maybeDeferred(self._start, resource, direct)
        startups = await self._within(host.id, "start", starting, loaded.close_after)
        return evolve(loaded, startups=startups)

    def _start(self, resource: ServerResource, direct: DirectResource) -> Sequence[StartupCommand]:
        resource.configure(direct.properties, self._clock)
        try:
            return _startups(resource)
        except BaseException:
            _close(resource)
            raise

    async def _within(self, host_id: HostId, what: str, call: Deferred[T], undo: Callable[[T | Failure], None]) -> T:
        """Wait for a call, not longer than it may take; one that fails, or returns when nobody waits, is undone."""
        result: Deferred[T] = Deferred()
        self.stuck.add(host_id)

        def returned(value: T | Failure) -> None:
            self.stuck.discard(host_id)
            if result.called or isinstance(value, Failure):
                undo(value)
            if not result.called:
                result.callback(value)

        call.addBoth(returned)
        result.addTimeout(TIMEOUT, self._clock)
        try:
            return await result
        except (CancelledError, CannotLoad):
            raise
        except DeferredTimeout:
            raise CannotLoad(f"the resource took more than {TIMEOUT:g} s to {what}") from None
        except (UnknownResource, InvalidProperty) as error:
            raise CannotLoad(str(error)) from error
        except (Exception, SystemExit) as error:  # foreign code, whatever it raises
            raise CannotLoad(f"the resource failed to {what}: {type(error).__name__}: {error}") from error


def _startups(resource: ServerResource) -> Sequence[StartupCommand]:
    startups = list(resource.startup())
    if not startups or not all(isinstance(command, StartupCommand) for command in startups):
        raise CannotLoad("startup() returns no StartupCommands")
    return startups


_log = Logger()


def _close(resource: ServerResource) -> None:
    try:
        resource.close()
    except Exception:  # noqa: BLE001 - as above
        _log.failure("{resource} cannot be closed", resource=type(resource).__qualname__)
