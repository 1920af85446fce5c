"""Several daemons from one folder."""

from __future__ import annotations

import io
import json
import sys

from twisted.logger import Logger
from twisted.python.reflect import namedAny
from twisted.python.usage import Options, UsageError
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.daemon_options import DaemonOptions


class DaemonOptionsTests(SynchronousTestCase):
    """--pidfile, as twistd hands it to the options of its subcommand."""

    def pidfile(self, given: str, *, nodaemon: bool) -> str:
        """Which file twistd would use."""
        twistd = Options()
        twistd.update({"nodaemon": nodaemon, "pidfile": given})
        options = DaemonOptions()
        options.parent = twistd
        options.parseOptions([])
        return str(twistd["pidfile"])

    def test_none_in_the_foreground(self) -> None:
        """Or the second daemon of a folder would find the first one's."""
        self.assertEqual(self.pidfile("twistd.pid", nodaemon=True), "")

    def test_the_one_that_was_asked_for(self) -> None:
        """In the foreground, too."""
        self.assertEqual(self.pidfile("/run/a.pid", nodaemon=True), "/run/a.pid")

    def test_twistds_own_in_the_background(self) -> None:
        """There it is how one ends the daemon."""
        self.assertEqual(self.pidfile("twistd.pid", nodaemon=False), "twistd.pid")


class LogFormatTests(SynchronousTestCase):
    """--log-format."""

    def logger(self, *arguments: str, **twistds: object) -> object:
        """What twistd would make its log with; None: as it likes."""
        twistd = Options()
        twistd.update({"nodaemon": True, "pidfile": "x", "logfile": None, "syslog": False, "logger": None, **twistds})
        options = DaemonOptions()
        options.parent = twistd
        options.parseOptions(list(arguments))
        return twistd["logger"]

    def test_text(self) -> None:
        """As twistd writes it, wherever that is told to."""
        self.assertIsNone(self.logger())
        self.assertIsNone(self.logger("--log-format", "text", logfile="x.log", nodaemon=False))

    def test_json(self) -> None:
        """Lines of JSON on the standard output."""
        make = namedAny(str(self.logger("--log-format", "json")))
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        Logger("x", observer=make()).info("hello")
        self.assertEqual("hello", json.loads(out.getvalue())["message"])

    def test_elsewhere(self) -> None:
        """JSON goes nowhere else, and says so rather than be text there."""
        for twistds in ({"nodaemon": False}, {"logfile": "x.log"}, {"syslog": True}):
            with self.subTest(twistds=twistds):
                self.assertRaises(UsageError, self.logger, "--log-format", "json", **twistds)

    def test_unknown(self) -> None:
        """There are two."""
        self.assertRaises(UsageError, self.logger, "--log-format", "xml")
