"""`cloudlb plan`."""

from __future__ import annotations

from pathlib import Path

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.tables import counted, print_json, print_table, printable


@click.command()
@click.option("--host", metavar="LIST", help="Try these addresses for the setting `host`.")
@click.option("--algorithm", metavar="NAME", help="Try this algorithm: static, roundrobin, shuffle or rendezvous.")
@click.option("--weights", metavar="W", help="Try these weights: 10.0.0.1=2,10.0.0.2=1.")
@api_options
def plan(host: str | None, algorithm: str | None, weights: str | None, config: Path | None, as_json: bool) -> None:
    """Show which agents would be moved to which server, and move none.

    Without settings to try, by a rebalancing of the servers as they are; with some, after their change.
    """
    answer = Client(config).post("plan", host=host, algorithm=algorithm, weights=weights)["plan"]
    if as_json:
        print_json([answer])
        return
    print_table(
        ("SERVER", "ADDRESS", "STATE", "WEIGHT", "BEFORE", "AFTER", "AVERAGE"),
        (
            (
                row.get("name"),
                row["address"] if row["listed"] else f"{row['address']} (not in host)",
                row.get("state", "unknown"),
                row["weight"],
                row["before"],
                row["after"],
                row["average"],
            )
            for row in answer["server"]
        ),
    )
    click.echo()
    _print_moves(answer)
    for row in answer["stay"]:
        click.echo(f"{counted(row['count'], 'host')} not to be moved: {row['reason']}.")
    for note in answer["note"]:
        click.echo(printable(note))


def _print_moves(answer: Row) -> None:
    click.echo(f"{counted(answer['count'], 'host')} to be moved.")
    if answer["move"]:
        print_table(
            ("HOST", "FROM", "TO", "ID"),
            ((row["hostname"], row["source"], row["target"], row["hostid"]) for row in answer["move"]),
        )
        click.echo()
