"""The log as lines of JSON, for what collects logs of many daemons.

Each line has ``time`` (RFC 3339, in UTC), ``level``, ``logger`` (who says it) and ``message`` (the line as people read
it), ``traceback`` where there is one, and the values that the message was made of, under their own names: ``name``,
``error``, ``logid``. A value that is neither text nor number nor truth is only in the message, since what it has in it
is not for the log.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent
from twisted.python.failure import Failure

_TWISTEDS = frozenset({"format", "time", "message", "system", "isError", "failure", "why"})
"""What stands in an event for the sake of Twisted's older way of logging."""
_MOST_BITS = 63


def json_line(event: LogEvent) -> str:
    """One event of twisted.logger as a line, with its end."""
    level = event.get("log_level")
    own: dict[str, object] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": "info" if level is None else level.name,
        "logger": str(event.get("log_namespace", "")),
        "message": formatEvent(event),
    }
    if isinstance(failure := event.get("log_failure"), Failure):
        own["traceback"] = failure.getTraceback()
    values = {
        name: str(value) if isinstance(value, Exception) else value
        for name, value in event.items()
        if isinstance(value, str | int | float | Exception)
        and not name.startswith("log_")
        and name not in _TWISTEDS
        and name not in own
    }
    try:
        return orjson.dumps(own | values).decode() + "\n"
    except (TypeError, ValueError):
        # A text that is no Unicode, or a number of more than 64 bits.
        return orjson.dumps({name: _sayable(value) for name, value in (own | values).items()}).decode() + "\n"


def _sayable(value: object) -> object:
    """A value such as JSON can have it; what it can have stays as it is."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return str(value) if isinstance(value, int) and value.bit_length() > _MOST_BITS else value


def json_observer(file: TextIO | None = None) -> ILogObserver:
    """Have a file get a line for each event; the standard output, if None."""
    observer: ILogObserver = FileLogObserver(file or sys.stdout, json_line)
    return observer
