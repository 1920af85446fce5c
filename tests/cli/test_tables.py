"""Tests of tables on terminals of any width, and of times as people write them."""

from __future__ import annotations

import io

import click
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.tables import table_of
from cloudlb.cli.times import Since, ago, utc

HEADINGS = ("NAME", "STATE", "TEXT", "ID")
ROWS = [("agent-1", "Up", "word " * 20, "0" * 36), ("agent-2", None, "short", "1" * 36)]


def printed(width: int, *, color: bool = False) -> list[str]:
    """A table on a terminal of this width."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=color, color_system="standard" if color else None)
    console.print(table_of(HEADINGS, ROWS, width, wraps=("TEXT",), spare=("ID", "STATE")))
    return file.getvalue().splitlines()


class TableTests(SynchronousTestCase):
    """What is left out, and what is folded."""

    def test_wide(self) -> None:
        """Everything, on one line each."""
        lines = printed(200)
        self.assertEqual(3, len(lines))
        self.assertEqual(["NAME", "STATE", "TEXT", "ID"], lines[0].split())

    def test_narrow(self) -> None:
        """Spare columns go one after the other; texts are folded; names are whole."""
        for width, headings in (
            (80, ["NAME", "STATE", "TEXT", "ID"]),
            (60, ["NAME", "STATE", "TEXT"]),
            (34, ["NAME", "TEXT"]),
        ):
            lines = printed(width)
            self.assertEqual(headings, lines[0].split(), width)
            self.assertLessEqual(max(map(len, lines)), width)
            self.assertEqual(20, " ".join(lines).count("word"))
            self.assertEqual(2, sum(line.startswith("agent-") for line in lines))

    def test_colours(self) -> None:
        """States have some, on terminals that have."""
        self.assertIn("\x1b[32mUp", "".join(printed(200, color=True)))
        self.assertNotIn("\x1b", "".join(printed(200)))


class TimeTests(SynchronousTestCase):
    """How long ago, and since when."""

    def test_ago(self) -> None:
        """In the unit that fits; the clocks of two machines differ."""
        date = "1970-01-01T00:00:00+0000"
        for seconds, text in (
            (-5, "0 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7200, "2 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 d ago"),
        ):
            self.assertEqual(text, ago(date, seconds))
        self.assertEqual("never", ago(None, 0))

    def test_utc(self) -> None:
        """Whatever the zone of the answer."""
        self.assertEqual("1970-01-01 00:00:00", utc("1970-01-01T01:00:00+0100"))
        self.assertIsNone(utc(None))

    def test_since(self) -> None:
        """So long ago, or what the API takes for a date."""
        self.patch(__import__("time"), "time", lambda: 100_000.0)
        context = click.Context(click.Command("x"))
        for text, date in (
            ("90s", "1970-01-02T03:45:10+0000"),
            ("10m", "1970-01-02T03:36:40+0000"),
            ("1d", "1970-01-01T03:46:40+0000"),
            ("2026-11-21", "2026-11-21"),
        ):
            self.assertEqual(date, Since().convert(text, None, context))
