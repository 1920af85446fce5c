"""Hosts on their way into maintenance: the call comes to one server, the host's agent is on another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.maintenance import count_vms
from cloudlb.domain.models import Job, JobStatus
from cloudlb.domain.ports import StoreUnavailable, Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.resource_state import ResourceEvent, ResourceState
from cloudlb.wire import (
    Answer,
    CancelCommand,
    Flag,
    HostVmState,
    MaintainAnswer,
    MaintainCommand,
    PingAnswer,
    PingCommand,
    PingRoutingCommand,
    ShutdownCommand,
)
from tests.agents.server import FakeLink, ServerFixture
from tests.agents.two_servers import TwoServersCase

RESPONSE = Flag(0)
WAIT = 600
"""Seconds that a host has to become empty here."""


def ping(*states: str) -> PingRoutingCommand:
    """A ping that reports VMs in these states."""
    report = {f"i-2-{number}-VM": HostVmState(state=state) for number, state in enumerate(states)}
    return PingRoutingCommand(host_type="Routing", host_vm_state_report=report)


class MaintenanceCase(TwoServersCase):
    """Two servers, a host on the second one, and calls to the first."""

    settings: ClassVar[Mapping[str, str]] = {"wait": str(WAIT)}

    def setUp(self) -> None:
        super().setUp()
        self.account_id = self.add_account()
        self.link = self.connect(self.holder)

    def connect(self, server: ServerFixture) -> FakeLink:
        """Have the host's agent connect to a server, and wait a moment."""
        link = self.up(server)
        self.advance()
        return link

    def advance(self, seconds: float = 1.0) -> None:
        """Let time pass for both."""
        for _ in range(max(1, int(seconds * 2))):
            for server in (self.asked, self.holder):
                server.advance(min(seconds, 0.5))

    def prepare(self) -> Job:
        """Call prepareHostForMaintenance."""
        states = self.asked.server.resource_states
        job = self.successResultOf(
            Deferred.fromCoroutine(states.prepare_for_maintenance(self.asked.host(1).id, self.account_id))
        )
        self.advance()
        return job

    def cancel(self) -> None:
        """Call cancelHostMaintenance."""
        states = self.asked.server.resource_states
        self.successResultOf(Deferred.fromCoroutine(states.cancel_maintenance(self.asked.host(1).id, self.account_id)))
        self.advance()

    def told(self, link: FakeLink | None = None) -> list[int]:
        """Sequences of the MaintainCommands that the agent got since the last time."""
        return [
            header.sequence for header, content in (link or self.link).take() if isinstance(content, MaintainCommand)
        ]

    def answer(self, sequence: int, answer: Answer | None = None, link: FakeLink | None = None) -> None:
        """Have the agent answer."""
        (link or self.link).receive([answer or MaintainAnswer()], sequence=sequence, flags=RESPONSE)
        self.advance()

    def obey(self, answer: Answer | None = None, link: FakeLink | None = None) -> None:
        """Have the agent answer the MaintainCommand that it has got."""
        [sequence] = self.told(link)
        self.answer(sequence, answer, link)

    def says(self, said: PingCommand, link: FakeLink | None = None) -> None:
        """Have the agent ping."""
        (link or self.link).receive([said], sequence=7)
        self.advance()

    def assert_state(self, state: ResourceState) -> None:
        """The row's."""
        self.assertEqual(state, self.asked.host(1).resource_state)

    def assert_job(self, job: Job, status: JobStatus, text: str = "") -> None:
        """How a job has ended, or not."""
        found = self.successResultOf(self.asked.database.read(lambda txn: txn.jobs.get(job.uuid)))
        assert found is not None
        self.assertEqual(status, found.status, found)
        self.assertIn(text, found.result.get("errortext", ""))
        if status is JobStatus.SUCCEEDED:
            self.assertEqual({"host_id": self.asked.host(1).id}, found.result)

    def transitions(self) -> list[str]:
        """The states that the host went into, from the first on."""
        which = EventFilter(event_type="HOST.RESOURCESTATE.TRANSITION")
        events, _ = self.successResultOf(self.asked.database.read(lambda txn: txn.events.list(which, 0, None)))
        return [event.details["to"] for event in reversed(events)]


class EmptyingTests(MaintenanceCase):
    """From the call to its end."""

    def test_until_no_vm_is_left(self) -> None:
        """The host is told once, and is in maintenance with the first ping that reports none."""
        job = self.prepare()
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        [sequence] = self.told()
        self.answer(sequence)
        self.says(ping("PowerOn", "PowerOn", "PowerOff"))
        self.says(ping("PowerReportMissing"))
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        self.assert_job(job, JobStatus.RUNNING)
        self.says(ping("PowerOff"))
        self.assert_state(ResourceState.MAINTENANCE)
        self.assert_job(job, JobStatus.SUCCEEDED)
        self.assertEqual(["PrepareForMaintenance", "Maintenance"], self.transitions())
        self.assertEqual([], self.told())

    def test_a_ping_from_before_the_answer_does_not_count(self) -> None:
        """The host may have started a VM since."""
        self.prepare()
        [sequence] = self.told()
        self.says(ping())
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        self.answer(sequence)
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)

    def test_pings_are_looked_into_only_while_somebody_waits(self) -> None:
        """Neither before nor after."""
        attache = self.holder.server.directory.get(self.asked.host(1).id)
        assert attache is not None
        self.assertIsNone(attache._watcher)
        self.prepare()
        self.obey()
        self.assertIsNotNone(attache._watcher)
        self.says(ping())
        self.assertIsNone(attache._watcher)
        self.assertEqual({}, self.holder.server.maintenance._hosts)

    def test_every_server_knows_the_state(self) -> None:
        """And so what may be sent to the host."""
        self.prepare()
        attache = self.holder.server.directory.get(self.asked.host(1).id)
        assert attache is not None
        self.assertEqual(ResourceState.PREPARE_FOR_MAINTENANCE, attache.host.resource_state)

    def test_pings_are_answered_all_the_while(self) -> None:
        """With what they said."""
        self.prepare()
        self.obey()
        self.says(ping("PowerOn"))
        [(_, answer)] = self.link.take()
        self.assertIsInstance(answer, PingAnswer)

    def test_the_agent_refuses(self) -> None:
        """An operator has to look at it; asked again, the host is told again."""
        job = self.prepare()
        self.obey(MaintainAnswer(result=False, details="no shared storage"))
        self.assert_state(ResourceState.ERROR_IN_MAINTENANCE)
        self.assert_job(
            job, JobStatus.FAILED, "host host-1 cannot go into maintenance: it refuses maintenance: no shared storage"
        )
        again = self.prepare()
        self.obey()
        self.says(ping())
        self.assert_job(again, JobStatus.SUCCEEDED)

    def test_the_agent_does_not_answer(self) -> None:
        """It had the time that commands have."""
        self.asked.set("commands.timeout", "MaintainCommand=5")
        self.successResultOf(Deferred.fromCoroutine(self.holder.server.settings.load()))
        job = self.prepare()
        self.advance(6)
        self.assert_state(ResourceState.ERROR_IN_MAINTENANCE)
        self.assert_job(job, JobStatus.FAILED, "host host-1 did not answer in time")

    def test_vms_are_left_when_the_time_is_over(self) -> None:
        """The job says how many."""
        job = self.prepare()
        self.obey()
        for _ in range(WAIT // 30 + 1):
            self.says(ping("PowerOn", "PowerOn", "PowerOn"))
            self.advance(29)
        self.assert_state(ResourceState.ERROR_IN_MAINTENANCE)
        self.assert_job(job, JobStatus.FAILED, "the time is over: 3 VMs are left on it")

    def test_a_host_that_is_no_hypervisor(self) -> None:
        """Has no VMs."""
        self.prepare()
        self.obey()
        self.says(PingCommand(host_type="Storage"))
        self.assert_state(ResourceState.MAINTENANCE)

    def test_cancelled_while_vms_are_left(self) -> None:
        """The host is Enabled, and what its pings say does not matter any more."""
        job = self.prepare()
        self.obey()
        self.cancel()
        self.says(ping())
        self.assert_state(ResourceState.ENABLED)
        self.assert_job(job, JobStatus.FAILED, "cancelled")
        self.assertEqual({}, self.holder.server.maintenance._hosts)

    def test_cancelled_before_the_agent_has_answered(self) -> None:
        """Its answer comes too late."""
        self.prepare()
        [sequence] = self.told()
        self.cancel()
        [(_, cancel)] = self.link.take()
        self.assertIsInstance(cancel, CancelCommand)
        self.answer(sequence, MaintainAnswer(result=False))
        self.assert_state(ResourceState.ENABLED)

    def test_deleted(self) -> None:
        """The job says so."""
        job = self.prepare()
        self.obey()
        operations = self.asked.server.operations
        self.successResultOf(Deferred.fromCoroutine(operations.delete_host(self.asked.host(1).id, self.account_id)))
        self.advance()
        self.assertEqual({}, self.holder.server.maintenance._hosts)
        self.assert_job(job, JobStatus.FAILED, "deleted")

    def test_cancelled_and_asked_again(self) -> None:
        """Begins anew."""
        self.prepare()
        self.cancel()
        self.told()
        job = self.prepare()
        self.obey()
        self.says(ping())
        self.assert_job(job, JobStatus.SUCCEEDED)
        self.assert_state(ResourceState.MAINTENANCE)

    def test_the_database_is_away_when_the_host_is_empty(self) -> None:
        """The step is written when it is back."""
        job = self.prepare()
        self.obey()
        run, calls = self.holder.database.run, []

        def away(work: object) -> Deferred[object]:
            calls.append(work)
            return Deferred.fromCoroutine(_away())

        self.patch(self.holder.database, "run", away)
        self.says(ping())
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        self.assertTrue(calls)
        self.patch(self.holder.database, "run", run)
        self.advance(2)
        self.assert_state(ResourceState.MAINTENANCE)
        self.assert_job(job, JobStatus.SUCCEEDED)


class LossTests(MaintenanceCase):
    """The agent goes, or its server does, while the host is being emptied."""

    def test_the_agent_is_lost_and_comes_back_elsewhere(self) -> None:
        """An obstacle, while it lasts; then all of it is done again where the host is then, for the same job."""
        job = self.prepare()
        self.obey()
        self.link.lose()
        self.advance(3)
        self.assert_state(ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE)
        self.assert_job(job, JobStatus.RUNNING)
        link = self.connect(self.asked)
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        self.obey(link=link)
        self.says(ping(), link)
        self.assert_job(job, JobStatus.SUCCEEDED)
        self.assertEqual(
            ["PrepareForMaintenance", "ErrorInPrepareForMaintenance", "PrepareForMaintenance", "Maintenance"],
            self.transitions(),
        )

    def test_the_agent_is_lost_before_it_has_answered(self) -> None:
        """No reason to give up."""
        job = self.prepare()
        self.link.lose()
        self.advance(3)
        self.assert_state(ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE)
        self.assert_job(job, JobStatus.RUNNING)

    def test_the_agent_shuts_down(self) -> None:
        """The same."""
        self.prepare()
        self.link.receive([ShutdownCommand(reason="update")], sequence=8)
        self.link.lose()
        self.advance(3)
        self.assert_state(ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE)

    def test_the_agent_moves_to_another_server(self) -> None:
        """Its new server takes over, and the old one has nothing more to say."""
        job = self.prepare()
        self.obey()
        link = self.connect(self.asked)
        self.link.lose()
        self.advance(3)
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        self.says(ping("PowerOn"), link)
        self.obey(link=link)
        for _ in range(5):
            self.says(ping("PowerOn"), link)
            self.advance(59)
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        self.says(ping(), link)
        self.assert_state(ResourceState.MAINTENANCE)
        self.assert_job(job, JobStatus.SUCCEEDED)

    def test_a_stale_server_writes_nothing(self) -> None:
        """What it learns from a link that is not the host's any more is not news."""
        self.prepare()
        self.obey()
        attache = self.holder.server.directory.get(self.asked.host(1).id)
        assert attache is not None
        link = self.connect(self.asked)
        assert attache._watcher is not None
        attache._watcher(ping())
        self.advance()
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        self.assertEqual(1, len(self.told(link)))

    def test_the_server_stops(self) -> None:
        """No obstacle of the host's: its next server goes on."""
        job = self.prepare()
        self.holder.stop()
        self.assert_state(ResourceState.PREPARE_FOR_MAINTENANCE)
        link = self.connect(self.asked)
        self.obey(link=link)
        self.says(ping(), link)
        self.assert_state(ResourceState.MAINTENANCE)
        self.assertEqual(["PrepareForMaintenance", "Maintenance"], self.transitions())
        self.assert_job(job, JobStatus.SUCCEEDED)

    def test_cancelled_while_it_has_no_agent(self) -> None:
        """It comes back as Enabled, and is told nothing."""
        self.prepare()
        self.told()
        self.link.lose()
        self.advance(3)
        self.cancel()
        self.assert_state(ResourceState.ENABLED)
        self.assertEqual([], self.told(self.connect(self.asked)))

    def test_a_host_in_maintenance_that_comes_back(self) -> None:
        """Stays in it, and is told nothing."""
        self.prepare()
        self.obey()
        self.says(ping())
        self.link.lose()
        self.advance(3)
        self.assert_state(ResourceState.MAINTENANCE)
        self.assertEqual([], self.told(self.connect(self.asked)))
        self.assert_state(ResourceState.MAINTENANCE)

    def test_the_job_was_ended_by_somebody_else(self) -> None:
        """The host goes its way all the same."""
        job = self.prepare()
        self.obey()
        self.successResultOf(
            self.asked.database.run(lambda txn: txn.jobs.finish(job.uuid, JobStatus.FAILED, 530, {}, 1.0))
        )
        self.says(ping())
        self.assert_state(ResourceState.MAINTENANCE)

    def test_an_operator_enables_it_in_the_very_moment_in_which_it_is_empty(self) -> None:
        """What the operator wants later counts, also where the server has not heard of it yet."""
        self.prepare()
        self.obey()

        def cancel(txn: Transaction) -> None:
            host = txn.hosts.find("host-1")
            assert host is not None
            txn.hosts.change_resource_state(
                host.id,
                ResourceEvent.ADMIN_CANCEL_MAINTENANCE,
                server_id=self.asked.server.membership.own.id,
                account_id=None,
                reason="a test",
                now=1.0,
            )

        self.successResultOf(self.asked.database.run(cancel))
        self.says(ping())
        self.assert_state(ResourceState.ENABLED)


class CountTests(SynchronousTestCase):
    """What a ping says of VMs."""

    def test_a_hypervisor_that_reports_nothing(self) -> None:
        """Is not one without VMs."""
        self.assertIsNone(count_vms(PingRoutingCommand(host_vm_state_report=None)))

    @given(st.lists(st.sampled_from(["PowerOn", "PowerOff", "PowerUnknown", "PowerReportMissing"])))
    def test_only_what_is_off_is_gone(self, states: list[str]) -> None:
        """Of a VM whose state nobody knows, one does not know that it is gone."""
        self.assertEqual(len(states) - states.count("PowerOff"), count_vms(ping(*states)))


async def _away() -> object:
    raise StoreUnavailable("the test has taken it away")
