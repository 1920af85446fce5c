"""`cloudlb host NAME`: one host in full."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.events import print_events
from cloudlb.cli.finding import complete_host, find_host, list_servers
from cloudlb.cli.investigations import finding_lines
from cloudlb.cli.tables import print_facts, print_json, printable
from cloudlb.cli.times import ago, utc

_EVENTS = 10


@click.command(short_help="One host in full.")
@click.argument("name", shell_complete=complete_host)
@api_options
def host(name: str, client: Client, as_json: bool) -> None:
    """Show one host in full: states, server, list, the last verdict on it and the last events.

    NAME is a name, an id or a uuid.
    """
    row = find_host(client, name, placement="true")
    verdicts = client.call("listInvestigations", hostid=row["id"], page=1, pagesize=1).get("investigation", [])
    events = client.call("listEvents", resourceid=row["id"], page=1, pagesize=_EVENTS).get("event", [])
    if as_json:
        print_json({"host": row, "investigation": verdicts[0] if verdicts else None, "event": events})
        return
    servers = {server["ipaddress"]: server for server in list_servers(client)}
    print_facts(_facts(row, time.time()))
    click.echo()
    _print_list(row, servers)
    click.echo()
    if verdicts:
        for line in finding_lines(verdicts[0]):
            click.echo(line)
    else:
        click.echo("Nobody has had to look into it.")
    click.echo()
    print_events(events, about_one=True)


def _facts(row: Row, now: float) -> Iterator[tuple[str, object]]:
    yield "name", row["name"]
    yield "id", row["id"]
    yield "state", row["state"]
    yield "resource state", row["resourcestate"]
    yield ("server" if row["state"] == "Up" else "last server"), row.get("managementservername") or "none"
    if "changed" in row:
        yield "as it is since", f"{utc(row['changed'])} UTC ({ago(row['changed'], now)})"
    yield "last heard", ago(row.get("lastpinged"), now)
    if row["state"] != "Up" and "disconnected" in row:
        yield "disconnected", f"{utc(row['disconnected'])} UTC ({ago(row['disconnected'], now)})"
    yield "stands in", " / ".join(row[place] for place in ("zonename", "podname", "clustername") if place in row)
    yield "address", row.get("ipaddress")
    yield "hypervisor", " ".join(row[name] for name in ("hypervisor", "hypervisorversion", "arch") if name in row)
    yield "agent", row.get("version")
    if "hosttags" in row:
        yield "tags", row["hosttags"]
    yield "added", f"{utc(row['created'])} UTC"


def _print_list(row: Row, servers: dict[str, Row]) -> None:
    if "serverlist" not in row:
        click.echo("Its list: only its agent knows it (shuffle), or it has no agent.")
        return
    addresses = row["serverlist"].split(",")
    click.echo("Its list, in the order in which its agent tries the servers:")
    own = row.get("managementservername")
    for place, address in enumerate(addresses, 1):
        server = servers.get(address) or next((each for each in servers.values() if each["name"] == address), None)
        name = "" if server is None or server["name"] == address else f" {printable(server['name'])}"
        state = "no such server" if server is None else server["state"]
        notes = [state]
        if place == 1:
            notes.append("preferred")
        if server is not None and server["name"] == own:
            notes.append("it is here" if row["state"] == "Up" else "it was here last")
        click.echo(f"  {place}. {address}{name}  {', '.join(notes)}")
