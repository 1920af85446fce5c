"""Tests of `cloudlb plan`, against an API that listens."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from twisted.internet.threads import deferToThread

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import ServerId, StatusChange
from cloudlb.domain.ports import Transaction
from tests.api.listening import ListeningTestCase
from tests.cli.test_commands import invoke, write_ini


class PlanTests(ListeningTestCase):
    """What is printed."""

    async def _start(self) -> None:
        await super()._start()
        self.ini = write_ini(Path(self.mktemp()), self.endpoint)

        def work(txn: Transaction) -> None:
            zone = txn.topology.add_zone("zone")
            pod = txn.topology.add_pod("pod", zone.id)
            txn.topology.add_cluster("cluster", pod.id, hypervisor="KVM", arch="x86_64")
            txn.servers.register(name="n", address="::1", port=8250, version="0.1", candidate_id=ServerId(5))
            txn.settings.set("host", "127.0.0.1,::1", None)
            for number in range(4):
                self.admit(txn, f"agent-{number}")
            for host in txn.hosts.all()[:3]:
                ready = StatusChange(
                    host_id=host.id,
                    session=host.session,
                    event=HostEvent.READY,
                    server_id=self.server_id,
                    reason="its agent is ready",
                )
                txn.hosts.transition([ready], 2.0)

        await self.database.run(work)

    async def run_command(self, *arguments: str) -> Result:
        """Run the command with the configuration of this server, in a thread."""
        return await deferToThread(invoke, "plan", *arguments, "--config", str(self.ini))

    async def test_table(self) -> None:
        """Servers before and after, then the moves, then why the others stay."""
        result = await self.run_command("--host", "::1,127.0.0.1", "--weights", "::1=2")
        self.assertEqual(0, result.exit_code, result.output)
        lines = [line.split() for line in result.stdout.splitlines()]
        self.assertEqual(lines[1], ["n", "::1", "Up", "2", "0", "3", "2"])
        self.assertEqual(lines[2], ["m", "127.0.0.1", "Up", "1", "3", "0", "2"])
        self.assertIn("3 hosts to be moved.", result.stdout)
        self.assertEqual([line[:3] for line in lines if line[:1] == ["agent-1"]], [["agent-1", "127.0.0.1", "::1"]])
        self.assertIn("1 host not to be moved: it is not Up.", result.stdout)
        self.assertIn("Weights mean nothing under static.", result.stdout)

    async def test_nothing_to_do(self) -> None:
        """The spread is what it is, and no table of moves is printed."""
        result = await self.run_command()
        self.assertEqual(0, result.exit_code, result.output)
        self.assertIn("0 hosts to be moved.", result.stdout)
        self.assertNotIn("FROM", result.stdout)

    async def test_server_that_leaves(self) -> None:
        """One that is not in the tried `host` is marked."""
        result = await self.run_command("--host", "::1")
        self.assertIn("127.0.0.1 (not in host)", result.stdout)

    async def test_json(self) -> None:
        """The whole answer, as a list of one."""
        result = await self.run_command("--algorithm", "roundrobin", "--json")
        (answer,) = json.loads(result.stdout)
        self.assertEqual([move["hostname"] for move in answer["move"]], ["agent-1"])
        self.assertEqual([row["after"] for row in answer["server"]], [2, 1])

    async def test_refused(self) -> None:
        """One line with the reason, and status 1."""
        result = await self.run_command("--algorithm", "best")
        self.assertEqual((1, ""), (result.exit_code, result.stdout))
        self.assertIn("unknown algorithm 'best'", result.stderr)
