"""`cloudlb users`: who may do what."""

from __future__ import annotations

from collections.abc import Mapping

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.finding import complete_user, find_user
from cloudlb.cli.passwords import ask_password
from cloudlb.cli.tables import print_json, print_table, printable
from cloudlb.cli.times import utc
from cloudlb.domain.users import Role

ROLES: Mapping[str, Role] = {"administrator": Role.ADMINISTRATOR, "read-only": Role.READ_ONLY}
_ROLE = click.Choice(list(ROLES))


@click.group(invoke_without_command=True, short_help="The users and their roles; make and change them.")
@api_options
def users(client: Client, as_json: bool) -> None:
    """Show the users and their roles; and make, change and delete them."""
    rows = client.list("listUsers")
    if as_json:
        print_json(rows)
        return
    print_table(
        ("NAME", "ROLE", "STATE", "CREATED (UTC)", "ID"),
        [(row["username"], row["rolename"], row["state"], utc(row.get("created")), row["id"]) for row in rows],
        spare=("ID", "CREATED (UTC)"),
    )


@users.command()
@click.argument("name")
@click.option("--role", type=_ROLE, default="read-only", show_default=True, help="What the user may do.")
@api_options
def create(name: str, role: str, client: Client, as_json: bool) -> None:
    """Make the user NAME, with a password that is asked for twice."""
    given = ask_password(f"Password of {printable(name)}")
    row = client.post("createUser", username=name, password=given, roleid=ROLES[role].value)["user"]
    _show(row, as_json)


@users.command()
@click.argument("name", shell_complete=complete_user)
@click.argument("role", type=_ROLE)
@api_options
def role(name: str, role: str, client: Client, as_json: bool) -> None:
    """Give the user NAME another role."""
    found = find_user(client, name)
    _show(client.post("updateUser", id=found["id"], roleid=ROLES[role].value)["user"], as_json)


@users.command()
@click.argument("name", shell_complete=complete_user)
@api_options
def disable(name: str, client: Client, as_json: bool) -> None:
    """Take neither the password nor the keys of the user NAME any more."""
    _show(client.call("disableUser", id=find_user(client, name)["id"])["user"], as_json)


@users.command()
@click.argument("name", shell_complete=complete_user)
@api_options
def enable(name: str, client: Client, as_json: bool) -> None:
    """Take them again."""
    _show(client.call("enableUser", id=find_user(client, name)["id"])["user"], as_json)


@users.command()
@click.argument("name", shell_complete=complete_user)
@api_options
def delete(name: str, client: Client, as_json: bool) -> None:
    """Delete the user NAME and all keys of that user."""
    row = find_user(client, name)
    client.call("deleteUser", id=row["id"])
    if as_json:
        print_json([row])
    else:
        click.echo(f"{printable(row['username'])} is deleted.")


def _show(row: Row, as_json: bool) -> None:
    if as_json:
        print_json([row])
    else:
        click.echo(f"{printable(row['username'])}: {row['rolename']}, {row['state']}")
