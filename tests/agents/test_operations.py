"""reconnectHost and deleteHost, from the server that holds the agent and from another."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from cloudlb.agents.hooks import Hook
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId, Job, JobStatus
from cloudlb.domain.ports import NotFound
from cloudlb.domain.record_ports import EventFilter
from cloudlb.wire import ShutdownCommand
from tests.agents.two_servers import TwoServersCase


class Recorder(Hook):
    """Notes what becomes of hosts."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def about_to_be_removed(self, host: Host) -> None:
        """While it is there."""
        self._told.append(f"{host.facts.name}, {host.status.value}, is about to be removed")

    def removed(self, host: Host) -> None:
        """When it is gone."""
        self._told.append(f"{host.facts.name} is {host.status.value}")


class OperationsTests(TwoServersCase):
    """An agent on the second of two servers."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[str] = []
        self.asked.server.hooks.add(Recorder(self.told))
        self.link = self.up(self.holder)
        self.host_id = self.asked.host(1).id

    def reconnect(self) -> Job:
        """Ask the first server, let the bus carry it, and look at the job."""
        operations = self.asked.server.operations
        job: Job = self.successResultOf(Deferred.fromCoroutine(operations.reconnect_host(self.host_id, 1)))
        self.holder.advance(1)
        found = self.successResultOf(self.asked.database.read(lambda txn: txn.jobs.get(job.uuid)))
        assert isinstance(found, Job)
        return found

    def test_reconnect_reaches_the_server_that_holds_the_agent(self) -> None:
        """It closes the link and ends the job."""
        job = self.reconnect()
        self.assertIn("operator", self.link.ended or "")
        self.assertEqual((job.status, job.result["host_id"]), (JobStatus.SUCCEEDED, self.host_id))
        which = EventFilter(event_type="HOST.RECONNECT")
        ((event,), _) = self.successResultOf(self.asked.database.read(lambda txn: txn.events.list(which, 0, None)))
        self.assertEqual((event.account_id, event.host_id), (1, self.host_id))

    def test_reconnect_by_a_server_that_dies(self) -> None:
        """The job ends all the same: it is that server's, and has a deadline."""
        operations = self.asked.server.operations
        job = self.successResultOf(Deferred.fromCoroutine(operations.reconnect_host(self.host_id, 1)))
        self.assertEqual(self.holder.server.membership.own.id, job.server_id)
        self.assertIsNotNone(job.deadline)
        self.asked.advance(20)
        ended = self.successResultOf(self.asked.database.read(lambda txn: txn.jobs.get(job.uuid)))
        assert ended is not None
        self.assertEqual(JobStatus.FAILED, ended.status)
        self.assertIn("unknown: server 127.0.0.2 died", ended.result["errortext"])

    def test_reconnect_of_a_host_without_an_agent_fails_at_once(self) -> None:
        """There is nobody to tell."""
        self.link.lose()
        self.holder.advance(2)
        job = self.reconnect()
        self.assertEqual(job.status, JobStatus.FAILED)
        self.assertIn("host-1", job.result["errortext"])

    def test_reconnect_of_an_unknown_host(self) -> None:
        """Is an error, not a job."""
        work = self.asked.server.operations.reconnect_host(HostId(99), 1)
        self.failureResultOf(Deferred.fromCoroutine(work), NotFound)

    def test_delete_reaches_the_server_that_holds_the_agent(self) -> None:
        """The row is Removed and stays so when the link ends."""
        self.assertTrue(
            self.successResultOf(Deferred.fromCoroutine(self.asked.server.operations.delete_host(self.host_id, 1)))
        )
        self.holder.advance(1)
        ((_, shutdown),) = self.link.take()
        self.assertEqual(shutdown, ShutdownCommand(reason="deleteHost"))
        self.assertIsNotNone(self.link.ended)
        self.link.lose()
        host = self.successResultOf(self.asked.database.read(lambda txn: txn.hosts.get(self.host_id)))
        assert host is not None
        self.assertEqual(host.status, HostStatus.REMOVED)
        self.assertEqual(self.told, ["host-1, Up, is about to be removed", "host-1 is Removed"])
        self.assertFalse(
            self.successResultOf(Deferred.fromCoroutine(self.asked.server.operations.delete_host(self.host_id, 1)))
        )
        self.assertEqual(len(self.told), 2)

    def test_restored_host_comes_back(self) -> None:
        """Its agent is refused while the host is deleted, and admitted again afterwards; nobody else is restored."""
        operations = self.asked.server.operations

        def restore() -> bool:
            return self.successResultOf(Deferred.fromCoroutine(operations.restore_host(self.host_id, 1)))

        self.assertFalse(restore())
        self.successResultOf(Deferred.fromCoroutine(operations.delete_host(self.host_id, 1)))
        self.holder.advance(1)
        self.link.lose()
        refused = self.holder.startup(1)
        self.assertIn("deleted", str([content for _, content in refused.take()]))
        self.assertTrue(restore())
        self.up(self.holder)
        self.assertEqual(self.asked.host(1).status, HostStatus.UP)
