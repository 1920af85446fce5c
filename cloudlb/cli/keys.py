"""`cloudlb keys`: pairs of API keys."""

from __future__ import annotations

import click

from cloudlb.cli.client import Client, api_options
from cloudlb.cli.failures import Failure
from cloudlb.cli.finding import complete_user, find_by_id, find_user, short
from cloudlb.cli.passwords import own_user
from cloudlb.cli.tables import print_json, print_table, printable
from cloudlb.cli.times import utc


@click.group(invoke_without_command=True, short_help="Pairs of API keys: list, issue, revoke.")
@click.option("--user", metavar="NAME", shell_complete=complete_user, help="Only those of a user.")
@api_options
def keys(user: str | None, client: Client, as_json: bool) -> None:
    """Show the pairs of API keys, without their secrets; and issue and revoke them."""
    userid = None if user is None else find_user(client, user)["id"]
    rows = client.list("listUserKeys", userid=userid)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("ID", "USER", "NAME", "ISSUED (UTC)", "EXPIRES (UTC)", "API KEY"),
        [
            (
                short(row["id"]),
                row["username"],
                row.get("name"),
                utc(row.get("created")),
                utc(row.get("enddate")) or "never",
                row["apikey"],
            )
            for row in rows
        ],
        spare=("API KEY", "ISSUED (UTC)"),
    )


@keys.command()
@click.argument("user", required=False, shell_complete=complete_user)
@click.option("--name", metavar="TEXT", help="What the pair is for.")
@click.option("--expires", metavar="DATE", help="When it expires: 2027-11-30; never unless given.")
@api_options
def issue(user: str | None, name: str | None, expires: str | None, client: Client, as_json: bool) -> None:
    """Issue a pair of keys for USER, for yourself unless given, and print it as a cloudstack.ini.

    Its secret is told now and never again.
    """
    row = own_user(client) if user is None else find_user(client, user)
    pair = client.post("registerUserKeys", id=row["id"], name=name, enddate=expires)["userkeys"]
    if as_json:
        print_json([pair])
        return
    click.echo("[cloudstack]")
    for key, value in (*client.place(), ("key", pair["apikey"]), ("secret", pair["secretkey"])):
        click.echo(f"{key} = {value}")
    until = utc(pair.get("enddate"))
    click.echo(
        f"A pair of keys of {printable(pair['username'])}, {short(pair['id'])}"
        + (f", until {until} UTC" if until else "")
        + ". The secret is not told again.",
        err=True,
    )


@keys.command()
@click.argument("key", metavar="ID")
@api_options
def revoke(key: str, client: Client, as_json: bool) -> None:
    """Revoke a pair of keys by the beginning of its ID, on all servers at once."""
    row = find_by_id(client.list("listUserKeys"), key, "pair of keys")
    if row["apikey"] == client.api_key:
        raise Failure("these are the keys that the call is made with", "Revoke them with another pair: --config FILE")
    client.call("deleteUserKeys", keypairid=row["id"])
    if as_json:
        print_json([row])
    else:
        click.echo(f"A pair of keys of {printable(row['username'])} is revoked, {short(row['id'])}.")
