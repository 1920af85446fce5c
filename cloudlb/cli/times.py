"""Times as people read and write them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

_FORM = "%Y-%m-%dT%H:%M:%S%z"
_AGE = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS = ((2 * 86400, 86400, "d"), (2 * 3600, 3600, "h"), (2 * 60, 60, "min"))


def ago(date: str | None, now: float | None = None) -> str:
    """How long ago a date of the API is: "5 s ago", "3 d ago"; "never" if it is missing.

    Args:
        date: as the API writes it.
        now: seconds since the epoch; by this machine's clock unless given.
    """
    if date is None:
        return "never"
    # The clocks of two machines differ: nothing has happened in the future.
    seconds = max(0, round((time.time() if now is None else now) - seconds_of(date)))
    for least, unit, name in _UNITS:
        if seconds >= least:
            return f"{seconds // unit} {name} ago"
    return f"{seconds} s ago"


def utc(date: str | None) -> str | None:
    """A date of the API in fewer letters, without the zone, which is always UTC."""
    if date is None:
        return None
    return datetime.fromtimestamp(seconds_of(date), UTC).strftime("%Y-%m-%d %H:%M:%S")


def seconds_of(date: str) -> float:
    """Seconds since the epoch of a date of the API."""
    return datetime.strptime(date, _FORM).timestamp()  # noqa: DTZ007 - the form has the zone


class Since(click.ParamType[str]):
    """An option that means a moment: so long ago, or a date as the API takes it."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The date for the API, which refuses what is none."""
        if (age := _AGE.fullmatch(value)) is None:
            return value
        then = time.time() - int(age[1]) * _SECONDS[age[2]]
        return datetime.fromtimestamp(then, UTC).strftime(_FORM)
