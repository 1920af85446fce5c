"""`cloudlb run`: a deployment as child processes, and a live table of who is where."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from attrs import define, field, frozen
from cs import CloudStackException
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

import agent.config
from cloudlb.cli.deployment_files import INI_FILE
from cloudlb.cli.local_cluster import HostView, Inventory, LocalCluster, NoServerAnswers, NotADeployment, site_url
from cloudlb.cli.processes import DaemonFailed, PortInUse, interrupted_by_signals
from cloudlb.cli.tables import counted
from cloudlb.config import InvalidConfiguration
from cloudlb.domain.host_list import HostList

REFRESH = 0.5
"""Seconds between two looks at the cluster."""

SETUP_ERRORS = (NotADeployment, InvalidConfiguration, agent.config.InvalidConfiguration, PortInUse, DaemonFailed)
"""What can be wrong with a deployment or in the way of its start; the messages are for people."""


@frozen
class Placement:
    """Where one agent is."""

    name: str
    state: str
    server: str
    hosts: HostList
    since: float | None
    """When it came there, by the clock of :class:`Watch`; None if it was there at the first look."""


@frozen
class Snapshot:
    """One look at the cluster."""

    servers: Mapping[str, str]
    """Up, Down, or another state of each by name."""
    agents: tuple[Placement, ...]
    ended: tuple[str, ...]
    """Daemons that have ended, each with its status and its log."""


@define
class Watch:
    """Looks at a cluster again and again, and remembers since when each agent has been where it is."""

    cluster: LocalCluster
    now: Callable[[], float] = time.monotonic
    _since: dict[str, tuple[HostView, float | None]] = field(factory=dict, init=False)

    def look(self) -> Snapshot:
        """Look once. Without an API that answers, the agents' files still tell what the agents hold."""
        try:
            hosts, states = self.cluster.api.hosts(), self.cluster.api.server_states()
        except (NoServerAnswers, CloudStackException):
            hosts, states = {}, {}
        lists = self.cluster.inventory.lists()
        return Snapshot(
            servers={name: states.get(name, "?") for name in self.cluster.servers},
            agents=tuple(self._place(hosts.get(name) or HostView(name, "?", ""), lists[name]) for name in lists),
            ended=tuple(
                f"{daemon.name} ended with status {daemon.exit_status}; see {daemon.log}"
                for daemon in self.cluster.ended()
            ),
        )

    def _place(self, host: HostView, hosts: HostList) -> Placement:
        before = self._since.get(host.name)
        if before is None or before[0] != host:
            moved = self.now() if before is not None else None
            self._since[host.name] = (host, moved)
        return Placement(host.name, host.state, host.server, hosts, self._since[host.name][1])


def as_table(snapshot: Snapshot, now: float) -> Table:
    """The live table."""
    algorithms = ", ".join(sorted({placed.hosts.algorithm or "none" for placed in snapshot.agents}))
    table = Table(
        title=f"Who is where (algorithm of the lists: {algorithms or 'none'})", title_justify="left", box=SIMPLE_HEAD
    )
    for heading in ("agent", "state", "server", "its list", "changed"):
        table.add_column(heading, no_wrap=True)
    for placed in snapshot.agents:
        home = placed.server == placed.hosts.preferred
        table.add_row(
            placed.name,
            Text(placed.state, style="green" if placed.state == "Up" else "red"),
            Text(placed.server, style="" if home else "yellow"),
            ",".join(placed.hosts.addresses),
            "" if placed.since is None else f"{now - placed.since:.0f} s ago",
        )
    states = ", ".join(f"{name} {state}" for name, state in snapshot.servers.items())
    table.caption = "\n".join([f"servers: {states}", *snapshot.ended])
    table.caption_justify = "left"
    return table


def as_lines(snapshot: Snapshot) -> dict[str, str]:
    """One line for each thing that can change, for output that is no terminal."""
    lines = {f"server {name}": f"server {name} {state}" for name, state in snapshot.servers.items()}
    for placed in snapshot.agents:
        lines[placed.name] = f"{placed.name} {placed.state} on {placed.server or 'no server'}, list {placed.hosts}"
    return lines | {line: line for line in snapshot.ended}


def show(watch: Watch, console: Console) -> None:
    """Show the cluster until interrupted."""
    if not console.is_terminal:
        shown: dict[str, str] = {}
        while True:
            lines = as_lines(watch.look())
            for thing, line in lines.items():
                if shown.get(thing) != line:
                    click.echo(f"{time.strftime('%H:%M:%S')} {line}")
            shown = lines
            time.sleep(REFRESH)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(as_table(watch.look(), watch.now()), refresh=True)
            time.sleep(REFRESH)


def introduce(cluster: LocalCluster) -> str:
    """What is running, and where to look."""
    inventory = cluster.inventory
    servers = inventory.servers.values()
    daemons = f"{counted(len(cluster.servers), 'server')} and {counted(len(cluster.agents), 'agent')}"
    try_it = shlex.join([sys.argv[0], "hosts", "--config", str(inventory.folder / INI_FILE)])
    return "\n".join(
        [
            f"{daemons} from {inventory.folder}",
            *(f"  API      {site_url(server)}client/api" for server in servers),
            f"  logs     {cluster.logs}",
            f"  try      {try_it}",
        ]
    )


@click.command(short_help="Run a deployment on this machine.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
def run(folder: Path) -> None:
    """Start the deployment in DIR on this machine and show who is where, until Ctrl-C."""
    try:
        with interrupted_by_signals(), LocalCluster(Inventory.read(folder.absolute())) as cluster:
            try:
                cluster.start()
                click.echo(introduce(cluster))
                click.echo("Ctrl-C ends all of it.")
                show(Watch(cluster), Console())
            except KeyboardInterrupt:
                click.echo("Ending the agents and servers ...")
    except SETUP_ERRORS as error:
        raise click.ClickException(str(error)) from error
