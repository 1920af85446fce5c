"""What an agent takes from agent.properties, by CloudStack's names where CloudStack has one [AgentProperties].

Keys that are not here are left to the resource. Relative paths are relative to the folder of the file.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import Attribute, field, fields, frozen

from agent.properties import read_properties
from cloudlb.domain.host_list import HostList, parse_addresses
from cloudlb.resource.loading import SIMULATOR

HOST = "host"
SEEN = "host.seen"


class InvalidConfiguration(ValueError):
    """agent.properties cannot be read, lacks something or holds what it cannot hold; the message says where."""


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("not a whole number") from None
        if not least <= value <= most:
            raise ValueError(f"not between {least} and {most}")
        return value

    return convert


def _key(name: str, convert: Callable[..., Any] = str, **options: Any) -> Any:
    return field(metadata={"key": name, "convert": convert}, **options)


_DAY = 86400


@frozen(kw_only=True)
class AgentConfig:
    """The values of agent.properties."""

    guid: str = _key("guid")
    """Who the host is; on the wire the resource's class name is appended."""
    name: str = _key("name", factory=socket.gethostname)
    """What operators call the host."""
    hosts: HostList = _key(HOST, HostList.parse, default=HostList(("localhost",)))
    """The servers in the order in which they are tried."""
    seen: tuple[str, ...] = _key(SEEN, parse_addresses, default=())
    """The servers of all lists that the agent has had; see :class:`agent.hosts.Hosts`."""
    port: int = _key("port", _whole(1, 65535), default=8250)
    zone: str = _key("zone", default="default")
    pod: str = _key("pod", default="default")
    cluster: str = _key("cluster", default="default")
    resource: str = _key("resource", default=SIMULATOR)
    """Dotted name of the class that does the host's work."""
    workers: int = _key("workers", _whole(1, 1000), default=5)
    """Requests carried out at the same time."""
    check_interval: int | None = _key("host.lb.check.interval", _whole(0, 2**31 - 1), default=None)
    """Seconds between preferred-host checks, 0 for none; what servers send counts only where this is not given."""
    ping_retries: int = _key("ping.retries", _whole(1, 100), default=5)
    """Unanswered pings after which a server counts as lost."""
    backoff: int = _key("backoff.seconds", _whole(1, _DAY), default=5)
    """Upper end of the random pause after the first vain pass over the list, in seconds; it doubles with each pass."""
    max_backoff: int = _key("backoff.max.seconds", _whole(1, _DAY), default=60)
    """Upper end of every such pause, in seconds."""
    handshake_timeout: int = _key("ssl.handshake.timeout", _whole(1, 3600), default=30)
    """Seconds from the connection to the end of the TLS handshake."""
    journal: Path = _key("journal.file", Path, default=Path("agent.journal"))
    """Where the ids and answers of commands that change something are kept; beside agent.properties, by its name,
    unless given."""
    ca: Path | None = _key("tls.ca", Path, default=None)
    certificate: Path | None = _key("tls.certificate", Path, default=None)
    private_key: Path | None = _key("tls.key", Path, default=None)


def load_agent_config(path: Path) -> tuple[AgentConfig, Mapping[str, str]]:
    """Read agent.properties: our part of it, and all of it for the resource.

    Raises:
        InvalidConfiguration: the message names the file and the key.
    """
    try:
        properties = read_properties(path)
    except (OSError, ValueError) as error:
        raise InvalidConfiguration(f"{path}: cannot be read: {error}") from error
    return agent_config(properties, path), properties


def agent_config(properties: Mapping[str, str], path: Path) -> AgentConfig:
    """Convert properties read from ``path``; see :func:`load_agent_config`. A key without a value counts as absent."""
    values: dict[str, Any] = {"journal": path.absolute().with_suffix(".journal")}
    attribute: Attribute[Any]
    for attribute in fields(AgentConfig):
        key = attribute.metadata["key"]
        text = properties.get(key, "").strip()
        if not text:
            continue
        try:
            value = attribute.metadata["convert"](text)
        except ValueError as error:
            raise InvalidConfiguration(f"{path}: {key}={text}: {error}") from error
        values[attribute.name] = path.parent.absolute() / value if isinstance(value, Path) else value
    if "guid" not in values:
        raise InvalidConfiguration(f"{path}: guid is missing")
    if ("certificate" in values) != ("private_key" in values):
        raise InvalidConfiguration(f"{path}: tls.certificate and tls.key go together")
    if "certificate" in values and "ca" not in values:
        raise InvalidConfiguration(f"{path}: tls.ca is missing")
    return AgentConfig(**values)
