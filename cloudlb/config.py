"""mgmt.properties: what one management server needs to know before it can reach the database.

Everything that holds for the whole cluster is a setting in the database instead (cloudlb.domain.settings). Relative
paths are relative to the folder of the file, so that a server starts from any folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import javaproperties
from attrs import Attribute, field, fields, frozen

from cloudlb.domain.addresses import is_loopback, normalize_address


class InvalidConfiguration(ValueError):
    """A properties file cannot be read, lacks something or holds what it cannot hold."""


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        # int() alone also takes "1_000" and the digits of all scripts.
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(f"not a whole number between {least} and {most}")
        return int(text)

    return convert


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("neither true nor false")
    return text == "true"


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _key(name: str, convert: Callable[..., Any] = str, **options: Any) -> Any:
    return field(metadata={"key": name, "convert": convert}, **options)


@frozen(kw_only=True)
class ServerConfig:
    """The values of mgmt.properties."""

    name: str = _key("name")
    """The server's name, unique in the cluster; with `cloudlb init` its address."""
    address: str = _key("address", normalize_address)
    """The address that agents connect to and that `host` names."""
    database_url: str = _key("db.url", repr=False)
    """SQLAlchemy URL; the file of a relative sqlite URL stands beside mgmt.properties. May hold a password."""
    ca_certificate: Path = _key("tls.ca", Path)
    certificate: Path = _key("tls.certificate", Path)
    private_key: Path = _key("tls.key", Path)
    ca_folder: Path | None = _key("ca.folder", _path, default=None)
    """The CA with its key, which addHost needs to issue certificates; None: this server issues none."""
    bind_address: str = _key("bind.address", default="")
    """Where to listen for agents; the address itself unless given."""
    port: int = _key("port", _whole(0, 65535), default=8250)
    api_address: str = _key("api.address", default="")
    api_port: int = _key("api.port", _whole(0, 65535), default=8080)
    api_tls: bool = _key("api.tls", _truth, default=False)
    """Whether the API is served by HTTPS; unless given, it is wherever it can be reached from other machines."""
    api_certificate: Path | None = _key("api.tls.certificate", _path, default=None)
    """None: the server's own, with its key."""
    api_private_key: Path | None = _key("api.tls.key", _path, default=None)
    handshake_timeout: int = _key("agent.ssl.handshake.timeout", _whole(1, 3600), default=10)
    """Seconds from accept to the end of the TLS handshake."""
    startup_timeout: int = _key("agent.startup.timeout", _whole(1, 3600), default=10)
    """Seconds from the handshake to the first StartupCommand."""
    max_half_open: int = _key("agent.max.half.open", _whole(1, 10**6), default=4096)
    """Connections without a StartupCommand, or whose agent waits for room or a refusal; the oldest goes beyond it."""
    max_half_open_per_address: int = _key("agent.max.half.open.per.address", _whole(1, 10**6), default=1024)
    max_message: int = _key("agent.max.message", _whole(8192, 2**31 - 1), default=16 * 2**20)
    """Bytes of one message, inflated."""


def load_server_config(path: Path) -> ServerConfig:
    """Read mgmt.properties.

    Raises:
        InvalidConfiguration: the message names the file and the key.
    """
    try:
        with path.open("rb") as file:
            properties = javaproperties.load(file)
    except (OSError, ValueError) as error:
        raise InvalidConfiguration(f"{path}: cannot be read: {error}") from error
    return server_config(properties, path)


def server_config(properties: Mapping[str, str], path: Path) -> ServerConfig:
    """Convert properties read from ``path``; see :func:`load_server_config`."""
    keys: Mapping[str, Attribute[Any]] = {a.metadata["key"]: a for a in fields(ServerConfig)}
    if unknown := sorted(properties.keys() - keys.keys()):
        raise InvalidConfiguration(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(keys))}")
    values: dict[str, Any] = {}
    for key, attribute in keys.items():
        if key not in properties:
            continue
        try:
            value = attribute.metadata["convert"](properties[key].strip())
        except ValueError as error:
            raise InvalidConfiguration(f"{path}: {key}={properties[key]}: {error}") from error
        values[attribute.name] = path.parent.absolute() / value if isinstance(value, Path) else value
    for key in ("name", "address", "db.url", "tls.ca", "tls.certificate", "tls.key"):
        if not properties.get(key, "").strip():
            raise InvalidConfiguration(f"{path}: {key} is missing")
    values["database_url"] = _beside(values["database_url"], path)
    values["bind_address"] = values.get("bind_address") or values["address"]
    values["api_address"] = values.get("api_address") or values["bind_address"]
    values.setdefault("api_tls", not is_loopback(values["api_address"]))
    if (values.get("api_certificate") is None) != (values.get("api_private_key") is None):
        raise InvalidConfiguration(f"{path}: of api.tls.certificate and api.tls.key there is only one")
    return ServerConfig(**values)


def _beside(url: str, path: Path) -> str:
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + "/"):
        return prefix + str((path.parent.absolute() / url.removeprefix(prefix)).resolve())
    return url
