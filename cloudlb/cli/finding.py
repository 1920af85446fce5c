"""What operators call things by, and what the API takes for them; and the names that shells complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from cloudlb.cli.client import Client, Row
from cloudlb.cli.failures import NotFound
from cloudlb.cli.tables import printable

_IS_ID = re.compile(r"[0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SHORT = 8
_FEW = 5
_COMPLETED = 200
"""Names that a shell is offered, at most."""
_PATIENCE = 2
"""Seconds that a shell waits for names."""
_PLACES: Mapping[str, str] = {"zone": "listZones", "pod": "listPods", "cluster": "listClusters"}


def find_host(client: Client, key: str, **parameters: str) -> Row:
    """The row of the host that an operator calls by id, uuid or name, looked for in this order.

    Args:
        client: calls the API.
        key: what was given.
        parameters: more of listHosts.

    Raises:
        NotFound: there is none, or there are several of the name.
    """
    rows: Sequence[Row] = []
    if _IS_ID.fullmatch(key):
        try:
            rows = client.list("listHosts", id=key, **parameters)
        except NotFound:
            # It may be a name that looks like an id.
            rows = []
    rows = rows or client.list("listHosts", name=key, **parameters)
    if len(rows) > 1:
        ids = "".join(f"\n  {row['id']} in {_place(row)}, {row['state']}" for row in rows)
        raise NotFound(f"{len(rows)} hosts are named {printable(key)!r}", f"Give the id of one:{ids}")
    if not rows:
        near = client.call("listHosts", keyword=key, page=1, pagesize=_FEW).get("host", [])
        names = ", ".join(printable(row["name"]) for row in near)
        raise NotFound(f"there is no host {printable(key)}", f"There are: {names}" if names else "See: cloudlb hosts")
    return rows[0]


def _place(row: Row) -> str:
    return "/".join(printable(row[name]) for name in ("zonename", "podname", "clustername") if name in row)


def list_servers(client: Client, **parameters: str) -> list[Row]:
    """The rows of all servers, without the ids of the hosts that each of them has: there may be ten thousand."""
    return client.list("listManagementServers", agents="false", **parameters)


def find_server(client: Client, key: str) -> Row:
    """The row of the server that an operator calls by name, id, uuid or address."""
    rows = list_servers(client)
    for known in ("name", "id", "msid", "ipaddress"):
        found = [row for row in rows if str(row[known]) == key]
        if len(found) == 1:
            return found[0]
    names = ", ".join(printable(row["name"]) for row in rows)
    raise NotFound(f"there is no management server {printable(key)}", f"There are: {names}")


def find_place(client: Client, kind: str, key: str) -> Row:
    """The row of the zone, pod or cluster that an operator calls by id or name."""
    rows = client.list(_PLACES[kind])
    for field in ("id", "name"):
        found = [row for row in rows if row[field] == key]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(row["id"] for row in found)
            raise NotFound(f"{len(found)} {kind}s are named {printable(key)}", f"Give the id of one: {ids}")
    if key.isdecimal():
        # Rows do not tell the number in the database, which the API takes as well.
        return client.list(_PLACES[kind], id=key)[0]
    names = ", ".join(printable(row["name"]) for row in rows)
    raise NotFound(f"there is no {kind} {printable(key)}", f"There are: {names}" if names else "")


def find_user(client: Client, username: str) -> Row:
    """The row of a user."""
    rows = client.list("listUsers")
    for row in rows:
        if username in (row["username"], row["id"]):
            return row
    names = ", ".join(printable(row["username"]) for row in rows)
    raise NotFound(f"there is no user {printable(username)}", f"There are: {names}")


def short(uuid: str) -> str:
    """The beginning of an id, as tables show it."""
    return uuid[:_SHORT]


def find_by_id(rows: Sequence[Row], beginning: str, what: str) -> Row:
    """The one row whose id begins so."""
    found = [row for row in rows if row["id"].startswith(beginning.lower())]
    if not found:
        raise NotFound(f"there is no {what} whose id begins with {beginning!r}")
    if len(found) > 1:
        raise NotFound(f"the ids of {len(found)} {what}s begin with {beginning!r}")
    return found[0]


Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completes(command: str, name: str, help_name: str = "", **parameters: str) -> Complete:
    """Complete with the names of a listing; with nothing where the API cannot be asked."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        config = ctx.params.get("config")
        try:
            client = Client.of(Path(config) if config else None, ctx.params.get("at"), timeout=_PATIENCE)
            answer = client.call(command, keyword=incomplete or None, page=1, pagesize=_COMPLETED, **parameters)
        except Exception:  # noqa: BLE001 - whatever it is, a prompt is no place for it
            return []
        rows = next((value for value in answer.values() if isinstance(value, list)), [])
        found = (CompletionItem(row[name], help=row.get(help_name)) for row in rows)
        return [item for item in found if item.value.startswith(incomplete) and item.value.isprintable()]

    return complete


complete_host = _completes("listHosts", "name", "state")
complete_server = _completes("listManagementServers", "name", "state", agents="false")
complete_setting = _completes("listConfigurations", "name")
complete_zone = _completes("listZones", "name")
complete_pod = _completes("listPods", "name")
complete_cluster = _completes("listClusters", "name")
complete_user = _completes("listUsers", "username", "rolename")
complete_event_type = _completes("listEventTypes", "name")
