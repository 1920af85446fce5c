"""Stories of commands to hosts of other servers, while servers and hosts come, go and hang."""

from __future__ import annotations

from pathlib import Path

from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, CommandCancelled, CommandError, LinkLost
from cloudlb.wire import Answer, CancelCommand, Opaque
from tests.scenarios.case import WorldCase
from tests.scenarios.forwarding import KINDS, PING, TIMEOUT, A, B, C, Play, Sent, move


class StoryTests(WorldCase):
    """What becomes of one command; agent 2 is on the second server, and the first is asked."""

    def begin(self, delay: float = 2.0) -> None:
        record = Path(self.mktemp())
        properties = f"backoff.seconds=1\nsimulator.delay={delay}\nsimulator.record={record}\n"
        world = self.world(agents=3, ping_interval=PING, algorithm="shuffle", properties=properties)
        self.play = Play(world, record)
        self.clock, self.servers, self.agent = world.clock, world.servers, world.agents[2]
        if self.agent.server != B:
            move(world, self.agent, B)
            world.settle()
        self.assertEqual(self.agent.server, B)
        # So that a link is there.
        self.assert_answered(self.send("query", timeout=60), within=delay + 1)
        self.agent.received.clear()

    def send(self, kind: str, server: str = A, *, in_sequence: bool = False, timeout: float = TIMEOUT) -> Sent:
        return self.play.send(server, self.agent, kind, in_sequence=in_sequence, timeout=timeout)

    def assert_answered(self, sent: Sent, within: float = 0.0) -> None:
        """It has its answer, and was carried out once."""
        self.play.world.advance(within)
        [end] = sent.ends
        self.assertIsInstance(end, list, str(end))
        self.assertEqual(self.play.executed().count(sent.mark), 1)

    def assert_error(self, sent: Sent, kind: type[CommandError], words: str, *, executed: int) -> None:
        """It ended with an error, and was carried out or not."""
        [end] = sent.ends
        self.assertIs(type(end), kind, str(end))
        self.assertIn(words, str(end))
        self.assertEqual(self.play.executed().count(sent.mark), executed)

    def test_every_kind(self) -> None:
        """Also of a class that no server knows; what it holds is not touched."""
        self.begin()
        for kind in KINDS:
            self.assert_answered(self.send(kind), within=3)
        fields = {element.wire_name: element.fields for element in self.agent.received if isinstance(element, Opaque)}
        self.assertEqual(fields["com.example.UnheardOfCommand"]["vm"], {"name": self.play.sent[-1].mark})

    def test_large(self) -> None:
        """Compressed once, by the server that was asked."""
        self.begin()
        large = Opaque("com.example.LargeCommand", {"text": "x" * 100_000})
        answer = self.servers[A].service.sender.send(self.play.world.row(self.agent).id, [large], timeout=5)
        self.play.world.advance(3)
        self.assertEqual(self.successResultOf(answer)[0], Answer())
        self.assertEqual(self.agent.received[-1].fields["text"], "x" * 100_000)  # type: ignore[union-attr]

    def test_the_host_moves_under_way(self) -> None:
        """The answer comes over the old link, and the next command goes to the new server."""
        self.begin(delay=5)
        first = self.send("query")
        self.play.world.advance(0.5)
        move(self.play.world, self.agent, C)
        self.play.world.advance(3)
        self.assertEqual((self.agent.server, first.ends), (C, []))
        second = self.send("query")
        self.assert_answered(first, within=2)
        self.assert_answered(second, within=5)
        self.assertTrue(self.servers[C].service.relays)

    def test_its_turn_had_not_come(self) -> None:
        """What waited on the old server for its turn goes to the new one, whichever server was asked."""
        self.begin(delay=3)
        running = self.send("query", B, in_sequence=True)
        self.play.world.advance(0.2)
        waiting = [self.send("query", server, in_sequence=True) for server in (A, B)]
        self.play.world.advance(0.2)
        move(self.play.world, self.agent, C)
        self.play.world.advance(12)
        self.assertEqual(self.agent.server, C)
        for sent in (running, *waiting):
            self.assert_answered(sent)

    def test_its_turn_comes_when_the_old_link_is_done(self) -> None:
        """What was sent on the old link, and is still on its way there, comes before what goes to the new server."""
        self.begin(delay=0)
        world, agent = self.play.world, self.agent
        move(world, agent, C)
        while agent.server != C:
            world.advance(0.001)
        world.network.cut(B, agent.address, one_way=True)
        sent = [self.send("query", B, in_sequence=True) for _ in range(2)]
        world.advance(1)
        sent.append(self.send("query", B, in_sequence=True))
        world.advance(1)
        self.assertEqual([[], [], []], [each.ends for each in sent])
        world.network.heal()
        world.advance(5)
        for each in sent:
            self.assert_answered(each)
        self.assertEqual([each.mark for each in sent], self.play.executed()[-3:])

    def test_the_owner_is_dead_before(self) -> None:
        """The host is waited for, and found where it goes."""
        self.begin()
        self.play.world.kill_server(self.servers[B])
        self.play.world.advance(0.01)
        sent = self.send("query")
        self.assert_answered(sent, within=15)
        self.assertIn(self.agent.server, (A, C))

    def test_nobody_takes_the_host(self) -> None:
        """A definite error in time, and nothing of it later."""
        self.begin()
        self.play.world.kill_server(self.servers[B])
        self.play.world.kill_agent(self.agent)
        self.play.world.advance(0.01)
        sent = self.send("query", timeout=60)
        self.play.world.advance(31)
        self.assert_error(sent, AgentUnavailable, "host agent-2", executed=0)
        self.play.world.restart_agent(self.agent)
        self.play.world.advance(40)
        self.assert_error(sent, AgentUnavailable, "host agent-2", executed=0)

    def test_the_owner_dies_under_way(self) -> None:
        """A query fails at once; what is journalled has its answer by the agent's next session."""
        self.begin(delay=4)
        query, change = self.send("query"), self.send("change")
        self.play.world.advance(0.5)
        self.play.world.kill_server(self.servers[B])
        self.play.world.advance(0.1)
        self.assert_error(query, LinkLost, "server 10.0.0.2", executed=1)
        self.assertEqual(change.ends, [])
        self.assert_answered(change, within=PING + 10)

    def test_the_owner_hangs(self) -> None:
        """Found to be Down, it is given up; what it had got it may still carry out, and says so nowhere."""
        self.begin()
        self.play.world.freeze(self.servers[B])
        query = self.send("query", timeout=100)
        self.play.world.advance(40)
        self.assert_error(query, LinkLost, "is Down", executed=0)
        self.play.world.thaw(self.servers[B])
        self.play.world.advance(20)
        self.assertLessEqual(self.play.executed().count(query.mark), 1)
        self.assert_answered(self.send("query"), within=5)

    def test_cut_off(self) -> None:
        """Whichever way packets vanish there is an end in time, and a later command gets through."""
        for way in ((A, B), (B, A)):
            self.begin()
            self.play.world.network.cut(*way, one_way=True)
            query = self.send("query", timeout=8)
            self.play.world.advance(9)
            self.assert_error(query, AgentTimedOut, "did not answer in time", executed=way == (B, A))
            self.play.world.network.heal()
            self.assert_answered(self.send("query"), within=5)

    def test_cut_off_before(self) -> None:
        """Without a link the command was not sent, and never will be."""
        self.begin()
        self.play.world.network.cut(C, B)
        sent = self.send("query", C, timeout=12)
        self.play.world.advance(13)
        self.assert_error(sent, AgentTimedOut, "was not sent it within 12 s", executed=0)
        self.play.world.network.heal()
        self.play.world.advance(20)
        self.assert_error(sent, AgentTimedOut, "was not sent it", executed=0)

    def test_the_asking_server_dies(self) -> None:
        """What had not been sent is not sent any more; what had is carried out."""
        self.begin(delay=3)
        own = self.send("query", B, in_sequence=True)
        self.play.world.advance(0.1)
        under_way, waiting = self.send("query"), self.send("query", in_sequence=True)
        self.play.world.advance(0.1)
        self.play.world.kill_server(self.servers[A])
        self.play.world.advance(20)
        self.assertEqual([self.play.executed().count(each.mark) for each in (own, under_way, waiting)], [1, 1, 0])
        self.assertEqual(len(self.servers[B].service.relays), 0)

    def test_the_asking_server_hangs(self) -> None:
        """Found to be Down, it is as good as dead."""
        self.begin(delay=30)
        own = self.send("query", B, in_sequence=True, timeout=60)
        self.play.world.advance(0.1)
        waiting = self.send("query", in_sequence=True, timeout=60)
        self.play.world.advance(0.1)
        self.play.world.freeze(self.servers[A])
        self.play.world.advance(50)
        self.assertEqual([self.play.executed().count(each.mark) for each in (own, waiting)], [1, 0])

    def test_too_late(self) -> None:
        """The asking server calls it off, and the owner tells the host."""
        self.begin(delay=10)
        query = self.send("query", timeout=3)
        self.play.world.advance(4)
        self.assert_error(query, AgentTimedOut, "did not answer in time, which was 3 s", executed=1)
        self.assertEqual(len([each for each in self.agent.received if isinstance(each, CancelCommand)]), 1)
        self.play.world.advance(10)
        self.assertEqual(len(self.play.sent[-1].ends), 1)

    def test_cancelled(self) -> None:
        """By who sent it."""
        self.begin(delay=10)
        query, waiting = self.send("query", in_sequence=True), self.send("query", in_sequence=True)
        self.play.world.advance(1)
        for sent in (waiting, query):
            sent.answer.cancel()
            self.assertIsInstance(sent.ends[0], CommandCancelled)
        self.play.world.advance(1)
        self.assertTrue(any(isinstance(each, CancelCommand) for each in self.agent.received))
        self.play.world.advance(20)
        self.assertEqual([self.play.executed().count(each.mark) for each in (query, waiting)], [1, 0])
        self.assertEqual(len(self.servers[A].service.forwarding), 0)

    def test_the_owner_is_started_again(self) -> None:
        """Between two heartbeats, so that nobody has seen it Down."""
        self.begin()
        self.play.world.restart_server(self.servers[B])
        self.play.world.advance(0.2)
        self.assert_answered(self.send("query"), within=20)

    def test_stop(self) -> None:
        """A server that stops leaves nobody waiting, and nothing on its clock."""
        self.begin(delay=10)
        sent = [self.send("query", timeout=60) for _ in range(3)]
        self.play.world.advance(0.5)
        self.play.world.stop_server(self.servers[A])
        self.assertEqual([type(each.ends[0]) for each in sent], [CommandCancelled] * 3)
        self.play.world.stop_server(self.servers[B])
