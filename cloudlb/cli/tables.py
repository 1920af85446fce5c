"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_ENDLESS = 10_000
"""Columns of an output that is no terminal: nothing is cut off or wrapped in a file."""


def print_json(rows: Sequence[Any]) -> None:
    """Print a list."""
    click.echo(json.dumps(rows, indent=2))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, wraps: str = "") -> None:
    """Print a table.

    Args:
        headings: of the columns.
        rows: cells; None is shown as nothing.
        wraps: the heading of the column that may be broken into lines on a narrow terminal.
    """
    terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != wraps, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable("" if cell is None else str(cell))) for cell in row))
    Console(file=sys.stdout, width=None if terminal else _ENDLESS).print(table)


def counted(number: int, what: str) -> str:
    """A number of things: "1 server", "3 servers"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def printable(text: str) -> str:
    """A text without what could command the terminal: names, and more, come from agents."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
