"""`cloudlb demo`: a deployment plays balance, failover and failback by itself, and tells what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from attrs import frozen
from cs import CloudStackException
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cloudlb.cli.local_cluster import HostView, Inventory, LocalCluster, NoServerAnswers
from cloudlb.cli.processes import interrupted_by_signals
from cloudlb.cli.run import SETUP_ERRORS, introduce
from cloudlb.cli.story import Move, StepFailed, Story, play
from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import HOST


@frozen
class LocalWorld:
    """The story's world: real processes, a real API, real files and real time."""

    cluster: LocalCluster

    @property
    def servers(self) -> Sequence[str]:
        """The addresses of the setting `host`."""
        return self.cluster.api.setting(HOST).split(",")

    def hosts(self) -> Mapping[str, HostView]:
        """Every host by name."""
        return self.cluster.api.hosts()

    def server_states(self) -> Mapping[str, str]:
        """Up or Down of every server."""
        return self.cluster.api.server_states()

    def lists(self) -> Mapping[str, HostList]:
        """The list in every agent's properties file."""
        return self.cluster.inventory.lists()

    def guids(self) -> Mapping[str, str]:
        """Every agent's GUID as the wire carries it: with the name of the resource's class."""
        agents = {name: self.cluster.inventory.agent(name) for name in self.cluster.agents}
        return {name: f"{config.guid}-{config.resource.rpartition('.')[2]}" for name, config in agents.items()}

    def kill(self, server: str) -> None:
        """kill -9."""
        self.cluster.servers[server].kill()

    def restart(self, server: str) -> None:
        """Start a server again and wait until it listens."""
        self.cluster.servers[server].start()
        self.cluster.wait_for_servers([server])

    def change_setting(self, name: str, value: str) -> None:
        """Set a global value through the API."""
        self.cluster.api.change_setting(name, value)

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
def demo(folder: Path) -> None:
    """Start the deployment in DIR and play failover and failback with it; fails unless every step held."""
    start = time.monotonic()
    try:
        with interrupted_by_signals(), LocalCluster(Inventory.read(folder.absolute())) as cluster:
            click.echo("Starting the servers ...")
            cluster.start()
            click.echo(introduce(cluster))
            try:
                told = play(LocalWorld(cluster), click.echo)
            except (StepFailed, NoServerAnswers, CloudStackException) as error:
                raise click.ClickException(f"the story broke off: {error}\nThe logs are in {cluster.logs}") from error
    except SETUP_ERRORS as error:
        raise click.ClickException(str(error)) from error
    console = Console()
    for table in summary(told):
        console.print(table)
    click.echo(f"Every step held; {time.monotonic() - start:.0f} s in all.")


def summary(told: Story) -> list[Table]:
    """The story's figures as tables."""
    spread = _table(f"Under roundrobin, after {told.balance.seconds:.1f} s", "server", "agents")
    for server, agents in told.balance.agents.items():
        spread.add_row(server, str(agents))
    down = told.failover.down_after
    failover = _moves(
        f"{told.failover.server} killed with -9; the others called it Down after {down:.1f} s", told.failover.moves
    )
    failback = _moves(
        f"{told.failback.server} is back; its agents returned and were Up all the while", told.failback.moves
    )
    change = told.change
    lists = _table(
        f"Another algorithm, live: every agent had its list after {change.listed_after:.1f} s "
        f"and was on its head after {change.followed_after:.1f} s",
        "agent",
        "host= in its agent.properties",
    )
    for name, hosts in change.lists.items():
        lists.add_row(name, str(hosts))
    return [spread, failover, failback, lists]


def _moves(title: str, moves: Sequence[Move]) -> Table:
    table = _table(title, "agent", "from", "to", "Up there after")
    for move in moves:
        table.add_row(move.agent, move.source, move.target, f"{move.seconds:.1f} s")
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table
