"""Several daemons from one folder."""

from __future__ import annotations

from twisted.python.usage import Options
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
