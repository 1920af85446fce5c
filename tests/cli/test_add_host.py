"""Tests of `cloudlb add-host`, against an API that listens."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from click.testing import Result
from twisted.internet.defer import Deferred

from agent.config import load_agent_config
from agent.service import tls_channels
from cloudlb.domain.ports import Transaction
from cloudlb.net.pki import CertificateAuthority
from tests.cli.command_line import CommandLineTestCase


class AddHostTests(CommandLineTestCase):
    """A server with the key of its CA, and a cluster of each kind."""

    async def _start(self) -> None:
        await super()._start()
        self.into = Path(self.mktemp())
        ca = Path(self.mktemp())
        CertificateAuthority.create(ca, "test")
        self.registration._ca_folder = ca

        def work(txn: Transaction) -> None:
            pod = txn.topology.add_pod("pod", txn.topology.add_zone("zone").id)
            txn.topology.add_cluster("kvm", pod.id, hypervisor="KVM", arch="x86_64")
            txn.topology.add_cluster("sims", pod.id, hypervisor="Simulator", arch="x86_64")

        await self.database.run(work)

    def add(self, *arguments: str) -> Deferred[Result]:
        """Run the command, in a thread."""
        return self.run_command("add-host", *arguments)

    async def hosts(self) -> list[str]:
        """Names of the hosts that there are."""
        return [host.facts.name for host in await self.database.read(lambda txn: txn.hosts.all())]

    async def test_bundle(self) -> None:
        """An agent starts in the folder as it is, which nobody else can read."""
        result = await self.add("2001:db8::7", "--cluster", "kvm", "--into", str(self.into), "--tags", "a,b")
        self.assertEqual(0, result.exit_code, result.output)
        self.assertNotIn("PRIVATE", result.output)
        config, _ = load_agent_config(self.into / "agent.properties")
        self.assertEqual("2001:db8::7", config.name)
        tls_channels(config)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (self.into, *self.into.iterdir())}
        self.assertEqual({0o700, 0o600}, modes)
        (host,) = await self.database.read(lambda txn: txn.hosts.all())
        self.assertEqual(("a", "b"), host.tags)

    async def test_direct(self) -> None:
        """A host without an agent needs no folder; as JSON, the host."""
        result = await self.add("sim", "--cluster", "sims", "--resource", "thermometer.ThermometerResource", "--json")
        self.assertEqual(0, result.exit_code, result.output)
        (host,) = json.loads(result.stdout)
        self.assertEqual(("sim", "Creating"), (host["name"], host["state"]))

    async def test_refused(self) -> None:
        """What cannot be adds no host: least of all one whose key would be lost."""
        full = self.ini.parent
        for status, reason, arguments in (
            (2, "--into is missing", ("x", "--cluster", "kvm")),
            (2, "no agent", ("x", "--cluster", "sims", "--into", str(self.into))),
            (1, "not empty", ("x", "--cluster", "kvm", "--into", str(full))),
            (1, "Not a directory", ("x", "--cluster", "kvm", "--into", str(self.ini / "x"))),
            (8, "no cluster", ("x", "--cluster", "nothing", "--into", str(self.into))),
            (1, "parameter url", ("300.1.1.1", "--cluster", "kvm", "--into", str(self.into))),
        ):
            result = await self.add(*arguments)
            self.assertEqual(status, result.exit_code, result.output)
            self.assertIn(reason, result.output)
        self.assertEqual([], await self.hosts())
