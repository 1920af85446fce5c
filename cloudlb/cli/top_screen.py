"""What `cloudlb top` shows: from looks at the cluster to lines that fit a terminal."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from rich.console import Group, RenderableType
from rich.text import Text

from cloudlb.cli.client import Row
from cloudlb.cli.drain_progress import summary
from cloudlb.cli.events import event_line
from cloudlb.cli.server_meters import COMMANDS, PINGS, Counts
from cloudlb.cli.tables import GAP, STYLES, counted, printable, table_of
from cloudlb.cli.times import ago

MINUTE = 60.0
_BAR = 12
"""Columns of the bar of the server that has the most agents."""
_HEADINGS = ("SERVER", "STATE", "AGENTS", "", "CHANGE", "PING/S", "CMD/S", "SINCE", "DRAIN")
_FIXED_LINES = 6
"""Those that are neither servers nor events."""


@frozen(kw_only=True)
class Look:
    """The cluster at one moment."""

    endpoint: str
    servers: Sequence[Row]
    counts: Sequence[Row]
    """Hosts by state and resource state."""
    alerts: int
    events: Sequence[Row]
    """The newest, these first."""
    event_count: int
    """How many there are at all."""
    meters: Mapping[str, Counts]
    """What servers have counted, by their ids, of those that tell."""
    at: float

    def document(self) -> Mapping[str, Any]:
        """For programs."""
        return {
            "managementserver": self.servers,
            "hostcount": self.counts,
            "alertcount": self.alerts,
            "event": self.events,
        }


class Rates:
    """What has changed within a minute, as far as looks reach back."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()

    def add(self, look: Look) -> None:
        """Remember a look; the same one again counts once."""
        if not self._looks or self._looks[-1] is not look:
            self._looks.append(look)
        # One that is older than a minute is kept, to compare with.
        while len(self._looks) > 2 and self._looks[1].at <= look.at - MINUTE:
            self._looks.popleft()

    def change(self, server_id: str) -> int:
        """How many agents a server has more than it had."""
        if len(self._looks) < 2:
            return 0
        before, now = (
            next((row["agentscount"] for row in look.servers if row["id"] == server_id), 0)
            for look in (self._looks[0], self._looks[-1])
        )
        return int(now - before)

    def per_second(self, server_id: str, meter: str) -> float | None:
        """How much of something a server has counted in a second; None if it does not tell, or was started since."""
        looks = [look for look in self._looks if server_id in look.meters]
        if len(looks) < 2 or looks[-1] is not self._looks[-1]:
            return None
        first, last = looks[0], looks[-1]
        number = last.meters[server_id][meter] - first.meters[server_id][meter]
        return None if number < 0 else number / max(1.0, last.at - first.at)

    def events(self) -> float | None:
        """Events in a minute; None as long as that cannot be told."""
        if len(self._looks) < 2:
            return None
        first, last = self._looks[0], self._looks[-1]
        # Old ones are dropped now and then.
        return max(0, last.event_count - first.event_count) * MINUTE / max(1.0, last.at - first.at)


def screen(look: Look, rates: Rates, width: int, height: int, trouble: str) -> RenderableType:
    """A whole screen.

    Args:
        look: the latest.
        rates: of the looks until then.
        width: columns of the terminal.
        height: its lines.
        trouble: why the look is not newer; empty if it is as new as it should be.
    """
    headings, rows = server_rows(look, rates)
    room = max(3, (height - _FIXED_LINES) // 2)
    shown, more = (rows, 0) if len(rows) <= room else (rows[: room - 1], len(rows) - room + 1)
    servers = table_of(headings, shown, width, wraps=("DRAIN",), spare=("SINCE", "", "CMD/S", "PING/S"))
    # A line that is too long would be wrapped, and push others off the screen.
    *fixed, last = servers.columns
    room = width - sum((column.min_width or 0) + GAP for column in fixed)
    last.no_wrap, last.overflow, last.max_width = True, "ellipsis", max(1, room)
    left = height - _FIXED_LINES - len(shown) - bool(more)
    parts: list[RenderableType] = [_head(look, trouble), _cut(counts_line(look, rates)), Text(), servers]
    if more:
        parts.append(_cut(f"... and {more} more; see: cloudlb servers"))
    parts += [Text(), *(_event(row) for row in reversed(look.events[: max(0, left)]))]
    return Group(*parts)


def server_rows(look: Look, rates: Rates) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Headings and cells of the servers' table; those that are not Up come first."""
    most = max((row["agentscount"] for row in look.servers), default=0)
    return _HEADINGS, [
        (
            row["name"],
            row["state"],
            row["agentscount"],
            "\N{BOX DRAWINGS HEAVY HORIZONTAL}" * (_BAR * row["agentscount"] // most if most else 0),
            f"{change:+d}" if (change := rates.change(row["id"])) else None,
            _rate(rates.per_second(row["id"], PINGS)),
            _rate(rates.per_second(row["id"], COMMANDS)),
            ago(row["lastserverstart"], look.at) if row["state"] != "Down" and "lastserverstart" in row else None,
            summary(row) if "drain" in row and row["state"] != "Up" else None,
        )
        for row in sorted(look.servers, key=lambda row: row["state"] == "Up")
    ]


def counts_line(look: Look, rates: Rates | None = None) -> str:
    """Hosts by state, and by what they are let do where that is not everything."""
    states: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for row in look.counts:
        states[row["state"]] += row["count"]
        kept[row["resourcestate"]] += row["count"] if row["resourcestate"] != "Enabled" else 0
    total = counted(sum(states.values()), "host")
    parts = [f"{number} {state}" for state, number in (states + kept).most_common()]
    line = f"{total}: {', '.join(parts)}" if parts else total
    line += f"; {counted(look.alerts, 'alert')}"
    per_minute = None if rates is None else rates.events()
    return line if per_minute is None else f"{line}; {per_minute:.0f} events/min"


def _rate(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"


def _head(look: Look, trouble: str) -> Text:
    at = datetime.fromtimestamp(look.at, UTC).strftime("%H:%M:%S")
    head = Text(f"cloudlb top  {urlsplit(look.endpoint).netloc}  {at} UTC  q: quit", no_wrap=True, overflow="ellipsis")
    head.stylize("bold")
    if trouble:
        head = Text(f"{at} UTC, {time.time() - look.at:.0f} s old: {printable(trouble)}", style="red")
        head.no_wrap, head.overflow = True, "ellipsis"
    return head


def _event(row: Row) -> Text:
    line = _cut(event_line(row).partition(" ")[2])
    line.stylize(STYLES.get(row["level"], ""))
    return line


def _cut(line: str) -> Text:
    return Text(line, no_wrap=True, overflow="ellipsis")
