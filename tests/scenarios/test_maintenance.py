"""Stories of hosts that are being emptied while servers and agents fail."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from cloudlb.agents.resource_states import NotPossible, ResourceStates
from cloudlb.domain.models import Job, JobStatus
from cloudlb.domain.resource_state import ResourceState
from cloudlb.domain.users import Role
from cloudlb.wire import HostVmState, MaintainCommand, PingCommand, PingRoutingCommand
from tests.scenarios.case import WorldCase
from tests.scenarios.test_direct_hosts import DirectCase
from tests.support.agent_process import AgentProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PING = 6
"""Ping interval, in which a server learns of VMs."""


class MaintenanceCase(WorldCase):
    """A host with two VMs, agent-2, which is on B."""

    def begin(self) -> None:
        """Make the world."""
        self.vms = 2
        self.world_: World = self.world(agents=3, ping_interval=PING)
        self.agent = self.world_.agents[2]
        self.assertEqual(B, self.agent.server)
        account = self.world_.wait_for(
            self.world_._own.run(
                lambda txn: txn.accounts.add(username="admin", role=Role.ADMINISTRATOR, password=None, now=0.0)
            )
        )
        self.account_id = account.id
        self.run_vms()

    def run_vms(self) -> None:
        """Have the host of the agent's present process report its VMs."""
        agent = self.agent

        def ping(host_id: int) -> PingCommand:
            report = {f"i-2-{number}-VM": HostVmState(state="PowerOn") for number in range(self.vms)}
            return PingRoutingCommand(host_type="Routing", host_id=host_id, host_vm_state_report=report)

        self.patch(agent.service.agent._resource, "ping", ping)

    @property
    def states(self) -> ResourceStates:
        """The calls, to the first server that runs: A, if it does."""
        return self.world_.running_servers[0].service.resource_states

    def prepare(self) -> Job:
        """Call prepareHostForMaintenance."""
        host_id = self.world_.row(self.agent).id
        return self.world_.wait_for(
            Deferred.fromCoroutine(self.states.prepare_for_maintenance(host_id, self.account_id))
        )

    def cancel(self) -> Job:
        """Call cancelHostMaintenance."""
        host_id = self.world_.row(self.agent).id
        return self.world_.wait_for(Deferred.fromCoroutine(self.states.cancel_maintenance(host_id, self.account_id)))

    def told(self) -> int:
        """How often the agent was told since the last time."""
        return len(self.agent.take(MaintainCommand))

    def state(self, agent: AgentProcess | None = None) -> ResourceState:
        """Of the host, or of another one."""
        return self.world_.row(agent or self.agent).resource_state

    def status(self, job: Job) -> JobStatus:
        """How a job is now."""
        found = self.world_.read(lambda txn: txn.jobs.get(job.uuid))
        assert found is not None
        return found.status

    def assert_maintained(self, job: Job) -> None:
        """It has come to a good end, and everybody is where they should be."""
        self.assertEqual(ResourceState.MAINTENANCE, self.state())
        self.assertEqual(JobStatus.SUCCEEDED, self.status(job))
        self.assert_up_once(self.world_)
        for number in (1, 3):
            self.assertEqual(ResourceState.ENABLED, self.state(self.world_.agents[number]))


class MaintenanceTests(MaintenanceCase):
    """It is asked into maintenance on A."""

    def setUp(self) -> None:
        """As everybody begins."""
        self.begin()

    def test_asked_elsewhere(self) -> None:
        """The server that has the host does it, and the host is in maintenance with its first ping without VMs."""
        job = self.prepare()
        self.world_.advance(5 * PING)
        self.assertEqual((1, ResourceState.PREPARE_FOR_MAINTENANCE), (self.told(), self.state()))
        self.assertEqual(JobStatus.RUNNING, self.status(job))
        self.vms = 0
        self.world_.advance(PING + 1)
        self.assert_maintained(job)
        self.assertEqual(0, self.told())

    def test_the_server_of_the_host_is_killed_midway(self) -> None:
        """The host's next server tells it again and goes on with the same job."""
        job = self.prepare()
        self.world_.advance(2 * PING)
        self.assertEqual(1, self.told())
        self.world_.kill_server(self.world_.servers[B])
        self.world_.advance(30)
        self.assertIn(self.agent.server, (A, C))
        self.assertEqual((1, ResourceState.PREPARE_FOR_MAINTENANCE), (self.told(), self.state()))
        self.vms = 0
        self.world_.advance(PING + 1)
        self.assert_maintained(job)

    def test_the_server_that_was_asked_is_killed(self) -> None:
        """It had nothing more to do."""
        job = self.prepare()
        self.world_.kill_server(self.world_.servers[A])
        self.world_.advance(30)
        self.vms = 0
        self.world_.advance(PING + 1)
        self.assert_maintained(job)

    def test_server_and_agent_are_killed_and_the_agent_comes_back_much_later(self) -> None:
        """Nobody has ended what the job waited for, but the job; the host is brought into maintenance all the same."""
        job = self.prepare()
        self.world_.advance(2 * PING)
        self.world_.kill_server(self.world_.servers[B])
        self.world_.kill_agent(self.agent)
        self.world_.advance(120)
        self.assertEqual(JobStatus.FAILED, self.status(job))
        self.assertIn(
            self.state(), (ResourceState.PREPARE_FOR_MAINTENANCE, ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE)
        )
        self.vms = 0
        self.world_.restart_agent(self.agent)
        self.run_vms()
        self.world_.advance(30)
        self.assertEqual(ResourceState.MAINTENANCE, self.state())
        self.assertEqual([], list(self.world_.problems(self.agent)))

    def test_the_agents_machine_loses_its_power(self) -> None:
        """An obstacle until it is back."""
        job = self.prepare()
        self.world_.advance(2 * PING)
        self.world_.power_off(self.agent)
        self.world_.advance(60)
        self.assertEqual(ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE, self.state())
        self.vms = 0
        self.world_.restart_agent(self.agent)
        self.run_vms()
        self.world_.advance(30)
        self.assert_maintained(job)

    def test_every_server_is_restarted_one_after_the_other(self) -> None:
        """The host goes from one to the other, and its maintenance with it."""
        self.prepare()
        for address in (B, A, C):
            self.world_.restart_server(self.world_.servers[address])
            self.world_.advance(20)
            self.assertEqual(ResourceState.PREPARE_FOR_MAINTENANCE, self.state(), address)
        self.vms = 0
        self.world_.advance(PING + 1)
        self.assertEqual(ResourceState.MAINTENANCE, self.state())
        self.assert_up_once(self.world_)

    def test_the_server_of_the_host_is_restarted_before_it_has_heard_of_it(self) -> None:
        """What it was to be told is in the row, and in a message that comes while the agent is not ready yet."""
        job = self.prepare()
        self.world_.restart_server(self.world_.servers[B])
        self.world_.advance(20)
        self.assertEqual((1, ResourceState.PREPARE_FOR_MAINTENANCE), (self.told(), self.state()))
        self.vms = 0
        self.world_.advance(PING + 1)
        self.assertEqual(ResourceState.MAINTENANCE, self.state())
        self.assertIsNot(JobStatus.RUNNING, self.status(job))


class DirectTests(DirectCase):
    """A host whose resource runs inside a server."""

    def test_its_server_is_killed_midway(self) -> None:
        """Another one loads it, and goes on."""
        world = self.servers(ping_interval=PING)
        self.add(world, "sim")
        world.advance(2)
        host = self.host(world, "sim")
        (holder,) = self.holders(world, "sim")
        asked = next(server for server in world.running_servers if server is not holder)
        prepared = asked.service.resource_states.prepare_for_maintenance(host.id, 1)
        job = world.wait_for(Deferred.fromCoroutine(prepared))
        world.kill_server(holder)
        world.advance(1)
        self.assertEqual(ResourceState.PREPARE_FOR_MAINTENANCE, self.host(world, "sim").resource_state)
        world.advance(60)
        self.assertEqual(ResourceState.MAINTENANCE, self.host(world, "sim").resource_state)
        self.assertEqual([asked], self.holders(world, "sim"))
        ended = world.read(lambda txn: txn.jobs.get(job.uuid))
        assert ended is not None
        self.assertIsNot(JobStatus.RUNNING, ended.status)


STEPS = st.sampled_from(
    ["prepare", "cancel", "kill A", "kill B", "restart A", "restart B", "kill", "restart", "power off"]
)


class HistoryTests(MaintenanceCase):
    """Whatever happens on the way, what the operator wanted last comes true."""

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.tuples(STEPS, st.sampled_from([0.0, 0.5, 3.0, 20.0])), max_size=8))
    def test_what_was_wanted_last(self, history: list[tuple[str, float]]) -> None:
        """Once all run again and no VM is left, within the time of a ping; and every job has ended."""
        self.begin()
        world, wanted, jobs = self.world_, ResourceState.ENABLED, []
        for step, pause in history:
            if step in ("prepare", "cancel"):
                try:
                    job = self.prepare() if step == "prepare" else self.cancel()
                except NotPossible:
                    continue
                jobs.append(job)
                if self.state() is not ResourceState.ENABLED:
                    wanted = ResourceState.MAINTENANCE
                elif step == "cancel":
                    wanted = ResourceState.ENABLED
            else:
                self.befall(step)
            world.advance(pause)
        for server in (A, B):
            if not world.servers[server].alive:
                world.restart_server(world.servers[server])
        self.vms = 0
        if not self.agent.alive:
            self.befall("restart")
        world.advance(120)
        self.assertEqual(wanted, self.state())
        self.assertEqual([], [job for job in jobs if self.status(job) is JobStatus.RUNNING])
        self.assertEqual([], list(world.problems(self.agent)))

    def befall(self, step: str) -> None:
        """Do something to a server or to the agent."""
        what, _, name = step.partition(" ")
        if what == "power":
            self.world_.power_off(self.agent)
        elif name:
            server = self.world_.servers[{"A": A, "B": B}[name]]
            if what == "restart":
                self.world_.restart_server(server)
            elif server.alive:
                self.world_.kill_server(server)
        elif what == "restart":
            self.world_.restart_agent(self.agent)
            self.run_vms()
        elif self.agent.alive:
            self.world_.kill_agent(self.agent)
