"""A management server that cannot start."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.service import Server
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.agents.server import Secluded, config
from tests.storage.sqlite import new_database
from tests.support.inline_threads import InlineThreads
from tests.support.plain_channel import PlainChannel, PlainTrust


class StartTests(SynchronousTestCase):
    """What an operator sees when it does not start, whose process ends then."""

    def setUp(self) -> None:
        """A server that could start."""
        self.file = Path(self.mktemp())
        new_database(self.file)
        self.reactor = Secluded()
        self.database = Database(f"sqlite:///{self.file}", writer=InlineExecutor(), reader=InlineExecutor())
        self.failed: list[str] = []

    def start(self) -> LogEvent:
        """Start it; it has to fail, with one line."""
        server = Server(
            self.reactor,
            config("127.0.0.1", self.file),
            self.database,
            random.Random(1),
            channel_factory=lambda: PlainChannel(server_side=True),
            trust=PlainTrust(),
            failed=lambda: self.failed.append("failed"),
            threads=lambda name: InlineThreads(),
        )
        with capturedLogs() as events:
            server.startService()
            self.reactor.advance(0)
            self.successResultOf(server.stopService())
        self.assertEqual(self.failed, ["failed"])
        (event,) = [event for event in events if event["log_level"] is LogLevel.critical]
        self.assertEqual([event], [each for each in events if each["log_level"] >= LogLevel.warn])
        return event

    def assert_plain(self, event: LogEvent, words: str) -> None:
        """One line that says why, and no traceback."""
        self.assertRegex(formatEvent(event), f"^The server cannot start: .*{words}")
        self.assertNotIn("log_failure", event)

    def test_database_away(self) -> None:
        """The database's own words."""
        self.file.unlink()
        self.assert_plain(self.start(), "unable to open database file")

    def test_other_revision(self) -> None:
        """Both revisions, and the remedy."""
        engine = create_engine(f"sqlite:///{self.file}")
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        engine.dispose()
        self.assert_plain(self.start(), "has revision 0001, .* run `cloudlb upgrade`")

    def test_port_taken(self) -> None:
        """Address and port."""

        def listen(port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))

        self.patch(self.reactor, "listenTCP", listen)
        self.assert_plain(self.start(), "listen on 127.0.0.1:8250: .*Address already in use")

    def test_defect(self) -> None:
        """What nobody has thought of comes with a traceback."""

        def start() -> Deferred[None]:
            return fail(ZeroDivisionError("once"))

        self.patch(self.database, "start", start)
        event = self.start()
        self.assertEqual(formatEvent(event), "The server cannot start: once")
        self.assertIs(event["log_failure"].type, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
