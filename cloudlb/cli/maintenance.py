"""`cloudlb maintenance`: prepareHostForMaintenance and cancelHostMaintenance, with their jobs waited for."""

from __future__ import annotations

import click

from cloudlb.cli.client import Client, api_options
from cloudlb.cli.finding import complete_host, find_host
from cloudlb.cli.jobs import wait_for_job
from cloudlb.cli.tables import print_json, printable


@click.group()
def maintenance() -> None:
    """Take hosts out of use to work on them, and back.

    HOST is a name, an id or a uuid.
    """


@maintenance.command()
@click.argument("host", shell_complete=complete_host)
@api_options
def prepare(host: str, client: Client, as_json: bool) -> None:
    """Have HOST emptied, and wait until no VM is left on it.

    VMs are not moved: that is for whoever placed them. The exit status is 0 only if the host is in maintenance. Ctrl-C
    ends the waiting and nothing else; see `cloudlb maintenance cancel`.
    """
    _do("prepareHostForMaintenance", host, f"{host} has not been empty", client, as_json)


@maintenance.command()
@click.argument("host", shell_complete=complete_host)
@api_options
def cancel(host: str, client: Client, as_json: bool) -> None:
    """Take HOST back into use, from maintenance or from the way there."""
    _do("cancelHostMaintenance", host, f"{host} has not been Enabled", client, as_json)


def _do(command: str, host: str, waiting: str, client: Client, as_json: bool) -> None:
    started = client.call(command, id=find_host(client, host)["id"])
    row = wait_for_job(client, started["jobid"], waiting)["host"]
    if as_json:
        print_json([row])
    else:
        click.echo(f"{printable(row['name'])}: {row['resourcestate']}")
