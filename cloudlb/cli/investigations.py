"""`cloudlb investigations`: why agents were looked into, and what came out."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.finding import complete_host
from cloudlb.cli.tables import print_json, print_table, printable
from cloudlb.cli.times import utc

_MOST = 500


@click.command(short_help="Why agents were looked into, and what came out.")
@click.argument("host", required=False, shell_complete=complete_host)
@click.option(
    "--limit", type=click.IntRange(1, _MOST), default=20, show_default=True, metavar="N", help="How many at most."
)
@api_options
def investigations(host: str | None, limit: int, client: Client, as_json: bool) -> None:
    """Show why agents were looked into and what came out, the newest first.

    Of one HOST it shows what each investigator said. HOST is a name, an id or a uuid, also of a host that was deleted.
    """
    answer = client.call("listInvestigations", hostid=host, page=1, pagesize=limit)
    rows: list[Row] = answer.get("investigation", [])
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("Nobody has had to look into any host." if host is None else "Nobody has had to look into it.")
    elif host is not None:
        for row in rows:
            for line in finding_lines(row):
                click.echo(line)
    else:
        print_table(
            ("TIME (UTC)", "HOST", "CAUSE", "VERDICT", "BY", "REASON", "SERVER", "TOOK"),
            [
                (
                    utc(row["started"]),
                    row.get("hostname"),
                    row["cause"],
                    row["verdict"],
                    row.get("investigator", "nobody"),
                    row.get("reason"),
                    row.get("managementservername"),
                    _took(row),
                )
                for row in rows
            ],
            wraps=("REASON",),
            spare=("TOOK", "SERVER", "CAUSE"),
        )


def finding_lines(row: Row) -> Iterator[str]:
    """An investigation with what each investigator said."""
    by = f" by {printable(row['investigator'])}" if "investigator" in row else ": nobody knew"
    server = printable(row.get("managementservername", "a server that is gone"))
    yield (
        f"{utc(row['started'])} UTC  {row['cause']}, looked into by {server} for {_took(row)}; "
        f"verdict {row['verdict']}{by}"
    )
    for each in row["findings"]:
        yield f"  {printable(each['investigator'])}: {each['verdict']}, {printable(each['reason'])} ({_took(each)})"


def _took(row: Row) -> str:
    return f"{row['duration'] / 1000:.1f} s"
