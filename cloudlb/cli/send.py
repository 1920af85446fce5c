"""`cloudlb send`."""

from __future__ import annotations

import json

import click

from cloudlb.cli.client import Client, Row, api_options
from cloudlb.cli.failures import Failure, Unreachable
from cloudlb.cli.finding import complete_host
from cloudlb.cli.jobs import JobFailed, wait_for_job
from cloudlb.cli.tables import print_json, print_table, printable

_EVERY_ANSWER = ("contextMap", "wait", "bypassHostMaintenance", "result", "details")
"""Fields that say nothing, or that are shown before the others."""


@click.command()
@click.argument("host", shell_complete=complete_host)
@click.argument("command")
@click.argument("arguments", required=False, metavar="[JSON]")
@click.option("--timeout", type=click.IntRange(min=1), metavar="S", help="Seconds that the command may take.")
@click.option(
    "--id", "key", metavar="KEY", help="A name of your own for the call: given again, it is the same job, sent once."
)
@api_options
def send(
    host: str,
    command: str,
    arguments: str | None,
    timeout: int | None,
    key: str | None,
    client: Client,
    as_json: bool,
) -> None:
    """Send COMMAND to HOST and wait for the answer.

    HOST is a name, an id or a uuid, and COMMAND a class such as CheckHealthCommand; JSON is an object with its fields.
    The exit status is 0 only if the host answered, and that it succeeded.
    """
    try:
        started = client.post(
            "sendCommand", hostid=host, name=command, arguments=_compact(arguments), timeout=timeout, id=key
        )
    except Unreachable as error:
        again = "give the call an --id, and it can be repeated" if key is None else "repeat the call"
        raise Unreachable(
            f"{error.message}. Whether the command was taken is not known; {again}, there or on another server",
            error.advice,
        ) from error
    try:
        result = wait_for_job(client, started["jobid"], f"{host} has not answered")
    except JobFailed as error:
        if as_json:
            print_json([error.result])
        raise
    if as_json:
        print_json([result])
    else:
        print_table(("FIELD", "VALUE"), _rows(result), wraps=("VALUE",))
    if not result["result"]:
        reason = printable(str(result.get("details") or "no reason given"))
        raise Failure(f"{host} answered that {command} failed: {reason}")


def _compact(arguments: str | None) -> str | None:
    """Arguments on one line, as the API takes them."""
    if arguments is None:
        return None
    try:
        return json.dumps(json.loads(arguments), separators=(",", ":"))
    except ValueError as error:
        raise click.BadParameter(f"{error}", param_hint="JSON") from error


def _rows(result: Row) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("class", result["class"].rpartition(".")[2]),
        ("result", json.dumps(result["result"])),
    ]
    if "details" in result:
        rows.append(("details", result["details"]))
    others = {name: value for name, value in result["answer"].items() if name not in _EVERY_ANSWER}
    return rows + [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in others.items()]
