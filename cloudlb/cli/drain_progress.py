"""How far a drain is: a bar on a terminal, a line now and then elsewhere, both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from cloudlb.cli.client import Row
from cloudlb.cli.tables import counted, printable

LINE_INTERVAL = 5.0
"""Seconds between two lines, at least."""


def summary(state: Row) -> str:
    """How far a server is, in a line: "12 of 30 agents moved, 18 left, about 6 s to go"."""
    drain: Row = state.get("drain", {})
    if not drain:
        return counted(state["agentscount"], "agent")
    if "started" not in drain and "end" not in drain:
        return f"{counted(state['agentscount'], 'agent')}, not begun"
    parts = [f"{drain['moved']} of {counted(drain['total'], 'agent')} moved", f"{drain['left']} left"]
    if drain["jobs"]:
        parts.append(f"{counted(drain['jobs'], 'job')} to end")
    if drain["failed"]:
        parts.append(f"{len(drain['failed'])} failed")
    if "end" in drain:
        parts.append(drain["end"])
    elif state["state"] == "Down":
        parts.append("then the server died")
    elif "eta" in drain:
        parts.append(f"about {drain['eta']} s to go")
    if "note" in drain:
        parts.append(printable(drain["note"]))
    return ", ".join(parts)


@contextmanager
def progress(name: str) -> Iterator[Callable[[Row], None]]:
    """What is to be called with how far the server is, again and again."""
    with _bar(name) if sys.stderr.isatty() else _lines(name) as show:
        yield show


@contextmanager
def _lines(name: str) -> Iterator[Callable[[Row], None]]:
    last, told = "", float("-inf")

    def show(state: Row) -> None:
        nonlocal last, told
        news, now = summary({**state, "drain": _without_eta(state)}), time.monotonic()
        if news != last and now - told >= LINE_INTERVAL:
            last, told = news, now
            click.echo(f"{name}: {state['state']}; {summary(state)}", err=True)

    yield show


def _without_eta(state: Row) -> Row:
    return {key: value for key, value in state.get("drain", {}).items() if key != "eta"}


class _BarAndSummary(Progress):
    """The bar, and the summary on a line of its own: both on one are more than many terminals have room for."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The lines."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["summary"], no_wrap=True, overflow="ellipsis")


@contextmanager
def _bar(name: str) -> Iterator[Callable[[Row], None]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    with _BarAndSummary(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, summary="")

        def show(state: Row) -> None:
            drain: Row = state.get("drain", {})
            total = drain.get("total") or None
            bar.update(task, total=total, completed=drain.get("moved", 0), summary=summary(state))

        yield show
