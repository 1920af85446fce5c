"""The global settings: names, meanings, defaults, scopes and what each accepts.

Names are CloudStack's where CloudStack has the setting. A value is kept as text, as an operator wrote it; what the code
needs of it is in cloudlb.domain.settings_in_force.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from cloudlb.domain import setting_checks as checks
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.host_list import InvalidHostList
from cloudlb.domain.setting_checks import Check


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
    description: str
    type: str
    check: Check = field(repr=False)
    category: str = "Advanced"
    cluster_scope: bool = False
    options: tuple[str, ...] = ()
    extension: bool = False
    """Whether CloudStack has no such setting."""

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """From the widest to the narrowest."""
        return (Scope.GLOBAL, Scope.CLUSTER) if self.cluster_scope else (Scope.GLOBAL,)


HOST = "host"
LB_ALGORITHM = "indirect.agent.lb.algorithm"
LB_WEIGHTS = "indirect.agent.lb.weights"
LB_CHECK_INTERVAL = "indirect.agent.lb.check.interval"
LB_ENABLED = "agent.lb.enabled"
LB_BAND_AGENTS = "indirect.agent.lb.band.agents"
LB_BAND_FACTOR = "indirect.agent.lb.band.factor"
LB_BAND_SECONDS = "indirect.agent.lb.band.seconds"
MOVE_RATE = "indirect.agent.lb.move.rate"
MAINTENANCE_TIMEOUT = "management.server.maintenance.timeout"
STOP_TIMEOUT = "management.server.stop.timeout"
PING_INTERVAL = "ping.interval"
PING_TIMEOUT = "ping.timeout"
WAIT = "wait"
COMMANDS_TIMEOUT = "commands.timeout"
ALERT_WAIT = "alert.wait"
INVESTIGATORS_ORDER = "ha.investigators.order"
INVESTIGATOR_TIMEOUT = "ha.investigator.timeout"
INVESTIGATION_TIMEOUT = "ha.investigation.timeout"
INVESTIGATE_RETRY_INTERVAL = "investigate.retry.interval"
HEARTBEAT_INTERVAL = "cluster.heartbeat.interval"
HEARTBEAT_THRESHOLD = "cluster.heartbeat.threshold"
DIRECT_AGENT_LOAD_SIZE = "direct.agent.load.size"
DIRECT_AGENT_SCAN_INTERVAL = "direct.agent.scan.interval"
EVENT_PURGE_DELAY = "event.purge.delay"
ALERT_PURGE_DELAY = "alert.purge.delay"
CERTIFICATE_ALERT = "ca.framework.cert.expiry.alert.period"
AUTH_STRICTNESS = "ca.plugin.root.auth.strictness"
METRICS_READERS = "prometheus.exporter.allowed.ips"

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            name=HOST,
            default="localhost",
            description="Management servers that agents connect to, comma-separated: IPv4, IPv6 or host names.",
            type="CSV",
            check=checks.addresses,
        ),
        Setting(
            name=LB_ALGORITHM,
            default=Algorithm.STATIC.value,
            description="How each agent's list of servers is ordered: static (as given), roundrobin (rotated by the "
            "host's place in its zone), shuffle (random) or rendezvous (hashed; a change moves only who must move).",
            type="Select",
            check=checks.algorithm,
            options=tuple(algorithm.value for algorithm in Algorithm),
        ),
        Setting(
            name=LB_WEIGHTS,
            default="",
            description="Shares of the agents that servers of `host` get under rendezvous: 10.0.0.1=2,10.0.0.2=1; "
            "one that is left out weighs 1. Under the other algorithms weights mean nothing.",
            type="CSV",
            check=checks.weights,
            extension=True,
        ),
        Setting(
            name=LB_CHECK_INTERVAL,
            default="0",
            description="Seconds between an agent's checks whether it can return to the head of its list; 0 is off.",
            type="Number",
            check=checks.whole(0),
            cluster_scope=True,
        ),
        Setting(
            name=LB_ENABLED,
            default="true",
            description="Whether the servers even out by themselves how many agents each of them has, for instance "
            "when one joins. If not, only rebalanceAgents does.",
            type="Boolean",
            check=checks.truth,
        ),
        Setting(
            name=LB_BAND_AGENTS,
            default="10",
            description="Agents by which a server has to be off the average, at least, before agents are moved.",
            type="Number",
            check=checks.whole(1, most=1_000_000, unit="agents"),
            extension=True,
        ),
        Setting(
            name=LB_BAND_FACTOR,
            default="1.2",
            description="Factor by which a server has to be off the average, at least, before agents are moved.",
            type="Decimal",
            check=checks.factor(1, 100),
            extension=True,
        ),
        Setting(
            name=LB_BAND_SECONDS,
            default="60",
            description="Seconds for which a server has to be off the average before agents are moved.",
            type="Number",
            check=checks.whole(0, most=86_400),
            extension=True,
        ),
        Setting(
            name=MOVE_RATE,
            default="50",
            description="Agents that a server sends to other servers in a second, at most: after a change of lists, to "
            "even out, and to drain it.",
            type="Number",
            check=checks.whole(1, most=10_000, unit="agents a second"),
            extension=True,
        ),
        Setting(
            name=MAINTENANCE_TIMEOUT,
            default="60",
            description="Minutes that a management server has for letting go of its agents, when it prepares for "
            "maintenance or for a shutdown.",
            type="Number",
            check=checks.whole(1, most=10_080, unit="minutes"),
        ),
        Setting(
            name=STOP_TIMEOUT,
            default="30",
            description="Seconds that a management server that is told to stop (SIGTERM) has for moving its agents to "
            "others first; 0: none, they find others by themselves.",
            type="Number",
            check=checks.whole(0, most=86_400),
            extension=True,
        ),
        Setting(
            name=PING_INTERVAL,
            default="60",
            description="Seconds between an agent's pings. CloudStack's agents take a new value with their next link.",
            type="Number",
            check=checks.whole(1, most=checks.MAX_PING_INTERVAL),
        ),
        Setting(
            name=PING_TIMEOUT,
            default="2.5",
            description="Ping intervals of silence after which an agent is investigated.",
            type="Decimal",
            check=checks.factor(1.5, 100),
        ),
        Setting(
            name=WAIT,
            default="1800",
            description="Seconds that a command may take where neither commands.timeout nor the caller says.",
            type="Number",
            check=checks.whole(1),
        ),
        Setting(
            name=COMMANDS_TIMEOUT,
            default="",
            description="Seconds that commands of these names may take, whatever the caller says: "
            "CheckHealthCommand=5,CheckOnHostCommand=5.",
            type="CSV",
            check=checks.command_timeouts,
        ),
        Setting(
            name=ALERT_WAIT,
            default="1800",
            description="Seconds that a host is Disconnected before it becomes Alert.",
            type="Number",
            check=checks.whole(1),
        ),
        Setting(
            name=INVESTIGATORS_ORDER,
            default="SimpleInvestigator,IcmpInvestigator,PingInvestigator,KVMInvestigator,RedfishInvestigator",
            description="Who is asked, in this order, whether a host whose agent is silent or gone lives; "
            "one that is left out is not asked.",
            type="CSV",
            check=checks.names,
        ),
        Setting(
            name=INVESTIGATOR_TIMEOUT,
            default="10",
            description="Seconds that each investigator has.",
            type="Number",
            check=checks.whole(1, most=3600),
            extension=True,
        ),
        Setting(
            name=INVESTIGATION_TIMEOUT,
            default="60",
            description="Seconds that all investigators of one host have together.",
            type="Number",
            check=checks.whole(1, most=3600),
            extension=True,
        ),
        Setting(
            name=INVESTIGATE_RETRY_INTERVAL,
            default="60",
            description="Seconds after which a host that was lost, and is Disconnected still, is investigated again.",
            type="Number",
            check=checks.whole(1, most=86_400),
        ),
        Setting(
            name=HEARTBEAT_INTERVAL,
            default="1500",
            description="Milliseconds between the heartbeats of a management server in the database.",
            type="Number",
            check=checks.whole(100, most=60_000, unit="milliseconds"),
        ),
        Setting(
            name=HEARTBEAT_THRESHOLD,
            default="7500",
            description="Milliseconds without a heartbeat after which the others call a management server Down, and "
            "after which it gives up its agents if others take them; never less than three intervals.",
            type="Number",
            check=checks.whole(1000, most=3_600_000, unit="milliseconds"),
        ),
        Setting(
            name=DIRECT_AGENT_LOAD_SIZE,
            default="16",
            description="Hosts without an agent of their own that a server begins to load at once.",
            type="Number",
            check=checks.whole(1, most=10_000, unit="hosts"),
        ),
        Setting(
            name=DIRECT_AGENT_SCAN_INTERVAL,
            default="90",
            description="Seconds between a server's looks for hosts without an agent of their own.",
            type="Number",
            check=checks.whole(1, most=86_400),
        ),
        Setting(
            name=EVENT_PURGE_DELAY,
            default="15",
            description="Days that events and investigations are kept; 0: for ever.",
            type="Number",
            check=checks.whole(0, most=36_500, unit="days"),
        ),
        Setting(
            name=ALERT_PURGE_DELAY,
            default="90",
            description="Days that alerts are kept; 0: for ever.",
            type="Number",
            check=checks.whole(0, most=36_500, unit="days"),
        ),
        Setting(
            name=CERTIFICATE_ALERT,
            default="15",
            description="Days before the end of an agent's certificate from which there is an alert; 0: never.",
            type="Number",
            check=checks.whole(0, most=36_500, unit="days"),
        ),
        Setting(
            name=AUTH_STRICTNESS,
            default="true",
            description="Whether an agent must show a certificate of our CA. Takes effect with the next handshake.",
            type="Boolean",
            check=checks.truth,
        ),
        Setting(
            name=METRICS_READERS,
            default="127.0.0.1",
            description="Addresses that may read /metrics of the management servers, comma-separated: of hosts or, as "
            "in 10.0.0.0/8, of networks.",
            type="CSV",
            check=checks.networks,
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
