"""`cloudlb servers` and `cloudlb remove-server`."""

from __future__ import annotations

import time

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.drain_progress import summary
from cloudlb.cli.finding import complete_server, find_server, list_servers
from cloudlb.cli.tables import print_json, print_table, printable
from cloudlb.cli.times import ago


@click.command(short_help="The management servers and their agents.")
@api_options
def servers(client: Client, as_json: bool) -> None:
    """Show the management servers: who lives, how many agents each has and how far its emptying is.

    PREFERRED is the share of its agents whose lists begin with it. SINCE is its last start, or of one that is Down
    its stop, if it had the time to write that.
    """
    if as_json:
        print_json(client.list("listManagementServers", placement="true"))
        return
    rows = list_servers(client, placement="true")
    now = time.time()
    print_table(
        ("NAME", "STATE", "ADDRESS", "AGENTS", "PREFERRED", "SINCE", "VERSION", "DRAIN"),
        [
            (
                row["name"],
                row["state"],
                row["ipaddress"],
                row["agentscount"],
                _share(row),
                _since(row, now),
                row["version"],
                summary(row) if "drain" in row and row["state"] != "Up" else None,
            )
            for row in rows
        ],
        wraps=("DRAIN",),
        spare=("VERSION", "ADDRESS"),
    )


def _share(row: Row) -> str | None:
    """How many of its agents prefer a server."""
    if "preferredcount" not in row or not row["agentscount"]:
        return None
    return f"{100 * row['preferredcount'] // row['agentscount']}%"


def _since(row: Row, now: float) -> str | None:
    date = row.get("lastserverstop" if row["state"] == "Down" else "lastserverstart")
    return None if date is None else ago(date, now)


@click.command(short_help="Forget a server that is Down.")
@click.argument("name", shell_complete=complete_server)
@api_options
def remove_server(name: str, client: Client, as_json: bool) -> None:
    """Forget the management server NAME, which must be Down. Started again, it registers anew."""
    server = find_server(client, name)
    answer = client.call("removeManagementServer", id=server["id"])
    if as_json:
        print_json([answer])
    else:
        click.echo(f"{printable(server['name'])} is removed.")
    addresses = client.list("listConfigurations", name="host")[0]["value"].split(",")
    if server["ipaddress"] in addresses or server["name"] in addresses:
        left = ",".join(each for each in addresses if each not in (server["ipaddress"], server["name"]))
        click.echo(f"Agents still have its address in their lists; take it out: cloudlb set host {left}", err=True)
