"""`cloudlb add-host`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from cloudlb.cli.client import Client, api_options
from cloudlb.cli.failures import Failure
from cloudlb.cli.finding import complete_cluster, find_place
from cloudlb.cli.tables import print_json
from cloudlb.net.atomic_file import write_atomically

_FILES: Mapping[str, str] = {
    "agent.key": "privatekey",
    "agent.crt": "certificate",
    "ca.crt": "cacertificates",
    "agent.properties": "agentproperties",
}
"""Files of an agent, and where an answer has them."""
_DIRECT = "Simulator"


@click.command("add-host", short_help="Add a host, and write the files of its agent.")
@click.argument("address")
@click.option(
    "--cluster",
    required=True,
    metavar="NAME",
    shell_complete=complete_cluster,
    help="The cluster that it stands in, by name or id.",
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder, new or empty, to write the files of its agent into.",
)
@click.option("--resource", metavar="CLASS", help="The class of its resource, by dotted name; the simulator's if none.")
@click.option("--tags", metavar="A,B", help="Tags of the host.")
@api_options
def add_host(
    address: str,
    cluster: str,
    into: Path | None,
    resource: str | None,
    tags: str | None,
    client: Client,
    as_json: bool,
) -> None:
    """Add the host with this name or IP ADDRESS.

    Its agent starts with the files in DIR; nobody else has its key. A host in a cluster of the hypervisor Simulator
    has no agent: its resource runs inside a server.
    """
    place = find_place(client, "cluster", cluster)
    if place["hypervisortype"] == _DIRECT:
        if into is not None:
            raise click.UsageError(f"--into: a host in cluster {cluster} has no agent that would need files")
    elif into is None:
        raise click.UsageError("--into is missing: the key of the host's agent must go somewhere")
    elif into.exists() and any(into.iterdir()):
        raise Failure(f"{into} is not empty")
    else:
        # Before the host is added: its key can be had only once.
        _make(into)
    answer = client.call(
        "addHost",
        zoneid=place["zoneid"],
        podid=place["podid"],
        clusterid=place["id"],
        hypervisor=place["hypervisortype"],
        url=f"http://[{address}]" if ":" in address else f"http://{address}",
        resource=resource,
        hosttags=tags,
    )
    (host,) = answer["host"]
    bundle = host.pop("agentbundle", None)
    if into is not None and bundle is not None:
        for name, key in _FILES.items():
            write_atomically(into / name, bundle[key].encode("ascii"), 0o600)
    if as_json:
        print_json([host])
    elif into is not None:
        click.echo(f"{host['name']} is added. Copy {into} to it, and start its agent there:")
        click.echo("  twistd -n cloudlb-agent --config agent.properties")
    else:
        click.echo(f"{host['name']} is added; a server loads its resource.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}") from error
