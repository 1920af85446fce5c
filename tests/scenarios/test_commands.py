"""After any history of sends and faults every command has ended once, and none was carried out twice.

Hypothesis makes up histories; see tests.scenarios.test_convergence for how to have more of them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.command_orders import Order
from cloudlb.agents.errors import CommandError
from cloudlb.domain.models import Job, JobStatus
from cloudlb.domain.ports import KeyTaken, NotFound, StoreUnavailable
from cloudlb.wire import CheckHealthCommand, Command, MaintainCommand, Opaque
from tests.scenarios.case import WorldCase
from tests.scenarios.histories import WorldHistory, run_histories
from tests.support.agent_process import AgentProcess
from tests.support.marks import is_mark
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
SERVERS, AGENTS = 3, 3
PING = 6
TIMEOUT = 20
ENDED = 240.0
"""Seconds after the faults in which the last job has ended: its deadline, and somebody's look at it, with margins."""
MARK = "logid"
"""The key of the context map by which the simulator records what has no id."""
NEVER_SENT = ("unavailable", "busy", "not carried out")

servers = st.integers(1, SERVERS).map(lambda number: f"10.0.0.{number}")
agents = st.integers(1, AGENTS)
moments = st.sampled_from([0.0, 0.001, 0.05, 0.5, 2.0, 9.0, 30.0])


@frozen
class JobRow:
    """A job as the database has it."""

    uuid: str
    status: int
    result: str

    @property
    def kind(self) -> str:
        """Of an error what stands before the first colon."""
        return str(json.loads(self.result).get("errortext", "")).partition(":")[0]


class History(WorldHistory):
    """Commands, what befalls them, and what must hold."""

    @initialize(
        lag=st.sampled_from([0.0, 0.02]),
        interval=st.sampled_from([0, 5]),
        delay=st.sampled_from([1, 13]),
        seed=st.integers(0, 2**32),
    )
    def begin(self, lag: float, interval: int, delay: int, seed: int) -> None:
        """Start a cluster."""
        self.watch()
        self.record = Path(self.folder, "executed")
        self.ended: dict[str, JobRow] = {}
        self.sent = 0
        self.waiting: dict[ServerProcess, list[Deferred[object]]] = defaultdict(list)
        self.world = World(
            Path(self.folder, "world"),
            servers=SERVERS,
            agents=AGENTS,
            seed=seed,
            check_interval=interval,
            ping_interval=PING,
            database_lag=lag,
            # Of commands that take long, servers hear while they are under way.
            properties="backoff.seconds=1\nbackoff.max.seconds=5\n"
            f"simulator.delay={delay}\nsimulator.record={self.record}\n",
        )

    # What is sent.

    @precondition(lambda self: self.world.running_servers)
    @rule(
        server=servers,
        agent=agents,
        changes=st.booleans(),
        key=st.sampled_from([None, None, "one", "two"]),
        count=st.sampled_from([1, 1, 4]),
    )
    def send_jobs(self, server: str, agent: int, changes: bool, key: str | None, count: int) -> None:
        """Somebody calls any server, and perhaps calls again."""
        chosen = self.world.servers[server]
        if not chosen.running:
            chosen = self.world.running_servers[0]
        command: Command | Opaque = MaintainCommand() if changes else CheckHealthCommand()
        order = Order(host=f"agent-{agent}", command=command, timeout=TIMEOUT, key=key, account_id=1)
        for _ in range(count):
            started = Deferred.fromCoroutine(chosen.service.command_jobs.start(order))
            started.addErrback(lambda failure: failure.trap(NotFound, KeyTaken, StoreUnavailable))

    @rule(server=servers, agent=agents)
    def send_in_sequence(self, server: str, agent: int) -> None:
        """The code above sends two commands, one to be carried out after the other."""
        chosen, host_id = self.world.servers[server], self.world.host_id(self.world.agents[agent])
        if not chosen.running or host_id is None:
            return
        for _ in range(2):
            self.sent += 1
            mark = f"{chosen.address}/{id(chosen.machine)}/{agent}/{self.sent}"
            command = CheckHealthCommand(context_map={MARK: mark})
            answer: Deferred[object] = chosen.service.sender.send(
                host_id, [command], timeout=TIMEOUT, in_sequence=True
            ).addErrback(lambda failure: failure.trap(CommandError))
            self.waiting[chosen].append(answer)

    # What passes.

    @rule(seconds=moments)
    def wait(self, seconds: float) -> None:
        """Time."""
        self.world.advance(seconds)

    @rule(server=servers, silently=st.booleans())
    def kill_server(self, server: str, silently: bool) -> None:
        """A server dies, with or without the RSTs of its links."""
        chosen = self.world.servers[server]
        self.waiting.pop(chosen, None)
        if silently:
            self.world.power_off(chosen)
        else:
            self.world.kill_server(chosen)

    @rule(agent=agents, changes=st.booleans(), seconds=st.sampled_from([0.1, 0.4, 3.0]))
    def kill_server_under_way(self, agent: int, changes: bool, seconds: float) -> None:
        """A server dies that has just taken a command for a host of its own."""
        address = self.world.agents[agent].server if self.world.agents[agent].alive else None
        if address is not None and self.world.servers[address].running:
            self.send_jobs(address, agent, changes, None, 1)
            self.world.advance(seconds)
            self.kill_server(address, silently=False)
            self.world.advance(15)

    @rule(server=servers)
    def restart_server(self, server: str) -> None:
        """A server starts anew."""
        self.waiting.pop(self.world.servers[server], None)
        self.world.restart_server(self.world.servers[server])

    @rule(server=servers, seconds=st.sampled_from([1.0, 9.0, 40.0]))
    def freeze_server(self, server: str, seconds: float) -> None:
        """A server hangs for a while."""
        if self.world.servers[server].running:
            self.world.freeze(self.world.servers[server])
            self.world.advance(seconds)
            self.world.thaw(self.world.servers[server])

    @rule(server=servers, agent=agents, seconds=st.sampled_from([1.0, 2 * PING + 0.5]))
    def cut(self, server: str, agent: int, seconds: float) -> None:
        """One agent and one server do not reach each other."""
        self.world.network.cut(server, self.world.agents[agent].address)
        self.world.advance(seconds)
        self.world.network.heal()

    @rule(agent=agents, restarted=st.booleans())
    def kill_agent(self, agent: int, restarted: bool) -> None:
        """An agent dies, and perhaps starts anew at once."""
        chosen = self.world.agents[agent]
        self.world.kill_agent(chosen)
        if restarted:
            self.world.restart_agent(chosen)

    @rule(agent=agents, seconds=st.sampled_from([2.0, 9.0, 30.0]))
    def freeze_agent(self, agent: int, seconds: float) -> None:
        """An agent is slow."""
        chosen = self.world.agents[agent]
        if chosen.alive and not chosen.frozen:
            self.world.freeze(chosen)
            self.world.advance(seconds)
            self.world.thaw(chosen)

    # What holds all the while.

    @invariant()
    def nothing_is_broken(self) -> None:
        """No defect is logged, and no stale session has changed a row."""
        assert self.failures == [], self.failures
        assert self.world.stale_writes() == []

    @invariant()
    def a_job_ends_once(self) -> None:
        """What has ended stays as it is."""
        for row in self.jobs():
            if row.uuid in self.ended:
                assert self.ended[row.uuid] == row, f"{row} was {self.ended[row.uuid]}"
            elif row.status:
                self.ended[row.uuid] = row

    @invariant()
    def nothing_is_carried_out_twice(self) -> None:
        """Neither what has an id nor what has none; and nothing of which a job says that it never was sent."""
        counted = Counter(self.executed())
        twice = [mark for mark, count in counted.items() if count > 1]
        assert twice == [], twice
        lies = [row for row in self.ended.values() if row.kind in NEVER_SENT and counted[row.uuid]]
        assert lies == [], lies

    @invariant()
    def order_is_kept(self) -> None:
        """What one server sends to one host in sequence is begun in the order in which it was sent."""
        lines = defaultdict(list)
        for mark in self.executed():
            line, slash, number = mark.rpartition("/")
            if slash:
                lines[line].append(int(number))
        disorderly = [line for line in lines.items() if line[1] != sorted(line[1])]
        assert disorderly == [], disorderly

    def executed(self) -> list[str]:
        """What was carried out, in order, by the marks of the commands; what servers ask by themselves has none."""
        if not self.record.exists():
            return []
        marks = (line.split()[1] for line in self.record.read_text(encoding="utf-8").splitlines())
        return [mark for mark in marks if is_mark(mark)]

    def jobs(self) -> list[JobRow]:
        """Every job."""
        with self.world._own._read_engine.begin() as connection:
            rows = connection.exec_driver_sql("SELECT uuid, status, result FROM async_job")
            return [JobRow(*row) for row in rows]

    # What holds in the end.

    def teardown(self) -> None:
        """Stop the faults, let time pass, and look."""
        if not hasattr(self, "world"):
            return
        try:
            self.end_faults()
            self.world.advance(ENDED)
            self.nothing_is_broken()
            self.a_job_ends_once()
            self.nothing_is_carried_out_twice()
            self.order_is_kept()
            endless = [row for row in self.jobs() if not row.status]
            assert endless == [], endless
            for server, answers in self.waiting.items():
                assert all(answer.called for answer in answers), server.address
            for agent in self.world.agents.values():
                self.knows_nothing_more(agent)
        finally:
            self.let_go()

    def end_faults(self) -> None:
        """Everything runs and is reached."""
        world = self.world
        world.network.heal()
        for server in world.servers.values():
            if not server.alive:
                world.restart_server(server)
        for agent in world.agents.values():
            if not agent.alive:
                world.restart_agent(agent)

    def knows_nothing_more(self, agent: AgentProcess) -> None:
        """An agent was told that it may forget what it has carried out."""
        assert not agent.service.agent._journal.untold, agent.name


class StoryTests(WorldCase):
    """What becomes of one command when servers die."""

    def begin(self, delay: int = 5) -> None:
        """A cluster whose commands take a while; agent 2 is on the second server."""
        record = Path(self.mktemp())
        self.record = record
        self.play = self.world(
            agents=3, ping_interval=PING, properties=f"simulator.delay={delay}\nsimulator.record={record}\n"
        )
        self.agent = self.play.agents[2]
        self.assertEqual(B, self.agent.server)

    def start(self, command: Command, server: str = A, key: str | None = None) -> str:
        """Have a server take a command for agent 2; the job's uuid."""
        order = Order(host="agent-2", command=command, timeout=60, key=key, account_id=1)
        started = Deferred.fromCoroutine(self.play.servers[server].service.command_jobs.start(order))
        return self.play.wait_for(started).uuid

    def job(self, uuid: str) -> Job:
        """A job as it is now."""
        job = self.play.read(lambda txn: txn.jobs.get(uuid))
        assert job is not None
        return job

    def executed(self, uuid: str) -> int:
        """How often a command was carried out."""
        return self.record.read_text().count(uuid) if self.record.exists() else 0

    def assert_error(self, uuid: str, kind: str) -> None:
        """A job has ended with a kind of error."""
        self.assertEqual(JobStatus.FAILED, self.job(uuid).status)
        self.assertEqual(kind, self.job(uuid).result["errortext"].partition(":")[0])

    def test_under_way(self) -> None:
        """A command that changes something has its answer through the agent's next server."""
        self.begin(delay=20)
        uuid = self.start(MaintainCommand())
        self.play.advance(1)
        self.play.kill_server(self.play.servers[B])
        self.play.advance(18)
        self.assertEqual(JobStatus.RUNNING, self.job(uuid).status)
        self.play.advance(3)
        self.assertEqual(JobStatus.SUCCEEDED, self.job(uuid).status)
        self.assertEqual(1, self.executed(uuid))

    def test_ended_while_away(self) -> None:
        """So has one that ends while the agent has no server."""
        self.begin()
        uuid = self.start(MaintainCommand())
        self.play.advance(1)
        for server in self.play.servers.values():
            self.play.kill_server(server)
        self.play.advance(10)
        self.play.restart_server(self.play.servers[C])
        self.play.advance(40)
        self.assertEqual((JobStatus.SUCCEEDED, 1), (self.job(uuid).status, self.executed(uuid)))

    def test_agent_restarted(self) -> None:
        """An agent that died over it says that nobody knows, which is an answer; it is not carried out again."""
        self.begin()
        uuid = self.start(MaintainCommand())
        self.play.advance(1)
        self.play.restart_agent(self.agent)
        self.play.advance(10)
        self.assertEqual((JobStatus.SUCCEEDED, 1), (self.job(uuid).status, self.executed(uuid)))
        self.assertIn("unknown", self.job(uuid).result["details"])

    def test_never_sent(self) -> None:
        """The agent denies what its server took and did not send; it is told so, and may be sent again."""
        self.begin()
        self.play.freeze(self.play.servers[B])
        uuid = self.start(MaintainCommand())
        self.play.power_off(self.play.servers[B])
        self.play.advance(3 * PING + 15)
        self.assert_error(uuid, "not carried out")
        self.play.restart_server(self.play.servers[B])
        self.play.advance(60)
        self.assertEqual(0, self.executed(uuid))

    def test_query(self) -> None:
        """Of a query nobody knows."""
        self.begin()
        uuid = self.start(CheckHealthCommand())
        self.play.advance(1)
        self.play.kill_server(self.play.servers[B])
        self.play.advance(15)
        self.assert_error(uuid, "unknown")

    def test_started_again_at_once(self) -> None:
        """A server that was never seen to be down looks after its own."""
        self.begin()
        query, change = self.start(CheckHealthCommand()), self.start(MaintainCommand())
        self.play.advance(1)
        self.play.restart_server(self.play.servers[B])
        self.play.advance(60)
        self.assert_error(query, "unknown")
        self.assertEqual((JobStatus.SUCCEEDED, 1), (self.job(change).status, self.executed(change)))

    def test_caller_repeats(self) -> None:
        """Whose server dies before it answers calls another one, and the command is sent once."""
        self.begin()
        uuid = self.start(MaintainCommand(), server=A, key="mine")
        self.play.kill_server(self.play.servers[A])
        self.assertEqual(uuid, self.start(MaintainCommand(), server=C, key="mine"))
        self.play.advance(10)
        self.assertEqual(uuid, self.start(MaintainCommand(), server=B, key="mine"))
        self.assertEqual((JobStatus.SUCCEEDED, 1), (self.job(uuid).status, self.executed(uuid)))

    def test_stopped(self) -> None:
        """A clean stop leaves it to the others, too."""
        self.begin(delay=12)
        uuid = self.start(MaintainCommand())
        self.play.advance(1)
        self.play.stop_server(self.play.servers[B])
        self.play.advance(20)
        self.assertEqual((JobStatus.SUCCEEDED, 1), (self.job(uuid).status, self.executed(uuid)))


class CommandTests(SynchronousTestCase):
    """Histories that Hypothesis makes up."""

    def test_histories(self) -> None:
        """Every command ends once, in order, and none is carried out twice."""
        run_histories(History)
