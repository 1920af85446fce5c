"""`cloudlb rebalance`: rebalanceAgents, with its job waited for."""

from __future__ import annotations

import sys

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.failures import NOT_ALL
from cloudlb.cli.jobs import wait_for_job
from cloudlb.cli.tables import counted, print_json, printable


@click.command(short_help="Even out how many agents each server has.")
@api_options
def rebalance(client: Client, as_json: bool) -> None:
    """Even out how many agents each server has, and wait until all have moved that `cloudlb plan` shows.

    The exit status is 0 if they have, also where there was nothing to move, 3 if some have not, and another one if
    the server could not be asked. Ctrl-C ends the waiting and nothing else.
    """
    job = client.call("rebalanceAgents")["jobid"]
    progress = _Progress()
    result = wait_for_job(client, job, "agents have been on their way", progress.show)["rebalance"]
    if as_json:
        print_json([result])
    else:
        click.echo(_summary(result))
        for row in result["stay"]:
            click.echo(f"{counted(row['count'], 'host')} not to be moved: {row['reason']}.")
        for note in result["note"]:
            click.echo(printable(note))
    if result["moved"] != result["planned"]:
        sys.exit(NOT_ALL)


class _Progress:
    """A line on stderr whenever more hosts have moved."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, result: Row) -> None:
        """Tell how far the job is."""
        line = _summary(result["rebalance"])
        if line != self._shown:
            self._shown = line
            click.echo(line, err=True)


def _summary(result: Row) -> str:
    parts = [f"{result['moved']} of {counted(result['planned'], 'host')} moved"]
    parts += [f"{result[name]} {name}" for name in ("left", "stayed", "failed") if result[name]]
    return ", ".join(parts)
