"""The contract of JobRows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from cloudlb.domain.models import HostId, Job, JobStatus, ServerId
from cloudlb.domain.ports import JobFilter, KeyTaken
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract


class JobRowsContract(StoreContract):
    """JobRows."""

    def start(self, host_id: HostId | None = None) -> Job:
        """Start a job."""
        return self.ask(host_id=host_id)[0]

    def ask(self, **changes: Any) -> tuple[Job, bool]:
        """Ask for a job, perhaps for one that is there."""
        asked: dict[str, Any] = {
            "command": "reconnectHost",
            "account_id": 2,
            "server_id": SERVER,
            "host_id": None,
            "now": 10.0,
            **changes,
        }
        return self.write(lambda txn: txn.jobs.start(**asked))

    def end(self, job: Job, at: float = 11.0) -> bool:
        """End a job."""
        return self.write(lambda txn: txn.jobs.finish(job.uuid, JobStatus.SUCCEEDED, 0, {}, at))

    def test_start(self) -> None:
        """A job runs from its start on."""
        job = self.start(HostId(3))
        self.assertEqual(
            job,
            Job(
                uuid=job.uuid,
                command="reconnectHost",
                status=JobStatus.RUNNING,
                result_code=0,
                result={},
                account_id=2,
                server_id=SERVER,
                host_id=HostId(3),
                created=10.0,
                completed=None,
            ),
        )
        self.assertEqual(self.look(lambda txn: txn.jobs.get(job.uuid)), job)
        self.assertIsNone(self.look(lambda txn: txn.jobs.get("none")))

    def test_ends_once(self) -> None:
        """The first end of a job is the one that counts, and ends no other job."""
        job, other = self.start(), self.start()
        result = {"host": {"id": "x", "name": "Škoda"}, "list": [1, None, True]}
        self.assertTrue(self.write(lambda txn: txn.jobs.finish(job.uuid, JobStatus.SUCCEEDED, 0, result, 11.0)))
        self.assertFalse(self.write(lambda txn: txn.jobs.finish(job.uuid, JobStatus.FAILED, 530, {}, 12.0)))
        self.assertFalse(self.write(lambda txn: txn.jobs.finish("none", JobStatus.FAILED, 530, {}, 12.0)))
        ended = self.look(lambda txn: txn.jobs.get(job.uuid))
        assert ended is not None
        self.assertEqual((ended.status, ended.result, ended.completed), (JobStatus.SUCCEEDED, result, 11.0))
        self.assertEqual(self.look(lambda txn: txn.jobs.get(other.uuid)), other)

    def test_tell(self) -> None:
        """How far a running job is replaces what was said before, and says nothing of one that has ended."""
        job, other = self.start(), self.start()

        def tell(uuid: str, result: dict[str, Any]) -> bool:
            return self.write(lambda txn: txn.jobs.tell(uuid, result))

        self.assertTrue(tell(job.uuid, {"left": 2}))
        self.assertTrue(tell(job.uuid, {"left": 1}))
        self.assertEqual(self.look(lambda txn: txn.jobs.get(job.uuid)), evolve(job, result={"left": 1}))
        self.assertEqual(self.look(lambda txn: txn.jobs.get(other.uuid)), other)
        self.end(job)
        self.assertFalse(tell(job.uuid, {"left": 0}))
        self.assertFalse(tell("none", {}))
        ended = self.look(lambda txn: txn.jobs.get(job.uuid))
        assert ended is not None
        self.assertEqual(ended.result, {})

    def test_key(self) -> None:
        """The same call of an account is the same job, whatever became of it; another account's key is another."""
        call = {"key": "k", "host_id": HostId(3), "deadline": 99.0, "arguments": {"b": [1], "a": "s3cr3t"}}
        job, new = self.ask(**call)
        self.assertTrue(new)
        self.assertEqual((job.key, job.deadline, job.arguments), ("k", 99.0, {"a": "s3cr3t", "b": [1]}))
        self.assertNotIn("s3cr3t", repr(job))
        self.assertEqual(self.ask(**call, now=20.0), (job, False))
        self.end(job)
        ended = self.look(lambda txn: txn.jobs.get(job.uuid))
        self.assertEqual(self.ask(**call), (ended, False))
        other, new = self.ask(**call, account_id=5)
        self.assertTrue(new)
        self.assertNotEqual(other.uuid, job.uuid)
        self.assertTrue(self.ask()[1])
        self.assertTrue(self.ask()[1])

    def test_of_key(self) -> None:
        """An account's own name for a job, whatever became of that."""
        job, _ = self.ask(key="k", arguments={"a": 1})
        self.end(job)
        keys = ((2, "k"), (5, "k"), (2, "l"))
        found = self.look(lambda txn: [txn.jobs.of_key(account, key) for account, key in keys])
        self.assertEqual([each and (each.uuid, each.arguments) for each in found], [(job.uuid, {"a": 1}), None, None])

    def test_listed(self) -> None:
        """Of their arguments the class alone, for there may be thousands."""
        arguments = {"class": "x.Y", "fields": {"a": "x" * 60_000}}
        job, _ = self.ask(host_id=HostId(3), deadline=5.0, arguments=arguments)
        for listed in (
            self.look(lambda txn: txn.jobs.running([SERVER], 9)),
            self.look(lambda txn: txn.jobs.overdue(6.0, 9)),
            self.look(lambda txn: txn.jobs.running_on(HostId(3))),
        ):
            self.assertEqual(listed, [evolve(job, arguments={"class": "x.Y"})])

    def test_key_of_another(self) -> None:
        """A key that stands for something else is refused, and the error names both."""
        job, _ = self.ask(key="k", arguments={"a": 1})
        for changes in ({"command": "sendCommand"}, {"host_id": HostId(1)}, {"arguments": {"a": 2}}):
            with self.assertRaisesRegex(KeyTaken, f"'k'.*{job.uuid}"):
                self.ask(**{"key": "k", "arguments": {"a": 1}, **changes})

    def test_assign(self) -> None:
        """A running job is given away once, by whoever it is with."""
        job = self.start()

        def assign(before: ServerId, after: ServerId) -> bool:
            return self.write(lambda txn: txn.jobs.assign(job.uuid, before, after))

        self.assertFalse(assign(OTHER_SERVER, SERVER))
        self.assertTrue(assign(SERVER, OTHER_SERVER))
        self.assertFalse(assign(SERVER, OTHER_SERVER))
        self.assertEqual(self.look(lambda txn: txn.jobs.get(job.uuid)), evolve(job, server_id=OTHER_SERVER))
        self.end(job)
        self.assertFalse(assign(OTHER_SERVER, SERVER))

    def test_running(self) -> None:
        """Jobs of some servers that have not ended, the oldest first, as many as asked for."""
        first, other, second, ended = (
            self.ask(server_id=server)[0] for server in (SERVER, OTHER_SERVER, SERVER, SERVER)
        )
        self.end(ended)

        def running(limit: int, *servers: ServerId) -> Sequence[Job]:
            return self.look(lambda txn: txn.jobs.running(servers, limit))

        self.assertEqual(running(9, SERVER), [first, second])
        self.assertEqual(running(2, SERVER, OTHER_SERVER), [first, other])
        self.assertEqual(running(9), [])

    def test_under_way(self) -> None:
        """Jobs that have not ended are counted by server and account."""
        self.assertEqual([], list(self.look(lambda txn: txn.jobs.under_way())))
        for server, account in ((SERVER, 2), (SERVER, 2), (SERVER, 3), (OTHER_SERVER, 2)):
            self.ask(server_id=server, account_id=account)
        self.end(self.start())
        counted = self.look(lambda txn: txn.jobs.under_way())
        self.assertEqual({(SERVER, 2, 2), (SERVER, 3, 1), (OTHER_SERVER, 2, 1)}, set(counted))

    def test_overdue(self) -> None:
        """Jobs that have not ended by their deadline, the oldest first; those without one never are."""
        late, later, ended, _ = (self.ask(deadline=deadline)[0] for deadline in (20.0, 30.0, 10.0, None))
        self.end(ended)

        def overdue(before: float, limit: int) -> Sequence[Job]:
            return self.look(lambda txn: txn.jobs.overdue(before, limit))

        self.assertEqual((overdue(20.0, 9), overdue(20.1, 9)), ([], [late]))
        self.assertEqual((overdue(99.0, 9), overdue(99.0, 1)), ([late, later], [late]))

    def test_running_on(self) -> None:
        """Jobs of a host that have not ended."""
        one, ended = self.start(HostId(3)), self.start(HostId(3))
        self.start(HostId(4))
        self.start()
        self.end(ended)
        self.assertEqual(self.look(lambda txn: txn.jobs.running_on(HostId(3))), [one])

    def test_prune(self) -> None:
        """Jobs that ended long ago go, in portions; one that runs stays, however old it is."""
        running, young = self.start(), self.start()
        old = [self.start() for _ in range(3)]
        for job in old:
            self.end(job, 20.0)
        self.end(young, 30.0)
        pruned = [self.write(lambda txn: txn.jobs.prune(30.0, 2)) for _ in range(3)]
        self.assertEqual(pruned, [2, 1, 0])
        left = self.look(lambda txn: [txn.jobs.get(job.uuid) for job in (running, young, *old)])
        self.assertEqual([job and job.uuid for job in left], [running.uuid, young.uuid, None, None, None])

    def test_list(self) -> None:
        """The newest first, those that a filter lets through; only failures have their result."""
        jobs = [
            self.ask(host_id=HostId(1), command="one")[0],
            self.ask(host_id=HostId(2), now=20.0, arguments={"class": "c", "secret": "s"})[0],
            self.ask(account_id=3, server_id=OTHER_SERVER)[0],
        ]
        for job, status in ((jobs[0], JobStatus.SUCCEEDED), (jobs[1], JobStatus.FAILED)):
            self.write(lambda txn, job=job, status=status: txn.jobs.finish(job.uuid, status, 7, {"a": 1}, 30.0))  # type: ignore[misc]
        found, total = self.look(lambda txn: txn.jobs.list(JobFilter(), 0, 2))
        self.assertEqual((3, [jobs[2].uuid, jobs[1].uuid]), (total, [job.uuid for job in found]))
        self.assertEqual(({"a": 1}, {"class": "c"}), (found[1].result, found[1].arguments))
        for which, expected in (
            (JobFilter(account_id=3), [2]),
            (JobFilter(server_id=SERVER), [1, 0]),
            (JobFilter(host_id=HostId(1)), [0]),
            (JobFilter(after=20.0), [1]),
            (JobFilter(keyword="ON"), [2, 1, 0]),
            (JobFilter(keyword="%"), []),
        ):
            found, total = self.look(lambda txn, which=which: txn.jobs.list(which, 0, None))  # type: ignore[misc]
            self.assertEqual([jobs[number].uuid for number in expected], [job.uuid for job in found], which)
            self.assertEqual(len(expected), total)
        ended, _ = self.look(lambda txn: txn.jobs.list(JobFilter(keyword="one"), 0, None))
        self.assertEqual(({}, 30.0), (ended[0].result, ended[0].completed))
