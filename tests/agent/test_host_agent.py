"""One agent among several servers that loses them."""

from __future__ import annotations

from cloudlb.wire import PingAnswer, SetupMSListCommand, StartupAnswer
from tests.agent.three_servers import A, B, C, ThreeServers


class FailoverTests(ThreeServers):
    """Losing servers."""

    def test_killed(self) -> None:
        """A killed server is replaced at once, by the next in the list, wherever one is."""
        self.world.agent()
        self.world.advance(100)
        for lost, then in ((A, B), (B, C)):
            self.world.kill(lost)
            self.world.advance(0.1)
            self.assertEqual(self.world.on, then)
        self.world.restart(A)
        self.world.advance(100)
        self.world.kill(C)
        self.world.advance(0.1)
        self.assertEqual(self.world.on, A)

    def test_killed_soon(self) -> None:
        """It makes no difference if the servers die right after the start, with a new list in between."""
        self.ready(ms_host_list=(A, B, C), lb_algorithm="roundrobin")
        self.world.agent()
        for lost, then in ((A, B), (B, C)):
            self.world.kill(lost)
            self.world.advance(0.1)
            self.assertEqual(self.world.on, then)

    def test_frozen_or_gone(self) -> None:
        """A server that hangs, or vanishes without a word, is left within 2 ping intervals."""
        for interval, retries in ((60, 5), (60, 1), (10, 5), (2, 3), (30, 20)):
            for frozen in (True, False):
                for after in (0.1, 0.7, 1.3):
                    with self.subTest(interval=interval, retries=retries, frozen=frozen, after=after):
                        self.setUp()
                        for server in self.world.servers.values():
                            server.script.startup_answer = StartupAnswer(ping_interval=interval)
                        self.world.agent(f"ping.retries={retries}")
                        self.world.advance(after * interval)
                        if frozen:
                            self.world.network.freeze(self.world.servers[A].machine)
                        else:
                            self.world.network.cut("10.0.0.1", A)
                        self.world.advance(2 * interval + 0.01)
                        self.assertEqual(self.world.on, B)

    def test_unreachable(self) -> None:
        """A server that does not even refuse is passed after 5 s."""
        self.world.network.cut("10.0.0.1", A)
        self.world.agent()
        self.world.advance(5.1)
        self.assertEqual(self.world.on, B)

    def test_hung(self) -> None:
        """Of servers that accept and then hang, each costs 15 s while others are left, but the last may be slow."""
        for silent in ("in the handshake", "before StartupAnswer", "before ReadyCommand"):
            with self.subTest(silent=silent):
                self.setUp()
                for address in (A, B):
                    server = self.world.servers[address]
                    server.script.ready = None
                    if silent == "in the handshake":
                        self.world.network.freeze(server.machine)
                    elif silent == "before StartupAnswer":
                        server.script.startup_answer = None
                ready, self.world.servers[C].script.ready = self.world.servers[C].script.ready, None
                self.world.agent()
                self.world.advance(14)
                self.assertEqual(len(self.world.servers[B].connections), 0)
                self.world.advance(16.5)
                assert ready is not None
                self.world.advance(50)
                self.world.connection(C).send(ready)
                self.world.advance(0.1)
                self.assertEqual(self.world.on, C)
                self.assertEqual(len(self.world.servers[C].connections), 1)

    def test_all_gone(self) -> None:
        """With nobody there the agent goes on looking, and is up within the bound once somebody is."""
        self.world.agent("backoff.max.seconds=20")
        for address in (A, B, C):
            self.world.kill(address)
        self.world.advance(3600)
        self.world.restart(B)
        self.world.advance(21)
        self.assertEqual(self.world.on, B)

    def test_avoided(self) -> None:
        """A server that is to be avoided is passed over."""
        self.world.agent()
        self.world.servers[A].script.ping_answer = PingAnswer(avoid_ms_list=(B, "no address!"))
        self.world.advance(61)
        self.world.kill(A)
        self.world.advance(0.1)
        self.assertEqual(self.world.on, C)

    def test_bad_list(self) -> None:
        """One bad list strands nobody: the server that sent it is tried last, also after a restart of the agent."""
        self.world.agent("host=10.0.1.1")
        self.world.connection(A).send(SetupMSListCommand(ms_list=("10.9.9.9",), lb_algorithm="static"))
        self.world.advance(20)
        self.world.connection(A).link.abort("restart")
        self.world.advance(6)
        self.assertEqual(self.world.on, A)
        text = self.world.path.read_text()
        self.assertIn("host=10.9.9.9@static\n", text)
        stopped = self.world.service.stopService()
        self.world.advance(1)
        self.successResultOf(stopped)
        self.world.agent(text.partition("cluster=1\n")[2])
        self.world.advance(6)
        self.assertEqual(self.world.on, A)

    def test_log(self) -> None:
        """An operator reads what happened."""
        self.world.agent()
        self.world.kill(A)
        self.world.advance(1)
        self.assertIn("host-1 (g1) is up as host 7 on 10.0.1.1", self.log.lines())
        self.assertIn("host-1 (g1) has lost 10.0.1.1: closed by the peer", self.log.lines("warn"))
        self.assertIn("host-1 (g1) is up as host 7 on 10.0.1.2", self.log.lines())
