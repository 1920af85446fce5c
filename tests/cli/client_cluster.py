"""Real servers for clients of CloudStack's that are as they are."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cs import CloudStack
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.deployment import Request, deploy
from cloudlb.cli.local_cluster import Inventory, LocalCluster, site_url

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds in which anything has to come about, on a machine that has other things to do."""


class ClientTestCase(SynchronousTestCase):
    """Tests with the servers of a deployment as processes of their own."""

    servers = 1
    agents = 0

    def setUp(self) -> None:
        """Start the deployment, on loopback addresses and ports that nobody else has."""
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}"
        addresses = self.addresses = tuple(f"{network}.{number + 1}" for number in range(self.servers))
        with socket.create_server((addresses[0], 0)) as one, socket.create_server((addresses[0], 0)) as other:
            port, api_port = one.getsockname()[1], other.getsockname()[1]
        self.folder = Path(self.mktemp()).absolute()
        deploy(Request(folder=self.folder, servers=addresses, agents=self.agents, port=port, api_port=api_port))
        self.inventory = Inventory.read(self.folder)
        cluster = LocalCluster(self.inventory)
        self.addCleanup(cluster.__exit__, None, None, None)
        cluster.start()
        self.clients = [self.client(address) for address in addresses]

    def endpoint(self, server: str) -> str:
        """The API of a server."""
        return f"{site_url(self.inventory.servers[server])}client/api"

    def client(self, server: str) -> CloudStack:
        """A client of that server."""
        return CloudStack(self.endpoint(server), self.inventory.api_key, self.inventory.secret, poll_interval=0.1)

    def wait_for(self, look: Callable[[], T], is_done: Callable[[T], bool]) -> T:
        """Look until what is seen will do."""
        end = time.monotonic() + PATIENCE
        while not is_done(seen := look()):
            if time.monotonic() > end:
                self.fail(f"not within {PATIENCE} s: {seen}")
            time.sleep(0.1)
        return seen
