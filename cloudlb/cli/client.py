"""The API for commands of the command line: configuration as `cs` reads it, and errors of one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from configparser import ConfigParser, InterpolationError, ParsingError
from configparser import Error as IniError
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import click
import requests
from cs import CloudStack, CloudStackApiException, CloudStackException, read_config
from cs.client import ALLOWED_CONFIG_KEYS, DEFAULT_CONFIG, REQUIRED_CONFIG_KEYS, check_key

F = TypeVar("F", bound=Callable[..., Any])

Row = dict[str, Any]


def api_options(command: F) -> F:
    """Give a command the options of all that call the API."""
    command = click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")(command)
    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The cloudstack.ini with endpoint, key and secret. Without it they are found as cs finds them: in "
        "CLOUDSTACK_* variables, ./cloudstack.ini, ~/.cloudstack.ini or the file that CLOUDSTACK_CONFIG names.",
    )(command)


class Unreachable(click.ClickException):
    """The server did not answer; what it was asked may be done all the same."""


class Client:
    """Calls to one server's API. What goes wrong ends the command with a line that says what, and status 1."""

    def __init__(self, config: Path | None, *, at: str | None = None) -> None:
        """Read the configuration.

        Args:
            at: the address of another server than the one that it names; their APIs have the same port.
        """
        try:
            options = _read(config) if config is not None else read_config()
            options.pop("theme", None)
            if at is not None:
                options["endpoint"] = _moved(options["endpoint"], at)
            self._endpoint = options["endpoint"]
            self._cs = CloudStack(**options)
        except (SystemExit, KeyError, ValueError, TypeError, IniError) as error:
            where = "" if config is None else f" in {config}"
            raise click.ClickException(f"no usable configuration of the API{where}: {_problem(error)}") from error

    def list(self, command: str, **parameters: Any) -> list[Row]:
        """Every row of a listing."""
        rows: list[Row] = self._call(command, fetch_list=True, **parameters)
        return rows

    def call(self, command: str, **parameters: Any) -> Row:
        """What a command answers; parameters that are None are left out."""
        answer: Row = self._call(command, **parameters)
        return answer

    def post(self, command: str, **parameters: Any) -> Row:
        """The same, of a command whose parameters may be long or secret: they are in no URL."""
        self._cs.method = "post"
        try:
            return self.call(command, **parameters)
        finally:
            self._cs.method = "get"

    def _call(self, command: str, **parameters: Any) -> Any:
        try:
            return getattr(self._cs, command)(**parameters)
        except CloudStackApiException as error:
            raise click.ClickException(_text(error)) from error
        except CloudStackException as error:
            raise click.ClickException(f"{self._endpoint}: {', '.join(map(str, error.args))}") from error
        except requests.RequestException as error:
            raise Unreachable(f"{self._endpoint} cannot be reached: {_reason(error)}") from error


def _moved(endpoint: str, address: str) -> str:
    """An endpoint of another server."""
    parts = urlsplit(endpoint)
    host = f"[{address}]" if ":" in address else address
    return urlunsplit(parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}"))


def _read(config: Path) -> dict[str, Any]:
    """Read one file and nothing besides, in the way of cs."""
    parser = ConfigParser()
    with config.open(encoding="utf-8") as file:
        parser.read_file(file)
    region = os.environ.get("CLOUDSTACK_REGION", "cloudstack")
    known = REQUIRED_CONFIG_KEYS | ALLOWED_CONFIG_KEYS
    if not parser.has_option(region, "endpoint"):
        raise ValueError(f"no endpoint in a section [{region}]")
    found = {key: value for key, value in parser.items(region) if value and check_key(key, known)}
    headers = {key.removeprefix("header_"): found.pop(key) for key in list(found) if key.startswith("header_")}
    return {**DEFAULT_CONFIG, **found, "headers": headers}


def _problem(error: BaseException) -> str:
    """What is wrong with a file, in a line and without what it holds."""
    if isinstance(error, ParsingError):
        return f"{error.source} is no ini file"
    if isinstance(error, InterpolationError):
        return f"{error.option} has a single %, which is to be written as %%"
    return str(error)


def _text(error: CloudStackApiException) -> str:
    body = error.error
    return str(body["errortext"]) if isinstance(body, dict) and "errortext" in body else str(error)


def _reason(error: BaseException) -> str:
    """The operating system's own words, which requests wraps several times."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
