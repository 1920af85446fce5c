"""`cloudlb demo`: a deployment plays balance, failover and failback by itself, and tells what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
from attrs import frozen
from cs import CloudStackException
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cloudlb.cli.local_cluster import HostView, Inventory, LocalCluster, NoServerAnswers
from cloudlb.cli.processes import interrupted_by_signals
from cloudlb.cli.run import SETUP_ERRORS, introduce
from cloudlb.cli.story import MAX_CHECK_INTERVAL, Move, StepFailed, Story, play
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL


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


@click.command(short_help="Play failover and failback on this machine.")
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
                if lacks := unfit(cluster):
                    raise click.ClickException(f"the demo needs {lacks}; cloudlb init makes a deployment that has it")
                told = play(LocalWorld(cluster), click.echo)
            except (StepFailed, NoServerAnswers, CloudStackException) as error:
                raise click.ClickException(f"the story broke off: {error}\nThe logs are in {cluster.logs}") from error
    except SETUP_ERRORS as error:
        raise click.ClickException(str(error)) from error
    console = Console()
    for section in summary(told):
        console.print(section)
    click.echo(f"Every step held; {time.monotonic() - start:.0f} s in all.")


def unfit(cluster: LocalCluster) -> str:
    """What the story needs and this cluster has not; empty if it can be told."""
    servers = cluster.api.setting(HOST).split(",")
    algorithm, interval = cluster.api.setting(LB_ALGORITHM), cluster.api.setting(LB_CHECK_INTERVAL)
    if len(servers) < 2 or not set(servers) <= cluster.servers.keys():
        return f"at least 2 servers, all of them in {cluster.inventory.folder}, and the setting {HOST} is {servers}"
    if len(cluster.agents) < len(servers):
        return f"an agent for each server, and there are {len(cluster.agents)} for {len(servers)}"
    if algorithm != Algorithm.ROUNDROBIN.value:
        return f"{LB_ALGORITHM}={Algorithm.ROUNDROBIN.value}, and it is {algorithm}"
    if not 0 < int(interval) <= MAX_CHECK_INTERVAL:
        return f"an {LB_CHECK_INTERVAL} between 1 and {MAX_CHECK_INTERVAL}, and it is {interval}"
    return ""


def summary(told: Story) -> list[Group]:
    """The story's figures, a table for each step."""
    balance, failover, failback, change = told.balance, told.failover, told.failback, told.change
    return [
        _table(
            f"The spread under roundrobin, {balance.seconds:.1f} s after the start of the agents:",
            ("server", "agents"),
            ((server, str(agents)) for server, agents in balance.agents.items()),
        ),
        _table(
            f"{failover.server} was killed with kill -9; the other servers called it Down after "
            f"{failover.down_after:.1f} s. Its agents:",
            *_rows(failover.moves),
        ),
        _table(f"{failback.server} was started again. Its agents, Up all the while:", *_rows(failback.moves)),
        _table(
            f"The algorithm was changed to rendezvous. Every agent had its new list after {change.listed_after:.1f} s "
            f"and was on its head after {change.followed_after:.1f} s:",
            ("agent", "host= in its agent.properties"),
            ((name, str(hosts)) for name, hosts in change.lists.items()),
        ),
    ]


def _rows(moves: Sequence[Move]) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    rows = ((move.agent, move.source, move.target, f"{move.seconds:.1f} s") for move in moves)
    return ("agent", "from", "to", "Up there after"), rows


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Group:
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return Group("", Text(title), table)
