"""`cloudlb drain` and `cloudlb undrain`: a management server is emptied, and used again."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.drain_progress import progress, summary
from cloudlb.cli.failures import INTERRUPTED, NOT_ALL, Unreachable
from cloudlb.cli.finding import complete_server, find_server, list_servers
from cloudlb.cli.jobs import FIRST_PAUSE, LAST_PAUSE, PATIENCE, lookup
from cloudlb.cli.tables import print_json, print_table, printable
from cloudlb.domain.settings import MAINTENANCE_TIMEOUT

EXIT_STATUS: Mapping[str, int] = {"done": 0, "forced": 0, "timed out": NOT_ALL, "cancelled": 4, "stopped": 5}
"""By how the drain ended."""

_SHUTDOWN_STATES = ("PreparingForShutDown", "ReadyToShutDown")


@click.command(short_help="Have a server emptied, and watch it.")
@click.argument("name", shell_complete=complete_server)
@click.option("--algorithm", metavar="A", help="How agents choose their new servers; without it, as ever.")
@click.option("--forced", is_flag=True, help="When the time is over, disconnect the agents that are left.")
@click.option("--shutdown", is_flag=True, help="Have its process end when it is empty.")
@click.option("--no-wait", is_flag=True, help="Give the order, and do not wait for its end.")
@api_options
def drain(
    name: str,
    algorithm: str | None,
    forced: bool,
    shutdown: bool,
    no_wait: bool,
    client: Client,
    as_json: bool,
) -> None:
    """Have the management server NAME emptied: its agents are moved to the others, its jobs end.

    NAME is a name, an id or an address. The server is in Maintenance then, or with --shutdown its process ends. Given
    again, it goes on: after a time-out, or with other options. Ctrl-C ends the watching and nothing else; see `cloudlb
    undrain`.

    The exit status is 0 if the server is empty, 3 if its time was over before, 4 if it was cancelled, 5 if the server
    died or was stopped meanwhile, and another one if the order was not taken.
    """
    server = find_server(client, name)
    others = [row["ipaddress"] for row in list_servers(client) if row["id"] != server["id"]]
    state = _order(client, server, algorithm, forced, shutdown)
    if not no_wait:
        state = _watch([client, *(client.at(address) for address in others)], state, shutdown)
    if as_json:
        print_json([state])
    else:
        _print(state)
    if not no_wait:
        sys.exit(EXIT_STATUS[_end(state)])


@click.command(short_help="Use a server again.")
@click.argument("name", shell_complete=complete_server)
@click.option("--no-rebalance", is_flag=True, help="Do not have agents moved back to it now.")
@api_options
def undrain(name: str, no_rebalance: bool, client: Client, as_json: bool) -> None:
    """Use the management server NAME again: in maintenance, on the way there, or before a shutdown is triggered."""
    server = find_server(client, name)
    if server["state"] in _SHUTDOWN_STATES:
        answer = client.call("cancelShutdown", managementserverid=server["id"])["cancelshutdown"]
    else:
        rebalance = "false" if no_rebalance else "true"
        answer = client.call("cancelMaintenance", managementserverid=server["id"], rebalance=rebalance)
        answer = answer["cancelmaintenance"]
    if as_json:
        print_json([answer])
    else:
        click.echo(f"{printable(answer['managementservername'])}: {answer['state']}")
        if (job := answer.get("rebalancejobid")) is not None:
            click.echo(f"Agents are moved back to it by job {job}; see how it ends with: {lookup(job)}")


def _order(client: Client, server: Row, algorithm: str | None, forced: bool, shutdown: bool) -> Row:
    """Give the order, unless it was given and is under way, or carried out; how the server is then."""
    before = server.get("drain", {})
    ordered = before.get("algorithm"), before.get("forced"), before.get("timeout")
    same = ordered == (algorithm, forced, _timeout(client)) and "end" not in before
    if server["state"] == ("ShuttingDown" if shutdown else "PreparingForMaintenance") and same:
        click.echo(f"{printable(server['name'])} is being emptied already.", err=True)
        return _look(client, server["id"])
    if server["state"] == "Maintenance" and not shutdown:
        # What counts is who is there now, and not how an earlier drain has ended.
        return {key: value for key, value in _look(client, server["id"]).items() if key != "drain"}
    command = "triggerShutdown" if shutdown else "prepareForMaintenance"
    order: Row = client.call(
        command, managementserverid=server["id"], algorithm=algorithm, forced="true" if forced else None
    )[command.lower()]
    return order


def _timeout(client: Client) -> int:
    """Seconds that a drain has which is ordered now."""
    return 60 * int(client.list("listConfigurations", name=MAINTENANCE_TIMEOUT)[0]["value"])


def _look(client: Client, server_id: str) -> Row:
    """How far a server is."""
    state: Row = client.call("readyForShutdown", managementserverid=server_id)["readyforshutdown"]
    return state


def _watch(clients: Sequence[Client], state: Row, shutdown: bool) -> Row:
    """Wait until a server is empty, or has ended if it is shut down; how it was last.

    The server that is asked first may be the one that ends.
    """
    name = printable(state["managementservername"])
    pause, heard, asked = FIRST_PAUSE, time.monotonic(), deque(clients)
    try:
        with progress(name) as show:
            show(state)
            while not _is_over(state, shutdown):
                time.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)
                try:
                    state = _look(asked[0], state["managementserverid"])
                except Unreachable as error:
                    asked.rotate(-1)
                    if time.monotonic() - heard > PATIENCE:
                        raise Unreachable(f"{error.message}. The drain goes on", error.advice) from error
                else:
                    heard = time.monotonic()
                    show(state)
    except KeyboardInterrupt:
        click.echo(
            f"The drain goes on. Watch it with: cloudlb drain {name}; cancel it with: cloudlb undrain {name}", err=True
        )
        sys.exit(INTERRUPTED)
    return state


def _is_over(state: Row, shutdown: bool) -> bool:
    if state["state"] == "Down":
        return True
    if shutdown:
        # One whose time is over ends as well, unless its agents have nowhere to go.
        return bool(state["state"] != "ShuttingDown" or {"end", "note"} <= state.get("drain", {}).keys())
    return state["state"] == "Maintenance" or "end" in state.get("drain", {})


def _end(state: Row) -> str:
    """How the drain ended: one that has no end died with its server; one that has left agents is not done, either."""
    if "drain" not in state:
        return "timed out" if state["agentscount"] else "done"
    end: str = state["drain"].get("end", "stopped")
    return "timed out" if end in ("done", "forced") and state["drain"]["left"] else end


def _print(state: Row) -> None:
    click.echo(f"{printable(state['managementservername'])}: {state['state']}; {summary(state)}")
    failed = state.get("drain", {}).get("failed")
    if failed:
        print_table(
            ("HOST", "REASON", "ID"),
            ((row.get("hostname"), row["reason"], row["hostid"]) for row in failed),
            wraps=("REASON",),
        )
