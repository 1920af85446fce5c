"""Calls of listHosts at an even rate, in a process of their own: python -m bench.calls DIR RATE SECONDS.

Prints how many were answered, and how long they took.
"""

from __future__ import annotations

import http.client
import os
import sys
import threading
import time
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlencode

from bench.figures import distribution
from cloudlb.api.command import MAX_PAGE_SIZE
from cloudlb.api.signature import signatures
from cloudlb.cli.local_cluster import Inventory

THREADS = 16


def paths(inventory: Inventory, hosts: int) -> list[str]:
    """A signed call for each page of a fleet."""
    return [
        _signed(
            {
                "command": "listHosts",
                "response": "json",
                "page": str(page),
                "pagesize": str(MAX_PAGE_SIZE),
                "apiKey": inventory.api_key,
            },
            inventory.secret,
        )
        for page in range(1, hosts // MAX_PAGE_SIZE + 1)
    ]


def _signed(parameters: dict[str, str], secret: str) -> str:
    signature = next(signatures(parameters, secret))
    return f"/client/api?{urlencode({**parameters, 'signature': signature}, quote_via=quote)}"


class Calls:
    """Threads that take turns: each call has its moment, and is late where those before it took too long."""

    def __init__(self, address: str, port: int, paths: list[str], rate: float, seconds: float) -> None:
        self.took: list[float] = []
        self.failed = 0
        self._address, self._port, self._paths, self._rate = address, port, paths, rate
        self._numbers, self._total = count(), int(rate * seconds)
        self._began = time.monotonic()

    def run(self) -> float:
        """Call until all are done; return the seconds."""
        threads = [threading.Thread(target=self._call) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - self._began

    def _call(self) -> None:
        connection = http.client.HTTPConnection(self._address, self._port, timeout=60.0)
        while (number := next(self._numbers)) < self._total:
            time.sleep(max(0.0, self._began + number / self._rate - time.monotonic()))
            sent = time.monotonic()
            connection.request("GET", self._paths[number % len(self._paths)])
            response = connection.getresponse()
            content = response.read()
            self.took.append(time.monotonic() - sent)
            self.failed += response.status != http.client.OK or len(content) < MAX_PAGE_SIZE
        connection.close()


def main() -> None:
    """Run the command line."""
    folder, hosts, rate, seconds = sys.argv[1:]
    # Who measures round trips meanwhile shall not wait for this.
    os.nice(5)
    inventory = Inventory.read(Path(folder))
    server = next(iter(inventory.servers.values()))
    calls = Calls(server.api_address, server.api_port, paths(inventory, int(hosts)), float(rate), float(seconds))
    took = calls.run()
    answered = len(calls.took)
    print(
        f"{answered} calls in {took:.1f} s, {answered / took:.0f}/s, {calls.failed} failed; {distribution(calls.took)}"
    )


if __name__ == "__main__":
    main()
