"""What is new of a listing, again and again."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence

import click

from cloudlb.cli.client import Client, Row
from cloudlb.cli.failures import INTERRUPTED, Unreachable
from cloudlb.cli.finding import list_servers
from cloudlb.cli.jobs import PATIENCE
from cloudlb.cli.tables import print_line

PAGE = 500
PAUSE = 1.0
"""Seconds between two looks."""
_REMEMBERED = 20 * PAGE


class News:
    """Rows of a listing that begins with the newest; each is told once.

    Nothing depends on clocks, nor on the order in which servers write rows of the same moment.
    """

    def __init__(self, ask: Callable[[int, int], Sequence[Row]], key: Callable[[Row], Hashable]) -> None:
        """Prepare.

        Args:
            ask: for a page of the listing, by its number and size.
            key: what makes a row a new one.
        """
        self._ask = ask
        self._key = key
        self._known: dict[Hashable, None] = {}

    def first(self, limit: int) -> list[Row]:
        """The newest, the oldest of them first."""
        rows = self._ask(1, PAGE)
        self._remember(rows)
        return list(reversed(rows[:limit]))

    def next(self) -> list[Row]:
        """What has come since, the oldest first."""
        found: deque[Row] = deque()
        number = 1
        while True:
            rows = self._ask(number, PAGE)
            new = [row for row in rows if self._key(row) not in self._known]
            found.extendleft(new)
            number += 1
            # A page that is new from its first row to its last may have news behind it.
            if len(new) < PAGE or len(found) >= _REMEMBERED:
                break
        self._remember(found)
        return list(found)

    def _remember(self, rows: Sequence[Row] | deque[Row]) -> None:
        self._known |= dict.fromkeys(map(self._key, rows))
        for old in list(self._known)[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[old]


def follow(news: News, limit: int) -> Iterator[list[Row]]:
    """Batches of rows until Ctrl-C: the newest, and then what comes. A server that is away a while is waited for."""
    yield news.first(limit)
    heard = time.monotonic()
    while True:
        time.sleep(PAUSE)
        try:
            rows = news.next()
        except Unreachable as error:
            if time.monotonic() - heard > PATIENCE:
                raise
            click.echo(f"{error.message}; trying again", err=True)
        else:
            heard = time.monotonic()
            if rows:
                yield rows


def print_news(news: News, limit: int, line: Callable[[Row], str], *, as_json: bool) -> None:
    """Print rows as they come, until Ctrl-C: each on a line of its own, as text or as a document."""
    try:
        for batch in follow(news, limit):
            for row in batch:
                print_line(row) if as_json else click.echo(line(row))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def paged(client: Client, command: str, name: str, **parameters: object) -> Callable[[int, int], Sequence[Row]]:
    """How to ask for pages of a listing; where one server does not answer, the next one is asked the next time."""
    asked: deque[Client] = deque()

    def ask(number: int, size: int) -> Sequence[Row]:
        if not asked:
            others = [client.at(row["ipaddress"]) for row in list_servers(client)]
            asked.extend((client, *others))
        try:
            rows: list[Row] = asked[0].call(command, page=number, pagesize=size, **parameters).get(name, [])
        except Unreachable:
            asked.rotate(-1)
            raise
        return rows

    return ask
