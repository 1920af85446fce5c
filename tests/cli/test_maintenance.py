"""`cloudlb maintenance`, against an API that listens."""

from __future__ import annotations

import json

from click.testing import Result
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from cloudlb.domain.models import Host, HostId, JobStatus
from cloudlb.domain.ports import Transaction
from cloudlb.domain.resource_state import ResourceEvent, ResourceState
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase


class MaintenanceTests(CommandLineTestCase):
    """prepare and cancel, of a host that is Up on a server that does nothing about it."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> HostId:
            add_site(txn)
            host = self.admit(txn)
            self.bring_up(txn, host)
            return host.id

        self.host_id = await self.database.run(work)

    def start(self, *arguments: str) -> Deferred[Result]:
        """Begin to run a command in a thread."""
        return self.run_command("maintenance", *arguments)

    async def end(self, event: ResourceEvent, status: JobStatus, text: str = "") -> None:
        """Do what the host's server does, once it has something to do."""
        while (await self.database.read(_host)).resource_state is not ResourceState.PREPARE_FOR_MAINTENANCE:
            await deferLater(reactor, 0.01)

        def work(txn: Transaction) -> None:
            txn.hosts.change_resource_state(
                self.host_id, event, server_id=self.server_id, account_id=None, reason="a test", now=2.0
            )
            [job] = txn.jobs.running_on(self.host_id)
            result = {"host_id": self.host_id} if not text else {"errorcode": 530, "errortext": text}
            txn.jobs.finish(job.uuid, status, 530 if text else 0, result, 2.0)

        await self.database.run(work)

    async def test_prepare_waits_until_the_host_is_in_maintenance(self) -> None:
        """By name, id or uuid; status 0, and the host's state for people or programs."""
        uuid = (await self.database.read(_host)).uuid
        for key in ("agent-1", str(self.host_id), uuid):
            running = self.start("prepare", key)
            await self.end(ResourceEvent.INTERNAL_ENTER_MAINTENANCE, JobStatus.SUCCEEDED)
            result = await running
            self.assertEqual((0, "agent-1: Maintenance\n"), (result.exit_code, result.stdout), result.output)
            result = await self.start("cancel", key, "--json")
            [row] = json.loads(result.stdout)
            self.assertEqual((0, "Enabled"), (result.exit_code, row["resourcestate"]))

    async def test_prepare_that_fails(self) -> None:
        """Status 1, and the reason on stderr."""
        running = self.start("prepare", "agent-1")
        await self.end(ResourceEvent.UNABLE_TO_MAINTAIN, JobStatus.FAILED, "the time is over: 3 VMs are left on it")
        result = await running
        self.assertEqual((1, ""), (result.exit_code, result.stdout))
        self.assertEqual("Error: the time is over: 3 VMs are left on it\n", result.stderr)

    async def test_refused(self) -> None:
        """What is possible instead is said in one line."""
        result = await self.start("cancel", "agent-1")
        self.assertEqual((1, ""), (result.exit_code, result.stdout))
        self.assertIn("host agent-1 is in the resource state Enabled", result.stderr)
        self.assertIn("prepareHostForMaintenance", result.stderr)
        self.assertEqual(1, len(result.stderr.splitlines()))

    async def test_unknown_hosts(self) -> None:
        """By name or by id."""
        for key in ("nobody", "99"):
            result = await self.start("prepare", key)
            self.assertEqual((8, ""), (result.exit_code, result.stdout))
            self.assertIn(key, result.stderr)


def _host(txn: Transaction) -> Host:
    host = txn.hosts.find("agent-1")
    assert host is not None
    return host
