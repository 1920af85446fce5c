"""The world itself: that it is repeatable, and that its questions can be answered with no."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, ServerId, StatusChange
from tests.support.results import result_of
from tests.support.world import World


def _down(host: Host) -> StatusChange:
    return StatusChange(
        host_id=host.id, session=host.session, event=HostEvent.HOST_DOWN, server_id=ServerId(1), reason="a test said so"
    )


class RepeatableTests(SynchronousTestCase):
    """Equal seeds and equal calls give equal histories."""

    def history(self, seed: int) -> list[tuple[float, str]]:
        """Every line that the daemons log, with its time."""
        lines: list[tuple[float, str]] = []

        def observe(event: LogEvent) -> None:
            if event["log_namespace"].startswith(("cloudlb.", "agent.")):
                lines.append((world.clock.seconds(), str(event["log_format"])))

        world = World(Path(self.mktemp()), seed=seed, check_interval=5, ping_interval=6)
        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # any callable will do
        try:
            world.kill_server(world.servers["10.0.0.2"])
            world.freeze(world.servers["10.0.0.3"])
            world.advance(30)
            world.thaw(world.servers["10.0.0.3"])
            world.restart_server(world.servers["10.0.0.2"])
            world.advance(30)
        finally:
            globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]  # any callable will do
            world.close()
        return lines

    def test_seed(self) -> None:
        """The seed decides what happens when, to the microsecond."""
        first, again, other = self.history(1), self.history(1), self.history(2)
        self.assertTrue(len(first) > 30, first)
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)


class QuestionTests(SynchronousTestCase):
    """What is asked of a world finds what is wrong."""

    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), agents=1)
        self.addCleanup(self.world.close)

    def test_problems(self) -> None:
        """An agent that is well has none; one whose row is not, or that is gone, has some."""
        world, agent = self.world, self.world.agents[1]
        self.assertEqual(list(world.problems(agent)), [])
        row = world.row(agent)
        server = world.servers["10.0.0.1"]
        assert row.session
        result_of(server.database.run(lambda txn: txn.hosts.transition([_down(row)], 0)))
        self.assertEqual(list(world.problems(agent)), ["agent-1 is on 10.0.0.1, its row says Down on 10.0.0.1"])
        world.freeze(server)
        world.kill_agent(agent)
        world.restart_agent(agent)
        problems = list(world.problems(agent))
        self.assertIn("agent-1 is up nowhere", problems)
        self.assertIn("agent-1 sees itself on None, and ['10.0.0.1'] see it on themselves", problems)

    def test_stale_writes(self) -> None:
        """A server that writes the status of a host which is not its own is found out."""
        world = self.world
        row = world.row(world.agents[1])
        stranger = world.servers["10.0.0.2"]
        self.assertNotEqual(row.server_id, ServerId(stranger.service.membership.own.id))
        self.assertEqual(world.stale_writes(), [])
        result_of(stranger.database.run(lambda txn: txn.hosts.transition([_down(row)], 0)))
        self.assertEqual(world.stale_writes(), [(row.id, row.session, "Up", "Down", row.server_id, "10.0.0.2")])
