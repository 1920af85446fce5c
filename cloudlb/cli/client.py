"""The API for commands of the command line; what goes wrong says what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import click
import requests
from cs import CloudStack, CloudStackApiException, CloudStackException

from cloudlb.cli.configuration import Configuration
from cloudlb.cli.failures import Failure, NotFound, NotPermitted, Unreachable
from cloudlb.cli.tables import printable

F = TypeVar("F", bound=Callable[..., Any])

Row = dict[str, Any]

_MISSING = ("there is nothing with the id", "listHosts has their ids")
"""Words of refusals of things that are not there; they have no code of their own."""
_UNAUTHORIZED, _PARAMETER, _UNSUPPORTED, _UNAVAILABLE, _INTERNAL = 401, 431, 432, 503, 530


def api_options(command: F) -> F:
    """Give a command what all have that call the API: the parameters ``client`` and ``as_json``, and their options.

    A group is called where none of its commands is; they may have --config and --at from its place.
    """

    @wraps(command)
    def run(*arguments: Any, config: Path | None, at: str | None, **others: Any) -> Any:
        context = click.get_current_context()
        of_group = context.obj or (None, None)
        context.obj = config or of_group[0], at or of_group[1]
        if context.invoked_subcommand is not None:
            return None
        return command(*arguments, client=Client.of(*context.obj), **others)

    options = (
        click.option(
            "--at", metavar="ADDRESS", help="Ask the server at this address, instead of the one that endpoint names."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="The cloudstack.ini with endpoint, key and secret. Without it they are found as cs finds them: in "
            "CLOUDSTACK_* variables, ./cloudstack.ini, ~/.cloudstack.ini or the file that CLOUDSTACK_CONFIG names.",
        ),
    )
    decorated: Any = run
    for option in options:
        decorated = option(decorated)
    with_options: F = decorated
    return with_options


class Client:
    """Calls to one server's API. What goes wrong ends the command with a :class:`Failure`."""

    def __init__(self, configuration: Configuration, *, timeout: int | None = None) -> None:
        """Prepare.

        Args:
            configuration: of this server.
            timeout: seconds that an answer may take; as the configuration says unless given.
        """
        self._configuration = configuration
        try:
            self._cs = CloudStack(**configuration.options)
        except (ValueError, TypeError) as error:
            source = configuration.source
            raise Failure(f"no usable configuration of the API in {source}: {error}") from error
        if timeout is not None:
            self._cs.timeout = timeout

    @classmethod
    def of(cls, config: Path | None, at: str | None = None, *, timeout: int | None = None) -> Client:
        """The client of a configuration, or of the server at another address than the one that it names."""
        configuration = Configuration.read(config)
        return cls(configuration if at is None else configuration.at(at), timeout=timeout)

    def at(self, address: str, *, timeout: int | None = None) -> Client:
        """The API of another server; their ports are the same."""
        return Client(self._configuration.at(address), timeout=timeout)

    @property
    def api_key(self) -> str:
        """Whose calls these are."""
        return str(self._configuration.options["key"])

    @property
    def endpoint(self) -> str:
        """Where the API is."""
        return self._configuration.endpoint

    def place(self) -> Sequence[tuple[str, str]]:
        """What a configuration of another key to this server begins with: names and values."""
        verify = self._configuration.options.get("verify")
        return [("endpoint", self.endpoint), *([("verify", str(verify))] if verify else [])]

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

    def page(self, name: str) -> str:
        """What stands at the root of the server's site under a name, for whoever may read it."""
        try:
            response = self._cs.session.get(
                urljoin(self.endpoint, f"/{name}"), timeout=self._cs.timeout, verify=self._cs.verify, cert=self._cs.cert
            )
            response.raise_for_status()
        except OSError as error:
            raise Failure(f"{self.endpoint}: {_reason(error)}") from error
        return str(response.text)

    def _call(self, command: str, **parameters: Any) -> Any:
        endpoint = self.endpoint
        try:
            return getattr(self._cs, command)(**parameters)
        except CloudStackApiException as error:
            raise self._refused(error) from error
        except CloudStackException as error:
            raise Failure(
                f"{endpoint}: {', '.join(map(str, error.args))}",
                f"Is it the API of a management server? Look at endpoint in {self._configuration.source}.",
            ) from error
        except requests.exceptions.SSLError as error:
            raise self._not_trusted(error) from error
        except requests.RequestException as error:
            raise Unreachable(f"{endpoint} cannot be reached: {_reason(error)}", self._whom_to_ask(error)) from error
        except OSError as error:
            # requests says so of a file of certificates that is not there.
            raise Failure(f"verify in {self._configuration.source}: {error}") from error

    def _refused(self, error: CloudStackApiException) -> Failure:
        body = error.error if isinstance(error.error, dict) else {}
        text, code = printable(str(body.get("errortext", error))), body.get("errorcode")
        source = self._configuration.source
        if code == _UNAUTHORIZED:
            return NotPermitted(
                text,
                f"The key of {source} is wrong, has expired or was revoked, its user is disabled, or the clocks differ "
                "by minutes. An administrator issues another one: cloudlb keys issue USER",
            )
        if code == _UNSUPPORTED:
            if "whose role is" in text:
                return NotPermitted(
                    text, f"It takes the key of an administrator; {source} has another one. See: cloudlb users"
                )
            return Failure(text, "The server is of another version than this program; see: cloudlb servers")
        if code == _UNAVAILABLE:
            return Unreachable(text, self._others())
        if code == _PARAMETER and any(words in text for words in _MISSING):
            return NotFound(text)
        if code == _INTERNAL and "log" in text:
            return Failure(text, f"That is the log of the server at {self.endpoint}.")
        return Failure(text)

    def _not_trusted(self, error: requests.exceptions.SSLError) -> Failure:
        reason, source = str(error), self._configuration.source
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            what = reason.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
            return Unreachable(
                f"the TLS certificate of {self.endpoint} is not trusted: {what or 'it does not verify'}",
                f"Name the certificate of the deployment's authority in {source}: verify = /path/to/ca.crt\n"
                "(or CLOUDSTACK_VERIFY). It is ca/certificate.pem of the deployment, ca.crt of each server.",
            )
        return Unreachable(
            f"{self.endpoint} does not speak TLS as it should: {_reason(error)}",
            f"Without TLS the endpoint in {source} would be http://... .",
        )

    def _whom_to_ask(self, error: requests.RequestException) -> str:
        if "RemoteDisconnected" in str(error) and self.endpoint.startswith("http:"):
            return f"Does it speak TLS? Then the endpoint in {self._configuration.source} is https://... ."
        return self._others()

    def _others(self) -> str:
        others = self._configuration.others()
        if others:
            return f"Ask another server: --at {others[0]}" + (f" (or {', '.join(others[1:])})" if others[1:] else "")
        return f"Ask another server: --at ADDRESS, or its endpoint in {self._configuration.source}."


def _reason(error: BaseException) -> str:
    """The operating system's own words, which requests wraps several times."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "it closed the connection" if isinstance(error, requests.ConnectionError) else type(error).__name__
