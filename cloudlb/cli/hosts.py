"""`cloudlb hosts`."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path

import click

from cloudlb.cli.client import Client, api_options
from cloudlb.cli.tables import print_json, print_table

_IS_ID = re.compile(r"[0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@click.command()
@api_options
def hosts(config: Path | None, as_json: bool) -> None:
    """Show every host, its states and the server it is on."""
    rows = Client(config).list("listHosts")
    if as_json:
        print_json(rows)
        return
    now = time.time()
    print_table(
        ("NAME", "STATE", "RESOURCE STATE", "SERVER", "CLUSTER", "LAST PING", "ID"),
        (
            (
                row["name"],
                row["state"],
                row["resourcestate"],
                row.get("managementservername"),
                row.get("clustername"),
                _age(row.get("lastpinged"), now),
                row["id"],
            )
            for row in rows
        ),
    )


def find_host(client: Client, key: str) -> str:
    """What the API takes for the host that an operator calls by id, uuid or name."""
    if _IS_ID.fullmatch(key):
        return key
    rows = client.list("listHosts", name=key)
    if not rows:
        raise click.ClickException(f"there is no host {key}")
    if len(rows) > 1:
        uuids = ", ".join(row["id"] for row in rows)
        raise click.ClickException(f"several hosts are named {key!r}: {uuids}")
    found: str = rows[0]["id"]
    return found


def _age(date: str | None, now: float) -> str:
    if date is None:
        return "never"
    # The clocks of two machines differ: nothing is heard in the future.
    seconds = max(0, round(now - datetime.strptime(date, "%Y-%m-%dT%H:%M:%S%z").timestamp()))
    return f"{seconds} s ago"
