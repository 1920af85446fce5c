"""What the daemons log of one command, and of what befalls an agent: a line each, for people and by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire import CheckHealthCommand, MaintainCommand
from tests.support.world import World


class LogTests(SynchronousTestCase):
    """A cluster whose daemons all log to one place."""

    def start(self, **options: Any) -> World:
        """Start one; from then on its lines are kept."""
        world = World(Path(self.mktemp()), **options)
        self.addCleanup(world.close)
        self.events: list[LogEvent] = []
        observer = cast("ILogObserver", self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return world

    def lines(self, *words: str) -> list[str]:
        """The lines that have some words, of either daemon."""
        texts = [formatEvent(event) for event in self.events]
        return [text for text in texts if all(word in text for word in words)]

    def test_one_id_for_a_command(self) -> None:
        """The server that sends it, through another one, and the agent that carries it out call it the same."""
        world = self.start(servers=2, agents=2, properties="simulator.delay=1\n")
        agent = next(each for each in world.agents.values() if each.server == "10.0.0.2")
        host_id = world.row(agent).id
        sent = world.servers["10.0.0.1"].service.sender.send(host_id, [MaintainCommand()])
        world.advance(3)
        self.assertEqual(1, len(self.successResultOf(sent)))
        by_agent, by_server = self.lines("MaintainCommand")
        self.assertRegex(by_agent, r"^MaintainCommand is done after 1\.\d+ s \(logid:[0-9a-f]{8}\)$")
        self.assertRegex(by_server, rf"^MaintainCommand for host {host_id}: answered after 1\.\d+ s \(logid:")
        self.assertEqual(by_agent.partition("logid:")[2], by_server.partition("logid:")[2])

    def test_queries_are_not_told(self) -> None:
        """Nobody wants to read of each question that was answered; of one that was not, there is a line."""
        world = self.start(servers=1, agents=1, properties="simulator.delay=5\n")
        server, host_id = world.servers["10.0.0.1"], world.row(world.agents[1]).id
        sent = server.service.sender.send(host_id, [CheckHealthCommand()])
        world.advance(6)
        self.successResultOf(sent)
        self.assertEqual([], self.lines("CheckHealthCommand"))
        sent = server.service.sender.send(host_id, [CheckHealthCommand()], timeout=2)
        world.advance(3)
        self.failureResultOf(sent)
        (line,) = self.lines("CheckHealthCommand")
        self.assertRegex(line, r"^CheckHealthCommand for host agent-1: timed_out after 2\.\d+ s \(logid:[0-9a-f]{8}\)$")

    def test_failover(self) -> None:
        """Of each agent of a server that died there is a line on the next one, which says where it should be."""
        world = self.start(servers=2, agents=2, algorithm="roundrobin")
        self.events.clear()
        world.kill_server(world.servers["10.0.0.2"])
        world.advance(20)
        (line,) = self.lines("is Up, session")
        self.assertRegex(line, r"^host agent-\d \(\d\) is Up, session \d; its list begins with 10\.0\.0\.2$")
        self.assertEqual(["server 10.0.0.2 is now Down"], self.lines("server 10.0.0.2"))

    def test_settings(self) -> None:
        """Each server says which have changed, also the one that was not asked to change them."""
        world = self.start(servers=2, agents=0)
        world.change_setting("ping.timeout", "4")
        world.advance(2)
        self.assertEqual(["settings have changed: ping.timeout"], self.lines("have changed"))
        self.assertEqual(["setting ping.timeout is now '4' (global)"], self.lines("is now"))

    def test_database(self) -> None:
        """It is away, and back: a line each for heartbeats and for news, however long it takes."""
        world = self.start(servers=1, agents=0, database_lag=0.01)
        world.servers["10.0.0.1"].lose_database(away=True)
        world.advance(20)
        world.servers["10.0.0.1"].lose_database(away=False)
        world.advance(10)
        self.assertEqual(1, len(self.lines("no heartbeat while the database is unavailable")))
        self.assertEqual(1, len(self.lines("heartbeats are written again")))
        self.assertEqual(1, len(self.lines("the bus can be read again")))
