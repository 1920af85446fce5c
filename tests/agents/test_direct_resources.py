"""Starting resources inside the server: what fails or hangs is told as a reason, and let go of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.direct_resources import TIMEOUT, CannotLoad, Loaded, Loader
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import DirectResource, Host, HostFacts, HostId, Session, Zone, ZoneId
from cloudlb.domain.resource_state import ResourceState
from cloudlb.resource.interface import (
    Answer,
    Command,
    InvalidProperty,
    Opaque,
    PingCommand,
    ServerResource,
    StartupCommand,
    StartupRoutingCommand,
)
from cloudlb.resource.loading import SIMULATOR

T = TypeVar("T")

HOST = Host(
    id=HostId(3),
    uuid="u",
    facts=HostFacts(guid="g-Quiet", name="host-3", type="Routing"),
    zone=Zone(id=ZoneId(1), uuid="z", name="zone"),
    pod=None,
    cluster=None,
    status=HostStatus.CREATING,
    resource_state=ResourceState.CREATING,
    server_id=None,
    session=Session(0),
    created=0.0,
    last_heard=None,
    disconnected=None,
    removed=None,
)


class Quiet(ServerResource):
    """Keeps what is done to it."""

    done: ClassVar[list[str]] = []

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Take the properties."""
        self.done.append("configured")
        if "bad" in properties:
            raise InvalidProperty(f"bad={properties['bad']}: not good")

    def startup(self) -> Sequence[StartupCommand]:
        """A host."""
        self.done.append("started")
        return [StartupRoutingCommand()]

    def ping(self, host_id: int) -> PingCommand:
        """Never called here."""
        raise AssertionError

    def execute(self, command: Command | Opaque) -> Answer | None:
        """Never called here."""
        raise AssertionError

    def close(self) -> None:
        """Note it."""
        self.done.append("closed")


class Blocking(Quiet):
    """May block."""

    blocking = True


class Mute(Quiet):
    """Says nothing of its host."""

    def startup(self) -> Sequence[StartupCommand]:
        """Nothing."""
        return []


class Broken(Quiet):
    """Fails, also at the end."""

    def startup(self) -> Sequence[StartupCommand]:
        """Fail."""
        raise ZeroDivisionError("division by zero")

    def close(self) -> None:
        """Fail."""
        raise RuntimeError


class SlowThreads:
    """A thread on which work is done when the test says so."""

    def __init__(self) -> None:
        self.work: list[Callable[[], object]] = []
        self.stopped = False

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Queue it."""
        result: Deferred[Any] = Deferred()
        self.work.append(lambda: maybeDeferred(work).chainDeferred(result))
        return result

    def stop(self) -> None:
        """Take no more."""
        self.stopped = True

    def step(self) -> None:
        """Do the next piece of work."""
        self.work.pop(0)()


class LoaderTests(SynchronousTestCase):
    """One host, whose resource is loaded."""

    def setUp(self) -> None:
        """A thread under control."""
        Quiet.done.clear()
        self.clock = Clock()
        self.threads = SlowThreads()
        self.names: list[str] = []
        self.loader = Loader(self.clock, self.make)

    def make(self, name: str) -> SlowThreads:
        """The threads of a resource."""
        self.names.append(name)
        return self.threads

    def load(self, resource: str, **properties: str) -> Deferred[Loaded]:
        """Begin to load a class of this module."""
        host = evolve(HOST, direct=DirectResource(resource=resource, properties=properties))
        return Deferred.fromCoroutine(self.loader.load(host))

    def own(self, kind: type[ServerResource], **properties: str) -> Deferred[Loaded]:
        """Begin to load a class of this module."""
        return self.load(f"{__name__}.{kind.__name__}", **properties)

    def reason(self, loading: Deferred[Loaded]) -> str:
        """Why a resource was not loaded."""
        return str(self.failureResultOf(loading, CannotLoad).value)

    def test_not_blocking(self) -> None:
        """Imported on a thread, which is let go of; started right here."""
        loading = self.own(Quiet)
        self.assertNoResult(loading)
        self.threads.step()
        loaded = self.successResultOf(loading)
        self.assertEqual([StartupRoutingCommand()], loaded.startups)
        self.assertEqual((None, True), (loaded.threads, self.threads.stopped))
        self.assertIn("host-3", self.names[0])
        loaded.close()
        self.assertEqual(["configured", "started", "closed"], Quiet.done)

    def test_blocking(self) -> None:
        """Imported, started and closed on its thread."""
        loading = self.own(Blocking)
        self.threads.step()
        self.assertEqual([], Quiet.done)
        self.threads.step()
        loaded = self.successResultOf(loading)
        loaded.close()
        self.assertNotIn("closed", Quiet.done)
        self.threads.step()
        self.assertEqual((["configured", "started", "closed"], True), (Quiet.done, self.threads.stopped))

    def test_what_cannot_be_loaded(self) -> None:
        """Each with its reason; nothing stays behind."""
        for resource, properties, reason in (
            ("nowhere.Nothing", {}, "nowhere.Nothing"),
            ("pathlib.Path", {}, "pathlib.Path is no ServerResource"),
            (f"{__name__}.Quiet", {"bad": "7"}, "bad=7: not good"),
            (f"{__name__}.Mute", {}, "no StartupCommands"),
            (f"{__name__}.Broken", {}, "ZeroDivisionError: division by zero"),
            (SIMULATOR, {"simulator.delay": "x"}, "simulator.delay"),
        ):
            self.threads = SlowThreads()
            loading = self.load(resource, **properties)
            self.threads.step()
            self.assertIn(reason, self.reason(loading))
            self.assertEqual((True, set(), []), (self.threads.stopped, self.loader.stuck, self.clock.getDelayedCalls()))
        # That it cannot even be closed is logged.
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_closed_after_a_failure(self) -> None:
        """A resource that was configured may hold something; one that refused its properties holds nothing."""
        for kind, done in ((Mute, ["configured", "closed"]), (Quiet, ["configured"])):
            Quiet.done.clear()
            loading = self.own(kind, **({} if kind is Mute else {"bad": "7"}))
            self.threads.step()
            self.reason(loading)
            self.assertEqual(done, Quiet.done)

    def test_import_hangs(self) -> None:
        """It is given up in time, and the host counts as stuck until the thread is free."""
        loading = self.own(Quiet)
        self.clock.advance(TIMEOUT)
        self.assertIn("imported", self.reason(loading))
        self.assertEqual({HOST.id}, self.loader.stuck)
        self.threads.step()
        self.assertEqual((set(), []), (self.loader.stuck, Quiet.done))

    def test_start_hangs(self) -> None:
        """The same; and when it returns at last, it is closed."""
        loading = self.own(Blocking)
        self.threads.step()
        self.clock.advance(TIMEOUT)
        self.assertIn("start", self.reason(loading))
        self.assertEqual({HOST.id}, self.loader.stuck)
        self.assertFalse(self.threads.stopped)
        self.threads.step()
        self.threads.step()
        self.assertEqual((set(), ["configured", "started", "closed"]), (self.loader.stuck, Quiet.done))
        self.assertTrue(self.threads.stopped)

    def test_cancelled(self) -> None:
        """When the server stops nothing stays behind."""
        loading = self.own(Blocking)
        self.threads.step()
        loading.cancel()
        self.failureResultOf(loading)
        self.threads.step()
        self.threads.step()
        self.assertEqual((["configured", "started", "closed"], True), (Quiet.done, self.threads.stopped))
        self.assertEqual([], self.clock.getDelayedCalls())
