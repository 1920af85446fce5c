"""`cloudlb hosts`."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click
from rich.text import Text

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.finding import (
    complete_cluster,
    complete_pod,
    complete_server,
    complete_zone,
    find_place,
    find_server,
)
from cloudlb.cli.tables import counted, print_json, print_table
from cloudlb.cli.times import ago
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.resource_state import ResourceState

_STATES = click.Choice([status.value for status in HostStatus if status is not HostStatus.REMOVED], False)
_RESOURCE_STATES = click.Choice([state.value for state in ResourceState], False)
_NUMBER = re.compile(r"([0-9]+)")


@click.command(short_help="The hosts: states, servers, preferred servers.")
@click.option(
    "--state",
    "states",
    type=_STATES,
    metavar="STATE",
    multiple=True,
    help="Only those in a state: Up, Alert; or several.",
)
@click.option(
    "--resource-state",
    "resource_states",
    type=_RESOURCE_STATES,
    metavar="STATE",
    multiple=True,
    help="Only those in a resource state: Maintenance; or several.",
)
@click.option(
    "--server", metavar="NAME", shell_complete=complete_server, help="Only those that are or were last on it."
)
@click.option("--zone", metavar="NAME", shell_complete=complete_zone, help="Only those of a zone.")
@click.option("--pod", metavar="NAME", shell_complete=complete_pod, help="Only those of a pod.")
@click.option("--cluster", metavar="NAME", shell_complete=complete_cluster, help="Only those of a cluster.")
@click.option("--off-preferred", is_flag=True, help="Only those that are not on the first server of their list.")
@api_options
def hosts(
    states: Sequence[str],
    resource_states: Sequence[str],
    server: str | None,
    zone: str | None,
    pod: str | None,
    cluster: str | None,
    off_preferred: bool,
    client: Client,
    as_json: bool,
) -> None:
    """Show the hosts: their states, the server each is on, and the one that it prefers.

    Filters may be combined; names may be ids. PREFERRED is yes, or the server that the host should be on.
    """
    places = {
        f"{kind}id": find_place(client, kind, name)["id"] for kind, name in _given(zone=zone, pod=pod, cluster=cluster)
    }
    found = client.list(
        "listHosts",
        placement="true",
        # The API takes one.
        state=states[0] if len(states) == 1 else None,
        resourcestate=resource_states[0] if len(resource_states) == 1 else None,
        managementserverid=None if server is None else find_server(client, server)["id"],
        **places,
    )
    rows = sorted(
        (
            row
            for row in found
            if (not states or row["state"] in states)
            and (not resource_states or row["resourcestate"] in resource_states)
            and (not off_preferred or row.get("onpreferred") is False)
        ),
        key=_by_name,
    )
    if as_json:
        print_json(rows)
        return
    now = time.time()
    print_table(
        ("NAME", "STATE", "RESOURCE STATE", "SERVER", "PREFERRED", "CLUSTER", "LAST PING", "ID"),
        [
            (
                row["name"],
                row["state"],
                row["resourcestate"],
                row.get("managementservername"),
                preferred(row),
                row.get("clustername"),
                ago(row.get("lastpinged"), now),
                row["id"],
            )
            for row in rows
        ],
        spare=("ID", "CLUSTER", "LAST PING", "RESOURCE STATE"),
    )
    click.echo()
    click.echo(summary(rows))


def preferred(row: Row) -> Text | None:
    """The server that a host should be on: yes if it is there, nothing if nobody knows."""
    if "serverlist" not in row:
        return None
    return Text("yes") if row["onpreferred"] else Text(row["serverlist"].partition(",")[0], style="yellow")


def summary(rows: Sequence[Row]) -> str:
    """How many there are, by state, in a line."""
    states = Counter(row["state"] for row in rows)
    others = Counter(row["resourcestate"] for row in rows if row["resourcestate"] != ResourceState.ENABLED.value)
    away = sum(row.get("onpreferred") is False for row in rows)
    parts = [f"{number} {state}" for state, number in (states + others).most_common()]
    parts += [f"{away} not on the preferred server"] if away else []
    return ": ".join([counted(len(rows), "host"), ", ".join(parts)]) if parts else "0 hosts"


def _given(**names: str | None) -> list[tuple[str, str]]:
    return [(kind, name) for kind, name in names.items() if name is not None]


def _by_name(row: Row) -> list[Any]:
    """agent-2 before agent-10."""
    return [int(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(row["name"]))]
