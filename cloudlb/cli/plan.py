"""`cloudlb plan`."""

from __future__ import annotations

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.tables import counted, print_json, print_table, printable
from cloudlb.domain.balancing import Algorithm


@click.command(short_help="Who would move: now, or after a change.")
@click.option("--host", metavar="LIST", help="Try these addresses for the setting `host`.")
@click.option(
    "--algorithm",
    metavar="NAME",
    shell_complete=lambda ctx, param, incomplete: [
        each.value for each in Algorithm if each.value.startswith(incomplete)
    ],
    help="Try this algorithm: static, roundrobin, shuffle or rendezvous.",
)
@click.option("--weights", metavar="W", help="Try these weights: 10.0.0.1=2,10.0.0.2=1.")
@api_options
def plan(host: str | None, algorithm: str | None, weights: str | None, client: Client, as_json: bool) -> None:
    """Show which agents would be moved to which server, and move none.

    Without settings to try, by a rebalancing of the servers as they are; with some, after their change.
    """
    answer = client.post("plan", host=host, algorithm=algorithm, weights=weights)["plan"]
    if as_json:
        print_json([answer])
    else:
        print_plan(answer)


def print_plan(answer: Row, *, err: bool = False, most: int | None = None) -> None:
    """Print a plan.

    Args:
        answer: of the API.
        err: on stderr, before a question.
        most: how many moves are listed; all unless given.
    """
    print_table(
        ("SERVER", "ADDRESS", "STATE", "WEIGHT", "BEFORE", "AFTER", "AVERAGE"),
        [
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
        ],
        spare=("WEIGHT", "AVERAGE"),
        err=err,
    )
    click.echo(err=err)
    click.echo(f"{counted(answer['count'], 'host')} to be moved.", err=err)
    moves = answer["move"][:most]
    if moves:
        print_table(
            ("HOST", "FROM", "TO", "ID"),
            [(row["hostname"], row["source"], row["target"], row["hostid"]) for row in moves],
            spare=("ID",),
            err=err,
        )
        if len(moves) < answer["count"]:
            click.echo(f"... and {answer['count'] - len(moves)} more; see all with: cloudlb plan", err=err)
        click.echo(err=err)
    for row in answer["stay"]:
        click.echo(f"{counted(row['count'], 'host')} not to be moved: {row['reason']}.", err=err)
    for note in answer["note"]:
        click.echo(printable(note), err=err)
