"""What servers count, from their pages for Prometheus, where those may be read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cloudlb.cli.client import Client, Row
from cloudlb.cli.failures import Failure

PINGS, COMMANDS = "cloudlb_pings_total", "cloudlb_commands_total"
PATIENCE = 1
"""Seconds that a page may take: a screen waits for it."""
AGAIN = 30.0
"""Seconds until a server is asked again that did not tell."""
_SAMPLE = re.compile(r"(cloudlb_(?:pings|commands)_total)(?:\{.*\})? ([0-9.e+]+)")

Counts = Mapping[str, float]
"""How much there was of each since the server's start."""


class ServerMeters:
    """Asks each server at its own address."""

    def __init__(self, client: Client) -> None:
        """Prepare; the client's configuration is that of all servers."""
        self._client = client
        self._clients: dict[str, Client] = {}
        self._mute: dict[str, float] = {}
        """Until when a server is not asked."""

    def read(self, servers: Sequence[Row], now: float) -> Mapping[str, Counts]:
        """The counts of those that tell, by the servers' ids."""
        found = {}
        for row in servers:
            if row["state"] == "Down" or self._mute.get(row["id"], 0.0) > now:
                continue
            address = row["ipaddress"]
            client = self._clients.get(address) or self._clients.setdefault(
                address, self._client.at(address, timeout=PATIENCE)
            )
            try:
                found[row["id"]] = counts_of(client.page("metrics"))
            except Failure:
                self._mute[row["id"]] = now + AGAIN
        return found


def counts_of(page: str) -> Counts:
    """The counts of a page, whatever their labels."""
    counts = {PINGS: 0.0, COMMANDS: 0.0}
    for line in page.splitlines():
        if (sample := _SAMPLE.fullmatch(line)) is not None:
            counts[sample[1]] += float(sample[2])
    return counts
