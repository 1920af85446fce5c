"""The command line that the daemons of twistd have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.python.usage import Options, UsageError

from cloudlb.net.json_log import json_observer

_TWISTDS_OWN = "twistd.pid"


class DaemonOptions(Options):
    """Options of a daemon that runs beside others of its kind.

    twistd writes twistd.pid into the folder it was started from, also in the foreground, and refuses to run where it
    finds one: a second daemon started from the same folder would not start. In the foreground nobody needs that file,
    so it is written only where it was asked for.
    """

    optParameters: ClassVar[list[list[object]]] = [
        ["log-format", None, "text", "text, or json: a line of JSON for each of the log, on the standard output."]
    ]

    def postOptions(self) -> None:
        """Take the default of --pidfile back, and choose who writes the log.

        Raises:
            UsageError: there is no such format, or the log is to go where JSON does not.
        """
        parent: Any = self.parent
        if self["log-format"] not in ("text", "json"):
            raise UsageError(f"--log-format {self['log-format']}: text or json is expected")
        if parent is None:
            return
        if parent.get("nodaemon") and parent.get("pidfile") == _TWISTDS_OWN:
            parent["pidfile"] = ""
        if self["log-format"] == "json":
            if not parent.get("nodaemon") or parent.get("syslog") or parent.get("logfile") not in (None, "", "-"):
                raise UsageError("--log-format json writes to the standard output: with --nodaemon, and no --logfile")
            # By its name, which twistd looks up later.
            parent["logger"] = f"{json_observer.__module__}.{json_observer.__qualname__}"
