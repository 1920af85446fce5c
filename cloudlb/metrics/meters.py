"""What the parts of one server count into, in a registry of its own.

What a part knows already, such as the length of a queue, it does not count: that is asked for when somebody looks
(`cloudlb.gauges`).
"""

from __future__ import annotations

from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector

from cloudlb.metrics.plain import Tally, Times

LONGEST_ROUND_TRIP = 86_400.0
"""Seconds; an agent that tells of a longer one is not believed. It is the longest ping interval."""

_ROUND_TRIPS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMANDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_DATABASE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NO_ANSWERS = ("timed_out", "cancelled", "lost", "bad_answer", "busy", "unavailable")


class Meters:
    """The counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.handshakes = Counter(
            "cloudlb_handshakes",
            "TLS handshakes of links to this server by their end: ok, refused by either side, timed_out, or abandoned "
            "(the peer went, or the connection was cut at a limit)",
            ["result"],
            registry=registry,
        )
        self.admissions = Counter(
            "cloudlb_admissions",
            "Agents that introduced themselves, by what came of it: up, refused (for good), sent_on (this server takes "
            "no agents), busy (told to come again) or failed",
            ["result"],
            registry=registry,
        )
        self.failovers = Counter(
            "cloudlb_failovers",
            "Agents that came up here by themselves though their list begins with another server",
            registry=registry,
        )
        self.lost = Counter(
            "cloudlb_hosts_lost",
            "Hosts that this server has written as lost, by the status that they came to",
            ["status"],
            registry=registry,
        )
        self.commands = Counter(
            "cloudlb_commands",
            "Commands to hosts, wherever those are, by their end: answered, failed (an answer that says so), "
            "timed_out, cancelled, lost (with its link: nobody knows), bad_answer, busy or unavailable (not sent)",
            ["result"],
            registry=registry,
        )
        self.command_times = Histogram(
            "cloudlb_command_duration_seconds",
            "From the sending of a request of commands to its end, whichever",
            buckets=_COMMANDS,
            registry=registry,
        )
        self.moves = Counter(
            "cloudlb_moves",
            "Requests to move a host from this server to another one, by who asked (list, rebalance, drain, fencing) "
            "and by their end (moved, stayed, lost)",
            ["reason", "end"],
            registry=registry,
        )
        self.database_times = Histogram(
            "cloudlb_database_duration_seconds",
            "From a request to the database to its end, with the wait for a thread, by operation (read, write)",
            ["operation"],
            buckets=_DATABASE,
            registry=registry,
        )
        self.database_errors = Counter(
            "cloudlb_database_errors",
            "Requests that the database did not serve because it was away, by operation (read, write)",
            ["operation"],
            registry=registry,
        )
        self.database_under_way = Gauge(
            "cloudlb_database_under_way",
            "Requests to the database that have not ended, by operation (read, write)",
            ["operation"],
            registry=registry,
        )
        self.reactor_lag = Histogram(
            "cloudlb_reactor_lag_seconds",
            "How much later than it should a timer went off, of one that does so twice a second: so long everything "
            "else had to wait as well",
            buckets=_LAGS,
            registry=registry,
        )
        self.pings = Tally("cloudlb_pings", "Pings of agents")
        self.round_trips = Times(
            "cloudlb_ping_round_trip_seconds",
            "From an agent's ping to its answer, as the agent has measured it; agents of cloudlb only",
            _ROUND_TRIPS,
        )
        # From the first scrape on, or the first of each kind would not be seen as a change.
        for counter, values in (
            (self.handshakes, ("ok", "refused", "timed_out", "abandoned")),
            (self.admissions, ("up", "refused", "sent_on", "busy", "failed")),
            (self.lost, ("Disconnected", "Alert", "Down")),
            (self.commands, ("answered", "failed", *_NO_ANSWERS)),
        ):
            for value in values:
                counter.labels(value)
        for reason, end in product(("list", "rebalance", "drain", "fencing"), ("moved", "stayed", "lost")):
            self.moves.labels(reason, end)
        self.registry.register(self.pings)
        self.registry.register(self.round_trips)

    def pinged(self, round_trip: object) -> None:
        """Count a ping.

        The round trip is that of the ping before, as its agent has measured it and says: all that the agent had to wait
        for, which is the network, this server's other work and the agent's own, and what decides whether it leaves. The
        kernel's idea of the link (TCP_INFO) would be there for CloudStack's agents, too, but is of the network alone,
        which a server that hangs does not slow down, and to ask for it takes 1.1 us, a sixth of a ping.

        Args:
            round_trip: seconds; anything else is passed over, as where the agent says nothing of the kind.
        """
        self.pings.count += 1
        if type(round_trip) is float and 0.0 <= round_trip <= LONGEST_ROUND_TRIP:
            self.round_trips.observe(round_trip)
