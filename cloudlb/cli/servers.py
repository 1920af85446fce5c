"""`cloudlb servers`."""

from __future__ import annotations

from pathlib import Path

import click

from cloudlb.cli.client import Client, api_options
from cloudlb.cli.tables import print_json, print_table


@click.command()
@api_options
def servers(config: Path | None, as_json: bool) -> None:
    """Show every management server, whether it lives and how many agents it has."""
    rows = Client(config).list("listManagementServers")
    if as_json:
        print_json(rows)
        return
    print_table(
        ("NAME", "STATE", "ADDRESS", "AGENTS", "VERSION", "STARTED"),
        (
            (
                row["name"],
                row["state"],
                row["ipaddress"],
                row["agentscount"],
                row["version"],
                row.get("lastserverstart"),
            )
            for row in rows
        ),
    )
