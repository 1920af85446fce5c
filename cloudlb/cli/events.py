"""`cloudlb events` and `cloudlb alerts`."""

from __future__ import annotations

from pathlib import Path

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.tables import print_json, print_table

_MOST = 500


@click.command()
@click.option("--host", metavar="HOST", help="Only those of a host: a name, an id or a uuid.")
@click.option("--type", "event_type", metavar="TYPE", help="Only those of a type, such as HOST.STATUS.TRANSITION.")
@click.option(
    "--limit", type=click.IntRange(1, _MOST), default=50, show_default=True, metavar="N", help="How many at most."
)
@api_options
def events(host: str | None, event_type: str | None, limit: int, config: Path | None, as_json: bool) -> None:
    """Show what happened, the newest first."""
    answer = Client(config).call("listEvents", resourceid=host, type=event_type, page=1, pagesize=limit)
    rows: list[Row] = answer.get("event", [])
    if as_json:
        print_json(rows)
        return
    print_table(
        ("TIME", "LEVEL", "TYPE", "HOST", "SERVER", "USER", "DESCRIPTION"),
        (
            (
                row["created"],
                row["level"],
                row["type"],
                row.get("resourcename"),
                row.get("managementservername"),
                row.get("username"),
                row["description"],
            )
            for row in rows
        ),
        wraps="DESCRIPTION",
    )


@click.command()
@api_options
def alerts(config: Path | None, as_json: bool) -> None:
    """Show what an operator must look at, the newest first."""
    rows = Client(config).list("listAlerts")
    if as_json:
        print_json(rows)
        return
    print_table(
        ("SENT", "TIMES", "TYPE", "HOST", "DESCRIPTION", "ID"),
        (
            (row["sent"], row["occurrences"], row["name"], row.get("hostname"), row["description"], row["id"])
            for row in rows
        ),
        wraps="DESCRIPTION",
    )
