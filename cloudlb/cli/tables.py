"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_ENDLESS = 10_000
"""Columns of an output that is no terminal: nothing is cut off or wrapped in a file."""
_READABLE = 24
"""Columns that a text needs which is broken into lines."""
GAP = 2
"""Columns between columns."""
STYLES: Mapping[str, str] = {
    "Up": "green",
    "Enabled": "",
    "Connecting": "yellow",
    "Creating": "yellow",
    "Rebalancing": "yellow",
    "Disconnected": "yellow",
    "PreparingForMaintenance": "yellow",
    "PreparingForShutDown": "yellow",
    "ReadyToShutDown": "yellow",
    "ShuttingDown": "yellow",
    "PrepareForMaintenance": "yellow",
    "Maintenance": "cyan",
    "Disabled": "cyan",
    "Alert": "red",
    "Down": "red",
    "Error": "red",
    "ErrorInMaintenance": "red",
    "ErrorInPrepareForMaintenance": "red",
    "Degraded": "red",
    "ERROR": "red",
    "WARN": "yellow",
    "Unknown": "yellow",
    "disabled": "yellow",
}
"""Colours of words that are states, on terminals that have colours."""


def print_json(document: Any) -> None:
    """Print one document."""
    click.echo(json.dumps(document, indent=2))


def print_line(document: Any) -> None:
    """Print a document as one line of many, for programs that read them as they come."""
    click.echo(json.dumps(document))
    sys.stdout.flush()


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wraps: Sequence[str] = (),
    spare: Sequence[str] = (),
    err: bool = False,
) -> None:
    """Print a table.

    Args:
        headings: of the columns.
        rows: cells; None is shown as nothing.
        wraps: headings of columns whose texts may be broken into lines on a narrow terminal.
        spare: headings of columns that are left out of a narrow terminal, the first one first.
        err: on stderr, as what is no result.
    """
    file = sys.stderr if err else sys.stdout
    console = Console(file=file, width=None if file.isatty() else _ENDLESS, highlight=False)
    console.print(table_of(headings, list(rows), console.width, wraps=wraps, spare=spare))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print what is known of one thing, a line each; what is not known is left out."""
    known = [(name, cell) for name, cell in facts if cell not in (None, "")]
    terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, cell in known:
        table.add_row(name, shown(cell))
    Console(file=sys.stdout, width=None if terminal else _ENDLESS, highlight=False).print(table)


def table_of(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    width: int,
    *,
    wraps: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> Table:
    """A table of so many columns of text at most, as far as that goes; see :func:`print_table`."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = {heading: len(heading) for heading in headings}
    for row in cells:
        for heading, cell in zip(headings, row, strict=True):
            widths[heading] = max(widths[heading], cell.cell_len)
    for heading in wraps:
        widths[heading] = min(widths[heading], _READABLE)
    kept = _fitting(widths, width, spare)
    table = Table(box=None, pad_edge=False)
    for heading in kept:
        folds = heading in wraps
        table.add_column(
            heading, no_wrap=not folds, overflow="fold", min_width=None if folds else min(widths[heading], width)
        )
    places = [headings.index(heading) for heading in kept]
    for row in cells:
        table.add_row(*(row[place] for place in places))
    return table


def _fitting(widths: Mapping[str, int], width: int, spare: Sequence[str]) -> list[str]:
    """The headings that there is room for."""
    kept = list(widths)
    for heading in spare:
        if sum(widths[each] for each in kept) + GAP * (len(kept) - 1) <= width:
            break
        kept.remove(heading)
    return kept


def shown(cell: object) -> Text:
    """A cell, with the colour of a state unless it has one."""
    if isinstance(cell, Text):
        return cell
    text = printable("" if cell is None else str(cell))
    return Text(text, style=STYLES.get(text, ""))


def counted(number: int, what: str) -> str:
    """A number of things: "1 server", "3 servers"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def printable(text: str) -> str:
    """A text without what could command the terminal: names, and more, come from agents."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
