"""Changing settings, and what is refused."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.models import ClusterId
from cloudlb.domain.settings import AUTH_STRICTNESS, HOST, LB_ALGORITHM, LB_CHECK_INTERVAL, InvalidSetting
from tests.agents.server import ServerFixture


class LiveSettingsTests(SynchronousTestCase):
    """Two servers on one database, each with a clock of its own."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).parent
        self.first = ServerFixture(folder, "127.0.0.1", host="127.0.0.1,127.0.0.2")
        self.second = ServerFixture(folder, "127.0.0.2")
        self.addCleanup(self.first.stop)
        self.addCleanup(self.second.stop)

    def change(self, *arguments: object, **options: object) -> None:
        """Change on the first server."""
        work = Deferred.fromCoroutine(self.first.server.settings.change(*arguments, **options))  # type: ignore[arg-type]
        self.successResultOf(work)

    def refusal(self, *arguments: object) -> str:
        """Change on the first server, expecting a refusal."""
        before = self.first.server.settings.current
        work = Deferred.fromCoroutine(self.first.server.settings.change(*arguments))  # type: ignore[arg-type]
        reason = str(self.failureResultOf(work, InvalidSetting).value)
        self.first.advance(1)
        self.assertEqual(self.first.server.settings.current, before)
        return reason

    def test_a_change_is_in_force_everywhere(self) -> None:
        """Here at once, on the other server as soon as it reads the bus."""
        self.change(LB_ALGORITHM, "rendezvous")
        self.assertEqual(self.first.server.settings.current.algorithm.value, "rendezvous")
        self.second.advance(0.5)
        self.assertEqual(self.second.server.settings.current.algorithm.value, "rendezvous")

    def test_values_that_make_no_sense_are_refused(self) -> None:
        """With a reason that names the setting; nothing changes."""
        for name, value in (
            (HOST, ""),
            (HOST, "127.0.0.1,,127.0.0.2"),
            (HOST, "127.0.0.1,127.0.0.1"),
            (HOST, "127.0.0.1,no address"),
            (HOST, "127.0.0.256"),
            (LB_ALGORITHM, "fastest"),
            (LB_CHECK_INTERVAL, "-1"),
            (LB_CHECK_INTERVAL, "soon"),
            (AUTH_STRICTNESS, "perhaps"),
        ):
            self.assertIn(name, self.refusal(name, value))
        self.assertIn("no.such.setting", self.refusal("no.such.setting", "1"))

    def test_a_list_without_a_live_server_is_refused_unless_forced(self) -> None:
        """It would send every agent to servers that are not there."""
        self.assertIn("127.0.0.1", self.refusal(HOST, "127.0.0.8,127.0.0.9"))
        self.change(HOST, "127.0.0.8,127.0.0.9", forced=True)
        self.assertEqual(self.first.server.settings.current.servers, ("127.0.0.8", "127.0.0.9"))

    def test_one_live_server_is_enough(self) -> None:
        """The others may be about to start."""
        self.change(HOST, "127.0.0.8,127.0.0.2")

    def test_a_server_that_died_does_not_count(self) -> None:
        """Its row is still there, its heartbeats are not."""
        self.first.advance(20)
        self.assertIn("127.0.0.2", self.refusal(HOST, "127.0.0.2"))

    def test_a_global_setting_has_no_value_for_a_cluster(self) -> None:
        """And a cluster that does not exist has none either."""
        self.assertIn("global", self.refusal(LB_ALGORITHM, "static", ClusterId(1)))
        self.assertIn("no cluster", self.refusal(LB_CHECK_INTERVAL, "5", ClusterId(99)))
