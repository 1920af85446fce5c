"""The global settings: names, meanings, defaults, scopes and what each accepts.

Names are CloudStack's where CloudStack has the setting. A value is kept as text, as an operator wrote it; the typed
readers on :class:`Settings` turn it into what the code needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property

from attrs import field, frozen

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.host_list import InvalidHostList, parse_addresses
from cloudlb.domain.models import ClusterId


class InvalidSetting(ValueError):
    """A name that no setting has, a scope it does not take, or a value it does not accept."""


class Scope(Enum):
    """Where a value may be set; the narrower wins."""

    GLOBAL = "Global"
    CLUSTER = "Cluster"


@frozen(kw_only=True)
class Setting:
    """One setting as listConfigurations shows it."""

    name: str
    default: str
    category: str
    description: str
    type: str
    check: Callable[[str], str] = field(repr=False)
    """Return the normalized text or raise ValueError."""
    cluster_scope: bool = False
    options: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """From the widest to the narrowest."""
        return (Scope.GLOBAL, Scope.CLUSTER) if self.cluster_scope else (Scope.GLOBAL,)


MAX_SECONDS = 2**31 - 1
"""An agent of CloudStack's keeps intervals in a signed 32-bit number of seconds times 1000 in 64 bits."""

MAX_PING_INTERVAL = 86_400
"""A day: an agent that pings less often is as good as not supervised."""


def _addresses(text: str) -> str:
    return ",".join(parse_addresses(text))


def _algorithm(text: str) -> str:
    name = text.strip().lower()
    if name not in (known := [algorithm.value for algorithm in Algorithm]):
        raise ValueError(f"unknown algorithm {text!r}; known are {', '.join(known)}")
    return name


def _whole(least: int, most: int = MAX_SECONDS) -> Callable[[str], str]:
    def check(text: str) -> str:
        # isascii: int() also takes digits of other scripts, which no other reader of the value would.
        stripped = text.strip()
        if not (stripped.isascii() and stripped.removeprefix("-").isdigit()):
            raise ValueError(f"{text!r} is not a whole number of seconds")
        if len(stripped) > len(str(MAX_SECONDS)) or not least <= int(stripped) <= most:
            raise ValueError(f"{stripped[:20]} is not between {least} and {most} seconds")
        return str(int(stripped))

    return check


def _truth(text: str) -> str:
    value = text.strip().lower()
    if value not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return value


HOST = "host"
LB_ALGORITHM = "indirect.agent.lb.algorithm"
LB_CHECK_INTERVAL = "indirect.agent.lb.check.interval"
PING_INTERVAL = "ping.interval"
AUTH_STRICTNESS = "ca.plugin.root.auth.strictness"

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            name=HOST,
            default="localhost",
            category="Advanced",
            description="Management servers that agents connect to, comma-separated: IPv4, IPv6 or host names.",
            type="CSV",
            check=_addresses,
        ),
        Setting(
            name=LB_ALGORITHM,
            default=Algorithm.STATIC.value,
            category="Advanced",
            description="How each agent's list of servers is ordered: static (as given), roundrobin (rotated by the "
            "host's place in its zone), shuffle (random) or rendezvous (hashed; a change moves only who must move).",
            type="Select",
            check=_algorithm,
            options=tuple(algorithm.value for algorithm in Algorithm),
        ),
        Setting(
            name=LB_CHECK_INTERVAL,
            default="0",
            category="Advanced",
            description="Seconds between an agent's checks whether it can return to the head of its list; 0 is off.",
            type="Number",
            check=_whole(0),
            cluster_scope=True,
        ),
        Setting(
            name=PING_INTERVAL,
            default="60",
            category="Advanced",
            description="Seconds between an agent's pings. Agents take a new value with their next connection.",
            type="Number",
            check=_whole(1, most=MAX_PING_INTERVAL),
        ),
        Setting(
            name=AUTH_STRICTNESS,
            default="true",
            category="Advanced",
            description="Whether an agent must show a certificate of our CA. Takes effect with the next handshake.",
            type="Boolean",
            check=_truth,
        ),
    )
}


def setting_named(name: str) -> Setting:
    """Find a setting.

    Raises:
        InvalidSetting: there is none of that name.
    """
    try:
        return SETTINGS[name]
    except KeyError:
        raise InvalidSetting(f"there is no setting named {name!r}") from None


def check_value(name: str, value: str, *, cluster: bool = False) -> str:
    """Return the value normalized, or say why it would not do.

    Raises:
        InvalidSetting: unknown name, wrong scope or unacceptable value; the message names the setting.
    """
    setting = setting_named(name)
    if cluster and not setting.cluster_scope:
        raise InvalidSetting(f"{name} is global and cannot be set for one cluster")
    try:
        return setting.check(value)
    except (InvalidHostList, ValueError) as error:
        raise InvalidSetting(f"{name}: {error}") from error


@frozen(slots=False)
class Settings:
    """Every value in force at one moment."""

    stored: Mapping[str, str] = field(factory=dict)
    """Global values that differ from the default."""
    by_cluster: Mapping[tuple[ClusterId, str], str] = field(factory=dict)

    def value(self, name: str, cluster_id: ClusterId | None = None) -> str:
        """The value in force, for a cluster if one is given."""
        if cluster_id is not None and (value := self.by_cluster.get((cluster_id, name))) is not None:
            return value
        return self.stored.get(name, SETTINGS[name].default)

    @cached_property
    def servers(self) -> tuple[str, ...]:
        """The addresses of ``host``."""
        return tuple(self.value(HOST).split(","))

    @property
    def algorithm(self) -> Algorithm:
        """The balancing algorithm."""
        return Algorithm(self.value(LB_ALGORITHM))

    def check_interval(self, cluster_id: ClusterId | None) -> int:
        """Seconds between an agent's preferred-host checks, 0 for none."""
        return int(self.value(LB_CHECK_INTERVAL, cluster_id))

    @property
    def ping_interval(self) -> int:
        """Seconds between pings."""
        return int(self.value(PING_INTERVAL))

    @property
    def auth_strictness(self) -> bool:
        """Whether agents must show a certificate."""
        return self.value(AUTH_STRICTNESS) == "true"
