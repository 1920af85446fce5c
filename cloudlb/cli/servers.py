"""`cloudlb servers` and `cloudlb remove-server`."""

from __future__ import annotations

from pathlib import Path

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.drain_progress import summary
from cloudlb.cli.tables import print_json, print_table, printable


@click.command()
@api_options
def servers(config: Path | None, as_json: bool) -> None:
    """Show every management server, whether it lives, how many agents it has and how far its emptying is."""
    rows = Client(config).list("listManagementServers")
    if as_json:
        print_json(rows)
        return
    print_table(
        ("NAME", "STATE", "ADDRESS", "AGENTS", "VERSION", "STARTED", "DRAIN"),
        (
            (
                row["name"],
                row["state"],
                row["ipaddress"],
                row["agentscount"],
                row["version"],
                row.get("lastserverstart"),
                summary(row) if "drain" in row and row["state"] != "Up" else None,
            )
            for row in rows
        ),
        wraps="DRAIN",
    )


@click.command()
@click.argument("name")
@api_options
def remove_server(name: str, config: Path | None, as_json: bool) -> None:
    """Forget the management server NAME, which must be Down. Started again, it registers anew."""
    client = Client(config)
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


def find_server(client: Client, key: str) -> Row:
    """The row of the server that an operator calls by name, id, uuid or address."""
    rows = client.list("listManagementServers")
    for known in ("name", "id", "msid", "ipaddress"):
        found = [row for row in rows if str(row[known]) == key]
        if len(found) == 1:
            return found[0]
    names = ", ".join(printable(row["name"]) for row in rows)
    raise click.ClickException(f"there is no management server {key}; there are: {names}")
