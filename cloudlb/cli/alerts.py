"""`cloudlb alerts`: what an operator must look at, and that somebody has."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.finding import complete_host, find_by_id, find_host, short
from cloudlb.cli.following import PAGE, News, paged, print_news
from cloudlb.cli.tables import counted, print_json, print_table, printable
from cloudlb.cli.times import utc


@click.group(invoke_without_command=True, short_help="What an operator must look at.")
@click.option("--follow", "follows", is_flag=True, help="The newest last, and then what comes, until Ctrl-C.")
@api_options
def alerts(follows: bool, client: Client, as_json: bool) -> None:
    """Show what an operator must look at, the newest first.

    What was looked at is taken off the list by `cloudlb alerts archive`.
    """
    if follows:
        # One that is sent again is news.
        news = News(paged(client, "listAlerts", "alert"), key=lambda row: (row["id"], row["occurrences"]))
        print_news(news, PAGE, _line, as_json=as_json)
        return
    rows = client.list("listAlerts")
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("No alerts.")
        return
    print_table(
        ("SENT (UTC)", "TIMES", "TYPE", "HOST", "DESCRIPTION", "ID"),
        [
            (
                utc(row["sent"]),
                row["occurrences"],
                row["name"],
                row.get("hostname"),
                row["description"],
                short(row["id"]),
            )
            for row in rows
        ],
        wraps=("DESCRIPTION",),
        spare=("TYPE", "TIMES", "HOST"),
    )


@alerts.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--host", metavar="HOST", shell_complete=complete_host, help="Those of a host.")
@click.option("--all", "everything", is_flag=True, help="All that are listed now.")
@api_options
def archive(ids: Sequence[str], host: str | None, everything: bool, client: Client, as_json: bool) -> None:
    """Take alerts off the list, by the beginnings of their ids.

    One that is sent again later is a new alert.
    """
    if sum((bool(ids), host is not None, everything)) != 1:
        raise click.UsageError("say which: ID..., --host HOST or --all")
    rows = client.list("listAlerts")
    if host is not None:
        found = find_host(client, host)["id"]
        rows = [row for row in rows if row.get("hostid") == found]
    elif ids:
        rows = [find_by_id(rows, each, "alert") for each in ids]
    chosen = list(dict.fromkeys(row["id"] for row in rows))
    for first in range(0, len(chosen), PAGE):
        client.post("archiveAlerts", ids=",".join(chosen[first : first + PAGE]))
    if as_json:
        print_json(rows)
    else:
        click.echo(f"{counted(len(chosen), 'alert')} archived.")


def _line(row: Row) -> str:
    times = f" ({row['occurrences']} times)" if row["occurrences"] > 1 else ""
    return f"{utc(row['sent'])} {short(row['id'])} {row['name']} {printable(row['description'])}{times}"
