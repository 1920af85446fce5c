"""Stories of evening out by command: at once, by any server, and to an end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from cloudlb.domain.models import Job, JobStatus
from cloudlb.domain.settings import HOST, LB_BAND_AGENTS, LB_ENABLED, MOVE_RATE
from tests.scenarios.test_rebalancing import BAND, FEWEST, A, B, C, D, RebalancingCase
from tests.support.server_process import ServerProcess
from tests.support.world import World


class Commands(RebalancingCase):
    """rebalanceAgents."""

    def joined(self) -> World:
        """A fourth server that nobody has gone to, and servers that do nothing about it by themselves."""
        world = self.world(algorithm="rendezvous", agents=60)
        world.add_server(D)
        world.advance(3)
        world.change_setting(HOST, f"{A},{B},{C},{D}")
        world.settle()
        world.change_setting(LB_ENABLED, "false")
        world.change_setting(MOVE_RATE, "1")
        self.assertNotIn(D, self.placed(world).values())
        return world

    def ask(self, world: World, server: ServerProcess) -> str:
        """Ask a server; the job."""
        job: Job = world.wait_for(Deferred.fromCoroutine(server.service.rebalancer.request(1)))
        return job.uuid

    def job(self, world: World, uuid: str) -> tuple[JobStatus, Any]:
        """How far a job is."""
        job = world.read(lambda txn: txn.jobs.get(uuid))
        assert job is not None
        return job.status, job.result

    def test_moves(self) -> None:
        """Whichever server is asked, the fewest move, and the job tells of each."""
        world = self.joined()
        before = self.placed(world)
        uuid = self.ask(world, world.servers[D])
        moved = []
        for _ in range(60):
            world.advance(0.5)
            status, result = self.job(world, uuid)
            moved += [result["rebalance"]["moved"]] if result else []
        self.assertIs(status, JobStatus.SUCCEEDED)
        numbers = {name: result["rebalance"][name] for name in ("planned", "moved", "stayed", "failed", "left")}
        self.assertEqual(numbers, {"planned": FEWEST, "moved": FEWEST, "stayed": 0, "failed": 0, "left": 0})
        self.assertEqual(moved, sorted(moved))
        self.assertGreater(len(set(moved)), 2)
        self.assertEqual(self.moves(world, before).total(), FEWEST)
        self.assert_up_once(world)

    def test_deleted_hosts(self) -> None:
        """The places that deleted hosts have left to others are the ones that a plan goes by, and so do its moves."""
        world = self.world(algorithm="roundrobin", agents=12, settings={LB_ENABLED: "false", LB_BAND_AGENTS: "1"})
        for number in (1, 4, 7):
            world.delete_host(world.agents[number])
        world.advance(5)
        planned = len(self.plan(world).moves)
        self.assertGreater(planned, 0)
        uuid = self.ask(world, world.servers[B])
        world.advance(30)
        status, result = self.job(world, uuid)
        self.assertEqual((JobStatus.SUCCEEDED, planned), (status, result["rebalance"]["moved"]), result)
        self.assertEqual((), self.plan(world).moves)

    def test_server_dies(self) -> None:
        """The job of a server that dies is ended by another one; the next one has the moves made."""
        world = self.joined()
        before = self.placed(world)
        uuid = self.ask(world, world.servers[D])
        self.assertIs(self.job(world, uuid)[0], JobStatus.RUNNING)
        world.advance(1)
        world.kill_server(world.servers[D])
        world.advance(BAND)
        status, result = self.job(world, uuid)
        self.assertIs(status, JobStatus.FAILED)
        self.assertIn("died", result["errortext"])
        world.restart_server(world.servers[D])
        world.advance(5)
        again = self.ask(world, world.servers[A])
        world.advance(30)
        self.assertIs(self.job(world, again)[0], JobStatus.SUCCEEDED)
        self.assertEqual(self.moves(world, before).total(), FEWEST)
        self.assert_up_once(world)

    def test_placed(self) -> None:
        """Under CloudStack's algorithms who is on the preferred server stays, and the job says so."""
        world = self.world(algorithm="static", agents=30)
        status, result = self.job(world, self.ask(world, world.servers[B]))
        self.assertIs(status, JobStatus.SUCCEEDED)
        self.assertEqual(result["rebalance"]["planned"], 0)
        (stay,) = result["rebalance"]["stay"]
        self.assertEqual(
            (stay["reason"], stay["count"]), ("it is on the first server of its list that takes agents", 30)
        )
        self.assertIn("cannot be improved", result["rebalance"]["note"][0])
