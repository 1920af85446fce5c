"""`cloudlb init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from cloudlb.cli.deployment import API_PORT, MAX_AGENTS, PORT, Deployment, DeploymentError, Request, deploy
from cloudlb.cli.tables import counted
from cloudlb.domain.balancing import Algorithm

_PORTS = click.IntRange(1, 65535)


@click.command(short_help="Make a deployment in a folder, or add to it.")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--server", "servers", metavar="ADDRESS", multiple=True, help="A server's address; once for each server.")
@click.argument("more_servers", metavar="[ADDRESS]...", nargs=-1)
@click.option("--agents", metavar="N", type=click.IntRange(0, MAX_AGENTS), default=0, help="Simulator hosts 1 to N.")
@click.option("--db", "database_url", metavar="URL", help="The database, unless DIR/cloudlb.sqlite.")
@click.option("--port", type=_PORTS, help=f"Where servers listen for agents; {PORT} unless given.")
@click.option("--api-port", type=_PORTS, help=f"Where servers serve the API; {API_PORT} unless given.")
@click.option(
    "--algorithm",
    type=click.Choice([algorithm.value for algorithm in Algorithm]),
    help="How agents' lists are ordered; static unless given.",
)
@click.option(
    "--check-interval",
    metavar="S",
    type=click.IntRange(0),
    help="Seconds between agents' checks whether they can return to the head of their list; 0, off, unless given.",
)
def init(
    folder: Path,
    servers: tuple[str, ...],
    more_servers: tuple[str, ...],
    agents: int,
    database_url: str | None,
    port: int | None,
    api_port: int | None,
    algorithm: str | None,
    check_interval: int | None,
) -> None:
    """Make a deployment in DIR: database, certificates, configuration of servers and agents, an administrator.

    Several addresses may follow one --server. Where DIR holds a deployment already, what is missing is added and
    nothing else is changed.
    """
    if more_servers and len(servers) != 1:
        # Their order matters, and it would be lost.
        raise click.UsageError(
            f"unexpected argument {more_servers[0]!r}: addresses follow one --server, or have one each"
        )
    request = Request(
        folder=folder,
        servers=servers + more_servers,
        agents=agents,
        database_url=database_url,
        port=port,
        api_port=api_port,
        algorithm=algorithm,
        check_interval=check_interval,
    )
    try:
        deployment = deploy(request, lambda line: click.echo(f"  {line}", err=True))
    except DeploymentError as error:
        raise click.ClickException(str(error)) from error
    click.echo(_report(deployment))


def _report(deployment: Deployment) -> str:
    folder = shlex.quote(str(deployment.folder))
    servers = f"{counted(len(deployment.servers), 'server')} ({len(deployment.new_servers)} new)"
    lines = [f"{deployment.folder}: {servers}, {counted(deployment.new_agents, 'new agent')}"]
    lines += [
        f"  kept: {name} is {value}; change it with: cloudlb set {name} VALUE"
        for name, value in deployment.kept_settings.items()
    ]
    lines += ["", "Start each daemon by itself, from any folder:"]
    lines += [
        f"  twistd -n cloudlb-mgmt --config {shlex.quote(str(deployment.server_file(address)))}"
        for address in deployment.new_servers or deployment.servers
    ]
    if deployment.agents:
        agent = shlex.quote(str(deployment.agent_file(1)))
        lines.append(f"  twistd -n cloudlb-agent --config {agent}")
    lines += [
        "or all of it on this machine:",
        f"  cloudlb run {folder}",
        "and look at it:",
        f"  cloudlb hosts --config {shlex.quote(str(deployment.folder / 'cloudstack.ini'))}",
        f"  cd {folder} && cs listHosts",
    ]
    if deployment.password_file.exists():
        lines += [
            "The dashboard, at a server's API port, takes the user admin with the password in",
            f"  {deployment.password_file}",
        ]
    return "\n".join(lines)
