"""Passwords, which are asked for on the terminal and stand in no argument, and `cloudlb password`."""

from __future__ import annotations

import sys

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.finding import complete_user, find_user
from cloudlb.cli.tables import print_json, printable
from cloudlb.domain.users import Role


@click.command(short_help="Change a password.")
@click.argument("user", required=False, shell_complete=complete_user)
@api_options
def password(user: str | None, client: Client, as_json: bool) -> None:
    """Change a password, your own unless USER is given; it is asked for twice. All sessions of the user end."""
    own = own_user(client)
    row = own if user is None else find_user(client, user)
    present = None
    if row["id"] == own["id"] and row["rolename"] != Role.ADMINISTRATOR.value:
        present = ask_password("Present password", again=False)
    new = ask_password(f"New password of {printable(row['username'])}")
    changed = client.post("updateUser", id=row["id"], password=new, currentpassword=present)["user"]
    if as_json:
        print_json([changed])
    else:
        click.echo(f"{printable(changed['username'])} has another password.")


def own_user(client: Client) -> Row:
    """Whose key it is that calls are made with."""
    user: Row = client.call("getUser", userapikey=client.api_key)["user"]
    return user


def ask_password(prompt: str, *, again: bool = True) -> str:
    """Ask on the terminal, twice unless it is one that is there already."""
    if not sys.stdin.isatty():
        raise click.UsageError("a password is asked for on a terminal, and there is none")
    given: str = click.prompt(prompt, hide_input=True, confirmation_prompt="Again" if again else False, err=True)
    return given
