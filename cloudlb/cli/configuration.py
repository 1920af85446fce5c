"""Where the API is and with which key it is called, found as `cs` finds it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from configparser import ConfigParser, InterpolationError, ParsingError
from configparser import Error as IniError
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from attrs import evolve, field, frozen
from cs import read_config
from cs.client import ALLOWED_CONFIG_KEYS, DEFAULT_CONFIG, REQUIRED_CONFIG_KEYS, check_key

from cloudlb.cli.failures import Failure

_VARIABLES = "CLOUDSTACK_ENDPOINT, CLOUDSTACK_KEY and CLOUDSTACK_SECRET"
_HOW = (
    "cloudlb init writes one for a deployment (DIR/cloudstack.ini). To make one yourself:\n"
    "  [cloudstack]\n"
    "  endpoint = https://SERVER:8080/client/api\n"
    "  key = ...        (a pair of keys: cloudlb keys issue USER)\n"
    "  secret = ...\n"
    "  verify = ...     (the certificate of the deployment's authority, DIR/ca/certificate.pem)"
)


@frozen
class Configuration:
    """What a client of the API needs to know."""

    options: Mapping[str, Any] = field(repr=False)
    """Of cs.CloudStack."""
    source: str
    """What people call the place that it was read from."""
    files: tuple[Path, ...] = ()

    @classmethod
    def read(cls, config: Path | None) -> Self:
        """Read one file and nothing besides; None: look where `cs` looks.

        Raises:
            Failure: there is nothing, or it does not do; what it holds is not told.
        """
        looked = [config] if config is not None else _files()
        by_variables = config is None and bool(os.environ.get("CLOUDSTACK_ENDPOINT"))
        files = tuple(path for path in looked if path.exists() and not by_variables)
        source = f"the variables {_VARIABLES}" if by_variables else " and ".join(map(str, files))
        if not by_variables and not files:
            raise Failure(
                "no configuration of the API: there are neither "
                f"{_VARIABLES} nor a file {' or '.join(map(str, looked))}",
                _HOW,
            )
        try:
            options = read_config() if config is None else _read(config)
            _check(options)
        except (SystemExit, KeyError, ValueError, TypeError, IniError) as error:
            raise Failure(f"no usable configuration of the API in {source}: {_problem(error)}") from error
        return cls({name: value for name, value in options.items() if name != "theme"}, source, files)

    @property
    def endpoint(self) -> str:
        """The URL of the API."""
        return str(self.options["endpoint"])

    def at(self, address: str) -> Self:
        """The same for the API of another server; their ports are the same."""
        parts = urlsplit(self.endpoint)
        host = f"[{address}]" if ":" in address else address
        netloc = host if parts.port is None else f"{host}:{parts.port}"
        return evolve(self, options={**self.options, "endpoint": urlunsplit(parts._replace(netloc=netloc))})

    def others(self) -> Sequence[str]:
        """Addresses of other servers, where the file lies in the folder of a deployment."""
        own = urlsplit(self.endpoint).hostname
        folders = (folder for path in self.files for folder in path.absolute().parent.glob("servers/*/mgmt.properties"))
        return sorted({folder.parent.name for folder in folders} - {own or ""})


def _files() -> list[Path]:
    """Where `cs` looks."""
    named = os.environ.get("CLOUDSTACK_CONFIG")
    return [
        *([Path(named).expanduser()] if named else []),
        Path.cwd() / "cloudstack.ini",
        Path.home() / ".cloudstack.ini",
    ]


def _read(config: Path) -> dict[str, Any]:
    """Read one file, in the way of cs."""
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


def _check(options: Mapping[str, Any]) -> None:
    endpoint = urlsplit(options["endpoint"])
    # To ask for the port is to have it checked.
    if endpoint.scheme not in ("http", "https") or endpoint.hostname is None or endpoint.port == 0:
        raise ValueError("endpoint is no URL, such as https://10.0.0.1:8080/client/api")
    if missing := [name for name in ("key", "secret") if not options.get(name)]:
        raise ValueError(f"no {' and no '.join(missing)}")


def _problem(error: BaseException) -> str:
    """What is wrong with a file, in a line and without what it holds."""
    if isinstance(error, ParsingError):
        return f"{error.source} is no ini file"
    if isinstance(error, InterpolationError):
        return f"{error.option} has a single %, which is to be written as %%"
    return str(error)
