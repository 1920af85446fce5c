"""`cloudlb top`: the cluster on one screen."""

from __future__ import annotations

import sys
import time
from collections import deque

import click
from rich.console import Console
from rich.live import Live

from cloudlb.cli.client import Client, api_options
from cloudlb.cli.events import print_events
from cloudlb.cli.failures import Unreachable
from cloudlb.cli.finding import list_servers
from cloudlb.cli.keyboard import Keyboard
from cloudlb.cli.server_meters import ServerMeters
from cloudlb.cli.tables import print_json, print_table
from cloudlb.cli.top_screen import Look, Rates, counts_line, screen, server_rows

_PAUSE = 2.0
"""Seconds between two looks."""
_EVENTS = 100


@click.command(short_help="The cluster on one live screen.")
@api_options
def top(client: Client, as_json: bool) -> None:
    """Show the cluster on one screen, anew every two seconds: servers, agents by state, and what happens. q ends it.

    CHANGE is by how many agents a server has more or fewer than a minute ago. PING/S and CMD/S are its pings and
    commands in a second, where /metrics may be read from here. Where the output is no terminal, all is
    printed once.
    """
    console = Console()
    if as_json or not (console.is_terminal and sys.stdin.isatty()):
        _print_once(look(client), as_json)
        return
    try:
        with Keyboard(sys.stdin.fileno()) as keyboard:
            _watch(client, console, keyboard)
    except KeyboardInterrupt:
        # It is one of the two ways to end it.
        return


def look(client: Client, meters: ServerMeters | None = None) -> Look:
    """Look once; without meters servers are not asked for what they count."""
    events = client.call("listEvents", page=1, pagesize=_EVENTS)
    servers = list_servers(client)
    return Look(
        endpoint=client.endpoint,
        servers=servers,
        meters={} if meters is None else meters.read(servers, time.monotonic()),
        counts=client.list("listHostCounts"),
        alerts=client.call("listAlerts", page=1, pagesize=1).get("count", 0),
        events=events.get("event", []),
        event_count=events.get("count", 0),
        at=time.time(),
    )


def _watch(client: Client, console: Console, keyboard: Keyboard) -> None:
    # The first look fails as any other command does; later ones ask whoever answers.
    meters = ServerMeters(client)
    seen, asked, trouble = look(client, meters), deque([client]), ""
    asked.extend(client.at(row["ipaddress"]) for row in seen.servers)
    rates = Rates()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            rates.add(seen)
            live.update(screen(seen, rates, console.width, console.height, trouble), refresh=True)
            if keyboard.pressed(_PAUSE) in ("q", "Q"):
                return
            try:
                seen, trouble = look(asked[0], meters), ""
            except Unreachable as error:
                asked.rotate(-1)
                trouble = error.message


def _print_once(seen: Look, as_json: bool) -> None:
    if as_json:
        print_json(seen.document())
        return
    headings, rows = server_rows(seen, Rates())
    print_table(headings, rows)
    click.echo()
    click.echo(counts_line(seen))
    click.echo()
    print_events(seen.events[:10])
