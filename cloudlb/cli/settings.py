"""`cloudlb settings` and `cloudlb set`."""

from __future__ import annotations

from pathlib import Path

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.tables import print_json, print_table

_CLUSTER_HELP = "The cluster's id."


@click.command()
@click.option("--cluster", metavar="ID", help=f"{_CLUSTER_HELP} Shows what can be set for it, as it is in force there.")
@api_options
def settings(cluster: str | None, config: Path | None, as_json: bool) -> None:
    """Show the settings: values, defaults, scopes and meanings."""
    _print(Client(config).list("listConfigurations", clusterid=cluster), as_json)


# A value may be a negative number, which must reach the server to be refused with its reason.
@click.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value")
@click.option("--cluster", metavar="ID", help=f"{_CLUSTER_HELP} Sets the value for this cluster alone.")
@click.option("--force", is_flag=True, help="Set `host` also to servers that are not up.")
@api_options
def set_value(name: str, value: str, cluster: str | None, force: bool, config: Path | None, as_json: bool) -> None:
    """Set NAME to VALUE, live on every server and every connected agent."""
    # None: CloudStack's own servers do not know the parameter.
    forced = True if force else None
    answer = Client(config).call("updateConfiguration", name=name, value=value, clusterid=cluster, forced=forced)
    _print([answer["configuration"]], as_json)


def _print(rows: list[Row], as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    print_table(
        ("NAME", "VALUE", "DEFAULT", "SCOPE", "DESCRIPTION"),
        (
            (row["name"], row.get("value"), row.get("defaultvalue"), row.get("scope"), row.get("description"))
            for row in rows
        ),
        wraps="DESCRIPTION",
    )
