"""Who is late, and who is asked to introduce itself again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.liveness import RESTARTS_PER_CHECK, Liveness
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.settings import PING_INTERVAL, PING_TIMEOUT
from cloudlb.domain.settings_in_force import Settings
from tests.support.virtual_clock import VirtualClock


class Agent:
    """An attache as far as liveness looks at one."""

    def __init__(self, number: int, interval: int = 10, *, cloudlb: bool = True) -> None:
        self.ping_interval = interval
        self.owns_host = True
        self.admitting = False
        self.host = SimpleNamespace(id=number, status=HostStatus.UP, session=1, server_id=1)
        self.link = SimpleNamespace(channel=SimpleNamespace(is_cloudlb=cloudlb))


class LivenessTests(SynchronousTestCase):
    """A ping interval of 10 s and a time-out of 2.5 of them."""

    def setUp(self) -> None:
        self.clock: Clock = VirtualClock()
        self.settings = SimpleNamespace(current=Settings({PING_INTERVAL: "10"}))
        self.late: list[tuple[int, float]] = []
        self.touched: list[dict[int, float]] = []
        self.began = self.clock.seconds()
        store: Any = SimpleNamespace(run=lambda work: succeed(work(SimpleNamespace(hosts=self))))
        self.liveness = Liveness(store, self.settings, self.clock, self.found)  # type: ignore[arg-type]
        self.liveness.start()

    def touch(self, stamps: dict[int, float]) -> None:
        """Note what is written."""
        self.touched.append(stamps)

    def lost_since(self, heard: float) -> list[int]:
        """Nobody has written a host off."""
        return []

    def found(self, attache: Any) -> None:
        """Note who is late, and when that was found."""
        self.late.append((attache.host.id, self.clock.seconds() - self.began))

    def hear(self, *agents: Any) -> None:
        """Have agents say something."""
        for one in agents:
            self.liveness.heard(one)

    def test_silence_is_found_within_a_second(self) -> None:
        """Of each agent, whenever it was heard; who pings is not late."""
        agents = [Agent(number) for number in range(20)]
        pinging = Agent(99)
        for one in agents:
            self.hear(one, pinging)
            self.clock.advance(0.3)
        for _ in range(8):
            self.clock.advance(5)
            self.hear(pinging)
        self.assertEqual([number for number, _ in self.late], list(range(20)))
        for number, found in self.late:
            self.assertTrue(25 <= found - number * 0.3 <= 26, (number, found))

    def test_late_once(self) -> None:
        """Until it has been heard again: then it has its whole time anew."""
        one: Any = Agent(1)
        self.hear(one)
        self.clock.advance(100)
        self.assertEqual(len(self.late), 1)
        self.assertNotIn(one, self.liveness)
        self.hear(one)
        self.assertIn(one, self.liveness)
        self.clock.advance(24)
        self.assertEqual(len(self.late), 1)
        self.clock.advance(2)
        self.assertEqual(len(self.late), 2)

    def test_a_new_time_out_counts_at_once(self) -> None:
        """For everyone who is connected, in both directions."""
        self.hear(Agent(1))
        self.clock.advance(20)
        self.settings.current = Settings({PING_INTERVAL: "10", PING_TIMEOUT: "1.5"})
        self.clock.advance(1)
        self.assertEqual(len(self.late), 1)
        self.settings.current = Settings({PING_INTERVAL: "10", PING_TIMEOUT: "5"})
        self.hear(Agent(2))
        self.clock.advance(49)
        self.assertEqual(len(self.late), 1)
        self.clock.advance(2)
        self.assertEqual(len(self.late), 2)

    def test_agents_are_judged_by_the_interval_that_they_were_told(self) -> None:
        """Whatever the setting has become."""
        slow: Any = Agent(1, 20)
        self.hear(slow, Agent(2, 10))
        self.clock.advance(49)
        self.assertEqual([number for number, _ in self.late], [2])
        self.assertEqual(self.liveness.patience(slow), 50)

    def test_an_old_interval_is_replaced(self) -> None:
        """Of agents of ours that have pinged, so many at a time; once told, they are judged by the new one."""
        fleet: list[Any] = [Agent(number, 60) for number in range(3 * RESTARTS_PER_CHECK)]
        self.hear(*fleet)
        self.clock.advance(0.6)
        asked = [one for one in fleet if self.liveness.wants_restart(one)]
        self.assertEqual(len(asked), RESTARTS_PER_CHECK)
        for one in asked:
            self.liveness.change_interval(one)
        self.clock.advance(0.6)
        self.assertFalse(self.liveness.wants_restart(asked[0]))
        self.assertTrue(self.liveness.wants_restart(fleet[-1]))
        self.assertFalse(self.liveness.wants_restart(Agent(99, 60, cloudlb=False)))  # type: ignore[arg-type]
        self.clock.advance(26)
        self.assertEqual([number for number, _ in self.late], [one.host.id for one in asked])

    def test_stamps_are_written_in_batches(self) -> None:
        """The latest of each agent, however often it pinged; who does not speak for its host has none."""
        superseded: Any = Agent(2)
        superseded.owns_host = False
        for _ in range(5):
            self.clock.advance(1)
            self.hear(Agent(1), superseded)
        at = self.clock.seconds()
        self.assertEqual(self.touched, [])
        self.clock.advance(5)
        self.assertEqual(self.touched, [{1: at}])
