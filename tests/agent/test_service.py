"""The agent as a service, and its command line."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import ClassVar

from twisted.application.service import IServiceMaker
from twisted.internet.interfaces import IReactorTime
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase, TestCase

from agent.config import AgentConfig, agent_config
from agent.resources.simulator import SimulatorResource
from agent.service import build
from agent.tap import Options, makeService
from cloudlb.resource.interface import Answer, CheckHealthCommand, Command, Opaque
from cloudlb.wire.link import Channel

ETC = Path(__file__).parents[2] / "etc" / "agent.properties"


class CommandLineTests(SynchronousTestCase):
    """`twistd cloudlb-agent`."""

    def service(self, text: str) -> str:
        """What is said of a file that does not do."""
        path = Path(self.mktemp())
        path.write_text(text)
        options = Options()
        options.parseOptions(["--config", str(path)])
        error = str(self.assertRaises(SystemExit, makeService, options))
        self.assertIn(str(path), error)
        return error

    def test_listed(self) -> None:
        """Twisted knows the daemon."""
        self.assertIn("cloudlb-agent", [maker.tapname for maker in getPlugins(IServiceMaker)])

    def test_usage_errors(self) -> None:
        """What is wrong with the configuration is said in a line."""
        self.assertIn("guid is missing", self.service("host=a\n"))
        self.assertIn("port=x", self.service("guid=g\nport=x\n"))
        self.assertIn("com.cloud.", self.service("guid=g\nresource=com.cloud.hypervisor.kvm.resource.Libvirt\n"))
        self.assertIn("tls.ca is missing", self.service("guid=g\n"))
        self.assertIn("/nowhere/ca.pem", self.service("guid=g\ntls.ca=/nowhere/ca.pem\n"))
        self.assertIn("simulator.delay", self.service("guid=g\nsimulator.delay=x\n"))

    def test_sample(self) -> None:
        """The sample file names every key, with its default."""
        lines = [line.removeprefix("#") for line in ETC.read_text().splitlines() if not line.startswith("# ")]
        sample = dict(line.split("=", 1) for line in lines if "=" in line)
        config = agent_config({"guid": "g", "name": "n"}, ETC)
        values = {k: v for k, v in sample.items() if not k.startswith(("tls.", "guid", "simulator."))}
        self.assertEqual(agent_config(values | {"guid": "g", "name": "n"}, ETC), config)
        keys = {attribute.metadata["key"] for attribute in AgentConfig.__attrs_attrs__}
        self.assertEqual(keys, {key for key in sample if not key.startswith("simulator.")})


class BlockingResource(SimulatorResource):
    """Works on threads of its own."""

    blocking: ClassVar[bool] = True

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Prepare."""
        super().configure(properties, clock)
        self.end = Event()
        self.started = Event()

    def execute(self, command: Command | Opaque) -> Answer:
        """Wait on a thread."""
        self.started.set()
        self.end.wait(10)
        return Answer(details=str(current_thread() is main_thread()))


class ThreadTests(TestCase):
    """A blocking resource on real threads."""

    def setUp(self) -> None:
        """An agent whose only server is not there."""
        self.path = Path(self.mktemp())
        self.path.write_text("guid=g\nhost=127.0.0.1\nport=1\n")

    async def test_blocking_resource(self) -> None:
        """Its commands run beside the reactor, and a hung one does not hold up the stop."""
        from twisted.internet import reactor  # noqa: PLC0415 - the one that trial runs

        resource = BlockingResource()
        service = build(reactor, self.path, random.Random(1), resource=resource, channel_factory=_no_channel)
        service.startService()
        answers = service.agent.execute([CheckHealthCommand()], sequence=1, in_sequence=False, stop_on_error=False)
        resource.end.set()
        self.assertEqual(await answers, [Answer(details="False")])
        resource.end.clear()
        resource.started.clear()
        hung = service.agent.execute([CheckHealthCommand()], sequence=1, in_sequence=False, stop_on_error=False)
        resource.started.wait(10)
        await service.stopService()
        resource.end.set()
        await hung


def _no_channel(address: str, tls12: bool) -> Channel:
    raise AssertionError(f"{address} should not answer")
