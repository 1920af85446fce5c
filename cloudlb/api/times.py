"""Ranges of time as parameters."""

from __future__ import annotations

from datetime import UTC, datetime

from cloudlb.api.errors import invalid_parameter
from cloudlb.api.schema import Date

_DAY = "%Y-%m-%d"
_SECONDS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z")
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""The last second that can be written."""
FORMS = "yyyy-MM-dd, yyyy-MM-dd HH:mm:ss or yyyy-MM-ddTHH:mm:ss+hhmm; in UTC unless it says otherwise"


def since(name: str, text: Date | None) -> float | None:
    """The first moment of the day or second that a parameter means."""
    return None if text is None else _read(name, text)[0]


def until(name: str, text: Date | None) -> float | None:
    """The moment after the day or second that a parameter means: the range includes it, as CloudStack's."""
    return None if text is None else min(_LAST, sum(_read(name, text)))


def _read(name: str, text: str) -> tuple[float, float]:
    """When something begins, and how long it is, in seconds."""
    for form, length in ((_DAY, 86_400.0), *((form, 1.0) for form in _SECONDS)):
        try:
            moment = datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added below
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), length
    raise invalid_parameter(name, f"{text!r} is no time; expected {FORMS}")
