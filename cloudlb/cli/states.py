"""`cloudlb states`: the two state machines of a host, from the tables that the server goes by."""

from __future__ import annotations

import click
from attrs import frozen

from cloudlb.cli.tables import print_json, print_table
from cloudlb.domain.host_status import STATUS_TABLE, HostStatus, StatusTable
from cloudlb.domain.resource_state import RESOURCE_TABLE, ResourceState, ResourceTable


@frozen
class Machine:
    """One of them."""

    name: str
    """The field of listHosts that shows its state."""
    start: str
    table: StatusTable | ResourceTable

    @property
    def steps(self) -> list[tuple[str, str, str]]:
        """State, event, and the state that it leads to, in the order of the table."""
        return [(before.value, event.value, after.value) for (before, event), after in self.table.items()]

    def arrows(self) -> dict[tuple[str, str], list[str]]:
        """The events of each way from a state to another."""
        arrows: dict[tuple[str, str], list[str]] = {}
        for before, event, after in self.steps:
            arrows.setdefault((before, after), []).append(event)
        return arrows

    def mermaid(self) -> str:
        """The drawing, for Markdown."""
        lines = [
            f"    {before} --> {after}: {'<br>'.join(events)}" for (before, after), events in self.arrows().items()
        ]
        return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {self.start}", *lines, "```"])


MACHINES = (
    Machine("state", HostStatus.CREATING.value, STATUS_TABLE),
    Machine("resourcestate", ResourceState.CREATING.value, RESOURCE_TABLE),
)


@click.command(short_help="What can happen to a host, and where that leads.")
@click.option("--mermaid", is_flag=True, help="Print drawings in Mermaid's language, for Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of tables.")
def states(mermaid: bool, as_json: bool) -> None:
    """Show the states of a host, what can happen in each, and where that leads."""
    if mermaid and as_json:
        raise click.UsageError("--mermaid and --json are two forms of the same: choose one")
    if as_json:
        keys = ("machine", "from", "event", "to")
        print_json([dict(zip(keys, (m.name, *step), strict=True)) for m in MACHINES for step in m.steps])
    elif mermaid:
        click.echo("\n\n".join(machine.mermaid() for machine in MACHINES))
    else:
        for machine in MACHINES:
            if machine is not MACHINES[0]:
                click.echo()
            rows = ((before, ", ".join(events), after) for (before, after), events in machine.arrows().items())
            print_table((machine.name.upper(), "EVENTS", "LEAD TO"), rows, wraps=("EVENTS",))
