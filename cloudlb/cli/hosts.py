"""`cloudlb hosts`."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import click

from cloudlb.cli.client import Client, api_options
from cloudlb.cli.tables import print_json, print_table


@click.command()
@api_options
def hosts(config: Path | None, as_json: bool) -> None:
    """Show every host, its state and the server it is on."""
    rows = Client(config).list("listHosts")
    if as_json:
        print_json(rows)
        return
    now = time.time()
    print_table(
        ("NAME", "STATE", "SERVER", "CLUSTER", "LAST PING", "ID"),
        (
            (
                row["name"],
                row["state"],
                row.get("managementservername"),
                row.get("clustername"),
                _age(row.get("lastpinged"), now),
                row["id"],
            )
            for row in rows
        ),
    )


def _age(date: str | None, now: float) -> str:
    if date is None:
        return "never"
    # The clocks of two machines differ: nothing is heard in the future.
    seconds = max(0, round(now - datetime.strptime(date, "%Y-%m-%dT%H:%M:%S%z").timestamp()))
    return f"{seconds} s ago"
