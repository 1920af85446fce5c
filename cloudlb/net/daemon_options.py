"""The command line that the daemons of twistd have in common."""

from __future__ import annotations

from twisted.python.usage import Options

_TWISTDS_OWN = "twistd.pid"


class DaemonOptions(Options):
    """Options of a daemon that runs beside others of its kind.

    twistd writes twistd.pid into the folder it was started from, also in the foreground, and refuses to run where it
    finds one: a second daemon started from the same folder would not start. In the foreground nobody needs that file,
    so it is written only where it was asked for.
    """

    def postOptions(self) -> None:
        """Take the default of --pidfile back."""
        parent = self.parent
        if parent is not None and parent.get("nodaemon") and parent.get("pidfile") == _TWISTDS_OWN:
            parent["pidfile"] = ""
