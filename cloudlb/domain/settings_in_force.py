"""The values of the settings at one moment, as the code needs them: texts turned into numbers, names and lists."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network

from attrs import field, frozen

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.models import ClusterId
from cloudlb.domain.rebalancing import Band
from cloudlb.domain.settings import (
    ALERT_PURGE_DELAY,
    ALERT_WAIT,
    AUTH_STRICTNESS,
    CERTIFICATE_ALERT,
    COMMANDS_TIMEOUT,
    DIRECT_AGENT_LOAD_SIZE,
    DIRECT_AGENT_SCAN_INTERVAL,
    EVENT_PURGE_DELAY,
    HEARTBEAT_INTERVAL,
    HEARTBEAT_THRESHOLD,
    HOST,
    INVESTIGATE_RETRY_INTERVAL,
    INVESTIGATION_TIMEOUT,
    INVESTIGATOR_TIMEOUT,
    INVESTIGATORS_ORDER,
    LB_ALGORITHM,
    LB_BAND_AGENTS,
    LB_BAND_FACTOR,
    LB_BAND_SECONDS,
    LB_CHECK_INTERVAL,
    LB_ENABLED,
    LB_WEIGHTS,
    MAINTENANCE_TIMEOUT,
    METRICS_READERS,
    MOVE_RATE,
    PING_INTERVAL,
    PING_TIMEOUT,
    SETTINGS,
    STOP_TIMEOUT,
    WAIT,
)


@frozen(slots=False)
class Settings:
    """Every value in force at one moment."""

    stored: Mapping[str, str] = field(factory=dict)
    """Global values that differ from the default."""
    by_cluster: Mapping[tuple[ClusterId, str], str] = field(factory=dict)

    def differences(self, other: Settings) -> list[str]:
        """Names of settings whose values are others in ``other``, for all or for some cluster."""
        return sorted(
            {name for name in SETTINGS if self.value(name) != other.value(name)}
            | {name for (_, name), _ in self.by_cluster.items() ^ other.by_cluster.items()}
        )

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

    @cached_property
    def weights(self) -> Mapping[str, int]:
        """Weights of servers by address."""
        parts = (part.partition("=") for part in filter(None, self.value(LB_WEIGHTS).split(",")))
        return {address: int(weight) for address, _, weight in parts}

    def check_interval(self, cluster_id: ClusterId | None) -> int:
        """Seconds between an agent's preferred-host checks, 0 for none."""
        return int(self.value(LB_CHECK_INTERVAL, cluster_id))

    @property
    def rebalances(self) -> bool:
        """Whether servers even out by themselves how many agents each has."""
        return self.value(LB_ENABLED) == "true"

    @property
    def band(self) -> Band:
        """How uneven the spread of agents may be, and for how long."""
        return Band(
            agents=int(self.value(LB_BAND_AGENTS)),
            factor=float(self.value(LB_BAND_FACTOR)),
            seconds=float(self.value(LB_BAND_SECONDS)),
        )

    @property
    def move_rate(self) -> int:
        """Agents that a server sends away in a second at most."""
        return int(self.value(MOVE_RATE))

    @property
    def maintenance_timeout(self) -> int:
        """Seconds that a server has for letting go of its agents."""
        return int(self.value(MAINTENANCE_TIMEOUT)) * 60

    @property
    def stop_timeout(self) -> int:
        """Seconds that a server that is told to stop has for moving its agents."""
        return int(self.value(STOP_TIMEOUT))

    @cached_property
    def ping_interval(self) -> int:
        """Seconds between pings."""
        return int(self.value(PING_INTERVAL))

    @property
    def ping_timeout(self) -> float:
        """Ping intervals of silence after which an agent is investigated."""
        return float(self.value(PING_TIMEOUT))

    @property
    def wait(self) -> int:
        """Seconds that a command may take where nothing else says."""
        return int(self.value(WAIT))

    @cached_property
    def command_timeouts(self) -> Mapping[str, int]:
        """Seconds by the name of a command's class, without its package."""
        parts = (part.partition("=") for part in filter(None, self.value(COMMANDS_TIMEOUT).split(",")))
        return {name: int(seconds) for name, _, seconds in parts}

    @property
    def alert_wait(self) -> int:
        """Seconds that a host is Disconnected before it becomes Alert."""
        return int(self.value(ALERT_WAIT))

    @cached_property
    def investigators(self) -> tuple[str, ...]:
        """Names of investigators, in the order to ask them."""
        return tuple(filter(None, self.value(INVESTIGATORS_ORDER).split(",")))

    @property
    def investigator_timeout(self) -> int:
        """Seconds that each investigator has."""
        return int(self.value(INVESTIGATOR_TIMEOUT))

    @property
    def investigation_timeout(self) -> int:
        """Seconds that all investigators of one host have."""
        return int(self.value(INVESTIGATION_TIMEOUT))

    @property
    def investigate_retry_interval(self) -> int:
        """Seconds after which a lost host is investigated again."""
        return int(self.value(INVESTIGATE_RETRY_INTERVAL))

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between the heartbeats of a server."""
        return int(self.value(HEARTBEAT_INTERVAL)) / 1000

    @property
    def heartbeat_threshold(self) -> float:
        """Seconds without a heartbeat after which a server is Down: two lost in a row prove nothing."""
        return max(int(self.value(HEARTBEAT_THRESHOLD)) / 1000, 3 * self.heartbeat_interval)

    @property
    def direct_load_size(self) -> int:
        """Direct hosts that a server begins to load at once."""
        return int(self.value(DIRECT_AGENT_LOAD_SIZE))

    @property
    def direct_scan_interval(self) -> int:
        """Seconds between looks for direct hosts."""
        return int(self.value(DIRECT_AGENT_SCAN_INTERVAL))

    @property
    def event_purge_delay(self) -> int:
        """Days that events and investigations are kept, 0 for ever."""
        return int(self.value(EVENT_PURGE_DELAY))

    @property
    def alert_purge_delay(self) -> int:
        """Days that alerts are kept, 0 for ever."""
        return int(self.value(ALERT_PURGE_DELAY))

    @property
    def certificate_alert(self) -> int:
        """Days before the end of an agent's certificate from which there is an alert, 0 for never."""
        return int(self.value(CERTIFICATE_ALERT))

    @cached_property
    def metrics_readers(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Who may read /metrics."""
        return tuple(map(ip_network, filter(None, self.value(METRICS_READERS).split(","))))

    @property
    def auth_strictness(self) -> bool:
        """Whether agents must show a certificate."""
        return self.value(AUTH_STRICTNESS) == "true"
