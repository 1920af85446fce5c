"""Hooks: each is told everything, none can harm the others, and one may refuse an agent."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.hooks import Hook, Hooks, Refuse
from cloudlb.domain.models import HostFacts, HostId

FACTS = HostFacts(guid="g-SimulatorResource", name="host-1", type="Routing")
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "hooks.md"


class Recorder(Hook):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def about_to_connect(self, facts: HostFacts) -> None:
        """Keep the name."""
        self.told.append(facts.name)

    def timed_out(self, host_id: HostId, commands: object) -> None:
        """Keep the host."""
        self.told.append(host_id)


class Broken(Hook):
    """Fails whatever it is told."""

    def about_to_connect(self, facts: HostFacts) -> None:
        """Fail."""
        raise ZeroDivisionError

    def timed_out(self, host_id: HostId, commands: object) -> None:
        """Fail."""
        raise ZeroDivisionError


class Doorkeeper(Hook):
    """Refuses, also where its word does not count."""

    def about_to_connect(self, facts: HostFacts) -> None:
        """Refuse."""
        raise Refuse(f"{facts.name} is not on the list")

    def timed_out(self, host_id: HostId, commands: object) -> None:
        """Refuse."""
        raise Refuse("too late")


class HooksTests(SynchronousTestCase):
    """What hooks are told, and what becomes of what they do."""

    def setUp(self) -> None:
        """One hook that keeps what it hears, behind the others."""
        self.recorder = Recorder()

    def time_out(self, hooks: Hooks) -> None:
        """Tell of a time-out."""
        hooks.tell(lambda hook: hook.timed_out(HostId(7), []))

    def test_base(self) -> None:
        """A hook that overrides nothing does nothing."""
        hooks = Hooks([Hook()])
        self.assertIsNone(hooks.refusal(FACTS))
        self.time_out(hooks)

    def test_one_that_fails(self) -> None:
        """It is logged, refuses nobody, and the others are told."""
        hooks = Hooks([Broken(), self.recorder])
        self.assertIsNone(hooks.refusal(FACTS))
        self.time_out(hooks)
        self.assertEqual(["host-1", 7], self.recorder.told)
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_refusal(self) -> None:
        """The first refusal counts, and its words are the reason."""
        hooks = Hooks([self.recorder, Doorkeeper(), self.recorder])
        self.assertEqual("host-1 is not on the list", hooks.refusal(FACTS))
        self.assertEqual(["host-1"], self.recorder.told)

    def test_refusal_elsewhere(self) -> None:
        """Only an agent that is about to connect can be refused; anywhere else it is a failure."""
        self.time_out(Hooks([Doorkeeper(), self.recorder]))
        self.assertEqual([7], self.recorder.told)
        self.assertEqual(1, len(self.flushLoggedErrors(Refuse)))

    def test_coroutine(self) -> None:
        """It runs on by itself: nobody waits for it, and it is logged if it fails later."""
        gate: Deferred[None] = Deferred()
        events: list[str] = []

        class Slow(Hook):
            async def timed_out(self, host_id: HostId, commands: object) -> None:
                events.append("began")
                await gate
                events.append("ended")
                raise ZeroDivisionError

        self.time_out(Hooks([Slow(), self.recorder]))
        self.assertEqual((["began"], [7]), (events, self.recorder.told))
        gate.callback(None)
        self.assertEqual(["began", "ended"], events)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_coroutine_cannot_refuse(self) -> None:
        """The answer is wanted at once."""

        class Late(Hook):
            async def about_to_connect(self, facts: HostFacts) -> None:
                raise Refuse("no")

        self.assertIsNone(Hooks([Late()]).refusal(FACTS))
        self.assertEqual(1, len(self.flushLoggedErrors(Refuse)))

    def test_added_in_code(self) -> None:
        """From then on it is told."""
        hooks = Hooks()
        self.time_out(hooks)
        hooks.add(self.recorder)
        self.time_out(hooks)
        self.assertEqual([7], self.recorder.told)


class EntryPointTests(SynchronousTestCase):
    """Hooks of packages that are installed beside the server."""

    def install(self, source: str, *entries: str) -> None:
        """Put a distribution where Python finds it: the module hooks_example, and entry points in the hooks' group."""
        folder = Path(self.mktemp()).absolute()
        information = folder / "hooks_example-1.dist-info"
        information.mkdir(parents=True)
        (folder / "hooks_example.py").write_text(source, encoding="utf-8")
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hooks-example\nVersion: 1\n")
        (information / "entry_points.txt").write_text("[cloudlb.hooks]\n" + "".join(f"{entry}\n" for entry in entries))
        self.patch(sys, "path", [str(folder), *sys.path])
        self.addCleanup(sys.modules.pop, "hooks_example", None)

    def test_documented_example(self) -> None:
        """The hook of the documentation, registered as it says, does what it says."""
        text = DOCUMENT.read_text(encoding="utf-8")
        (source,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
        (entry,) = re.findall(r'(?m)^(\w+) = "(\w+:\w+)"$', text)
        self.install(source, " = ".join(entry))
        hooks = Hooks()
        hooks.load()
        self.assertIn("rack 12", hooks.refusal(HostFacts(guid="g", name="rack-12-host-1", type="Routing")) or "")
        self.assertIsNone(hooks.refusal(FACTS))

    def test_one_that_cannot_be_loaded(self) -> None:
        """It is logged, and the others are loaded."""
        source = (
            "from cloudlb.agents.hooks import Hook, Refuse\n"
            "class No(Hook):\n    def about_to_connect(self, facts):\n        raise Refuse('no')\n"
            "def broken():\n    raise ZeroDivisionError\n"
        )
        self.install(source, "a = hooks_example:missing", "b = hooks_example:broken", "c = hooks_example:No")
        hooks = Hooks()
        hooks.load()
        self.assertEqual("no", hooks.refusal(FACTS))
        self.assertEqual(2, len(self.flushLoggedErrors(AttributeError, ZeroDivisionError)))
