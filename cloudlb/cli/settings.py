"""`cloudlb settings`, `cloudlb set` and `cloudlb reset`."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.failures import Failure, NotFound
from cloudlb.cli.finding import complete_cluster, complete_setting, find_place
from cloudlb.cli.plan import print_plan
from cloudlb.cli.tables import print_facts, print_json, print_table, printable
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_WEIGHTS

PLANNED: Mapping[str, str] = {HOST: "host", LB_ALGORITHM: "algorithm", LB_WEIGHTS: "weights"}
"""Settings that move agents, and the parameters of `plan` that try them."""
_MOVES = 20
"""Moves that are listed before the question."""
_CLUSTER = click.option("--cluster", metavar="NAME", shell_complete=complete_cluster, help="A cluster, by name or id.")
_YES = click.option("--yes", is_flag=True, help="Do not show what would move, and do not ask.")


@click.command(short_help="The settings: values, defaults, meanings.")
@click.argument("name", required=False, shell_complete=complete_setting)
@_CLUSTER
@api_options
def settings(name: str | None, cluster: str | None, client: Client, as_json: bool) -> None:
    """Show the settings: values, defaults, scopes and meanings; or one, or those with NAME in their names.

    With --cluster those that can be set for a cluster, as they are in force there.
    """
    rows = client.list("listConfigurations", keyword=name, clusterid=_cluster_id(client, cluster))
    rows = [row for row in rows if row["name"] == name] or rows
    if not rows:
        raise NotFound(f"there is no setting with {printable(name or '')} in its name", "See: cloudlb settings")
    if as_json:
        print_json(rows)
    elif name is not None and len(rows) == 1:
        _print_one(rows[0])
    else:
        print_table(
            ("NAME", "VALUE", "DEFAULT", "SCOPE", "DESCRIPTION"),
            [
                (row["name"], row.get("value"), row.get("defaultvalue"), row.get("scope"), row.get("description"))
                for row in rows
            ],
            wraps=("DESCRIPTION", "VALUE", "DEFAULT"),
            spare=("SCOPE", "DESCRIPTION"),
        )


# A value may be a negative number, which must reach the server to be refused with its reason.
@click.command(
    "set",
    short_help="Change a setting, live; asks before agents move.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("name", shell_complete=complete_setting)
@click.argument("value")
@_CLUSTER
@click.option("--force", is_flag=True, help="Set `host` also to servers that are not up.")
@_YES
@api_options
def set_value(
    name: str, value: str, cluster: str | None, force: bool, yes: bool, client: Client, as_json: bool
) -> None:
    """Set NAME to VALUE, live on every server and every connected agent.

    Before a change of host, the algorithm or the weights it shows who would move, and asks.
    """
    if name in PLANNED and cluster is None and not yes:
        _ask(client, name, value)
    # None: CloudStack's own servers do not know the parameter.
    forced = True if force else None
    scope = _cluster_id(client, cluster)
    answer = client.post("updateConfiguration", name=name, value=value, clusterid=scope, forced=forced)
    _show_change(answer["configuration"], as_json)


@click.command(short_help="Set a setting to its default.")
@click.argument("name", shell_complete=complete_setting)
@_CLUSTER
@_YES
@api_options
def reset(name: str, cluster: str | None, yes: bool, client: Client, as_json: bool) -> None:
    """Set NAME to its default; with --cluster to what is set for all."""
    scope = _cluster_id(client, cluster)
    if name in PLANNED and cluster is None and not yes:
        (row,) = client.list("listConfigurations", name=name)
        _ask(client, name, row.get("defaultvalue", ""))
    _show_change(client.call("resetConfiguration", name=name, clusterid=scope)["configuration"], as_json)


def _ask(client: Client, name: str, value: str) -> None:
    """Show what a change would move, and go on only if that is wanted."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{name} decides where agents are: look with cloudlb plan, and give --yes")
    print_plan(client.post("plan", **{PLANNED[name]: value})["plan"], err=True, most=_MOVES)
    if not click.confirm(f"\n{name} = {value}: apply?", err=True):
        raise Failure("nothing was changed")


def _cluster_id(client: Client, cluster: str | None) -> str | None:
    return None if cluster is None else str(find_place(client, "cluster", cluster)["id"])


def _show_change(row: Row, as_json: bool) -> None:
    if as_json:
        print_json([row])
    else:
        _print_one(row)


def _print_one(row: Row) -> None:
    print_facts(
        (name, row.get(key))
        for name, key in (
            ("name", "name"),
            ("value", "value"),
            ("default", "defaultvalue"),
            ("scope", "scope"),
            ("type", "type"),
            ("options", "options"),
            ("meaning", "description"),
        )
    )
