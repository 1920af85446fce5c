"""Whom a server that is cut off from the database gives up, and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.ports import StoreUnavailable
from cloudlb.wire import Flag, MigrateAgentConnectionAnswer, MigrateAgentConnectionCommand, ReadyAnswer, ReadyCommand
from tests.agents.server import FakeChannel, FakeLink, ServerFixture

RESPONSE = Flag(0)


def _lost(work: Callable[..., Any]) -> Deferred[Any]:
    return fail(StoreUnavailable("gone"))


class FencingTests(SynchronousTestCase):
    """One server and its agents."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent, host="127.0.0.1,127.0.0.2")
        self.addCleanup(self.flushLoggedErrors, StoreUnavailable)
        self.addCleanup(self.fixture.stop)

    def up(self, number: int, *, ours: bool = True) -> FakeLink:
        """Connect an agent and make it Up."""
        link = self.fixture.startup(number, FakeLink(FakeChannel(is_cloudlb=ours)))
        header, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        self.fixture.advance(0.1)
        link.take()
        return link

    def lose_database(self, seconds: float) -> None:
        """Have all work fail, and let time pass."""
        database = self.fixture.database
        kept = database.run, database.read
        database.run = database.read = _lost  # type: ignore[method-assign]

        def regain() -> None:
            database.run, database.read = kept  # type: ignore[method-assign]

        self.regain = regain
        self.addCleanup(regain)
        self.fixture.advance(seconds)

    def asked(self, *links: FakeLink) -> int:
        """How many of these were asked to move since the last time; they say yes."""
        asked = 0
        for link in links:
            for header, content in link.take():
                if isinstance(content, MigrateAgentConnectionCommand):
                    self.assertIn("127.0.0.1", content.avoid_ms_list or ())
                    asked += 1
                    answer = MigrateAgentConnectionAnswer()
                    link.receive([answer], sequence=header.sequence, flags=RESPONSE)
        return asked

    def test_witnesses_that_stay(self) -> None:
        """Nobody else is asked or thrown off, for as long as it takes."""
        ours, others = [self.up(number) for number in range(5)], self.up(9, ours=False)
        self.lose_database(7)
        self.assertEqual(self.asked(*ours), 0)
        self.fixture.advance(3)
        self.assertEqual(self.asked(*ours), 3)
        asked = 0
        for _ in range(14):
            self.fixture.advance(5)
            asked += self.asked(*ours)
        self.assertEqual(asked, 6)
        self.assertEqual([link.ended for link in (*ours, others)], [None] * 6)

    def test_witnesses_that_go(self) -> None:
        """All others of ours are asked, and CloudStack's are given up."""
        ours, others = [self.up(number) for number in range(5)], self.up(9, ours=False)
        self.lose_database(10)
        witnesses = [link for link in ours if self.asked(link)]
        witnesses[0].lose()
        self.fixture.advance(2)
        self.assertIsNone(others.ended)
        witnesses[1].lose()
        self.fixture.advance(2.9)
        self.assertIsNone(others.ended)
        self.fixture.advance(2.1)
        self.assertIn("cut off", others.ended or "")
        left = [link for link in ours if link not in witnesses]
        self.assertEqual([self.asked(link) for link in left], [1, 1])
        self.fixture.advance(31)
        self.assertEqual([self.asked(link) for link in left], [1, 1])

    def test_the_database_is_back(self) -> None:
        """Nobody is asked any more."""
        ours = [self.up(number) for number in range(5)]
        self.lose_database(10)
        witnesses = [link for link in ours if self.asked(link)]
        self.regain()
        self.fixture.advance(3)
        for link in witnesses:
            link.lose()
        self.fixture.advance(30)
        self.assertEqual(self.asked(*(link for link in ours if not link.lost)), 0)

    def test_back_for_all(self) -> None:
        """Witnesses who go at the moment in which the database is back prove nothing."""
        ours = [self.up(number) for number in range(5)]
        self.lose_database(10)
        for link in [link for link in ours if self.asked(link)]:
            link.lose()
        self.fixture.advance(1.1)
        self.regain()
        self.fixture.advance(30)
        self.assertEqual(self.asked(*(link for link in ours if not link.lost)), 0)

    def test_none_of_ours(self) -> None:
        """CloudStack's agents, which would be without a server if nobody took them, stay."""
        others = self.up(9, ours=False)
        self.lose_database(60)
        self.assertIsNone(others.ended)
