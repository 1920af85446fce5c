"""`cloudlb events`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.finding import complete_event_type, complete_host
from cloudlb.cli.following import PAGE, News, paged, print_news
from cloudlb.cli.tables import print_json, print_table, printable
from cloudlb.cli.times import Since, utc


@click.command(short_help="What happened, and what happens.")
@click.option(
    "--host", metavar="HOST", shell_complete=complete_host, help="Only those of a host: a name, an id or a uuid."
)
@click.option(
    "--type",
    "event_type",
    metavar="TYPE",
    shell_complete=complete_event_type,
    help="Only those of a type, such as HOST.STATUS.TRANSITION.",
)
@click.option(
    "--level", metavar="LEVEL", type=click.Choice(["INFO", "WARN", "ERROR"], False), help="INFO, WARN, ERROR."
)
@click.option(
    "--since",
    type=Since(),
    metavar="WHEN",
    help="Only later ones: 90s, 10m, 2h, 3d ago, or 2026-11-21 07:00:00 in UTC.",
)
@click.option(
    "--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, metavar="N", help="How many at most."
)
@click.option("--follow", "follows", is_flag=True, help="The newest last, and then what happens, until Ctrl-C.")
@api_options
def events(
    host: str | None,
    event_type: str | None,
    level: str | None,
    since: str | None,
    limit: int,
    follows: bool,
    client: Client,
    as_json: bool,
) -> None:
    """Show what happened, the newest first.

    With --follow the newest come last, one line each, and with --json each as a document on a line of its own.
    """
    chosen = {"resourceid": host, "type": event_type, "level": level, "startdate": since}
    if follows:
        news = News(paged(client, "listEvents", "event", **chosen), key=lambda row: row["id"])
        print_news(news, limit, event_line, as_json=as_json)
        return
    rows: list[Row] = client.call("listEvents", page=1, pagesize=limit, **chosen).get("event", [])
    if as_json:
        print_json(rows)
    else:
        print_events(rows)


def print_events(rows: Sequence[Row], *, about_one: bool = False) -> None:
    """Print events as a table, of one host without saying which."""
    print_table(
        ("TIME (UTC)", "LEVEL", "TYPE", *(() if about_one else ("HOST",)), "SERVER", "USER", "DESCRIPTION"),
        [
            (
                utc(row["created"]),
                row["level"],
                row["type"],
                *(() if about_one else (row.get("resourcename"),)),
                row.get("managementservername"),
                row.get("username"),
                row["description"],
            )
            for row in rows
        ],
        wraps=("DESCRIPTION",),
        spare=("USER", "SERVER", "TYPE", "LEVEL") if about_one else ("HOST", "USER", "TYPE", "SERVER", "LEVEL"),
    )


def event_line(row: Row) -> str:
    """An event on one line."""
    server = printable(row.get("managementservername", ""))
    by = "" if row.get("username") in (None, "system") else f" (by {printable(row['username'])})"
    return f"{utc(row['created'])} {row['level']:<5} {server} {printable(row['description'])}{by}"
