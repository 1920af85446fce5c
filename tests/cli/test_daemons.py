"""Real daemons on real sockets: the few things that only they can show."""

from __future__ import annotations

import random
import resource
import signal
import socket
import subprocess
import sysconfig
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.demo import LocalWorld
from cloudlb.cli.deployment import Request, deploy
from cloudlb.cli.local_cluster import Inventory, LocalCluster
from cloudlb.cli.processes import Daemon, stop_all, twistd
from cloudlb.cli.story import balance


def make_deployment(folder: Path) -> Inventory:
    """Two servers and four agents, on loopback addresses and ports that nobody else has."""
    servers = tuple(f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{number}" for number in (1, 2))
    with socket.create_server((servers[0], 0)) as one, socket.create_server((servers[0], 0)) as other:
        port, api_port = one.getsockname()[1], other.getsockname()[1]
    request = Request(
        folder=folder,
        servers=servers,
        agents=4,
        port=port,
        api_port=api_port,
        algorithm="roundrobin",
        check_interval=1,
    )
    deploy(request)
    return Inventory.read(folder.absolute())


class DaemonTests(SynchronousTestCase):
    """A deployment of `init`, started, balanced and ended."""

    def setUp(self) -> None:
        """Make the deployment."""
        self.cluster = LocalCluster(make_deployment(Path(self.mktemp())))

    def test_every_agent_in_its_own_process(self) -> None:
        """The daemons find each other, the agents spread, and all of them end in good order when asked to.

        Each has taken as many descriptors as it may: with the usual limit, a server refuses the 1,000th agent.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with self.cluster:
            self.cluster.start()
            spread = balance(LocalWorld(self.cluster))
            self.assertEqual(self.cluster.ended(), [])
            for daemon in (*self.cluster.servers.values(), *self.cluster.agents.values()):
                assert daemon.pid is not None
                self.assertEqual((hard, hard), resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE), daemon.name)
        self.assertEqual(list(spread.agents.values()), [2, 2])
        daemons = [*self.cluster.servers.values(), *self.cluster.agents.values()]
        for daemon in daemons:
            # twistd ends by the signal that it was sent, after it has shut down.
            self.assertEqual(daemon.exit_status, -signal.SIGTERM, daemon.name)
            self.assertIn("Server Shut Down", daemon.log.read_text(encoding="utf-8"))

    def test_https(self) -> None:
        """With api.tls the API is served by HTTPS, with the server's certificate, and by nothing else."""
        for path in self.cluster.inventory.server_files.values():
            path.write_text(path.read_text(encoding="utf-8") + "api.tls=true\n", encoding="utf-8")
        self.cluster = LocalCluster(Inventory.read(self.cluster.inventory.folder))
        self.cluster.agents = {}
        with self.cluster:
            self.cluster.start()
            self.assertEqual(self.cluster.api.hosts(), {})
            server = next(iter(self.cluster.inventory.servers.values()))
            with socket.create_connection((server.api_address, server.api_port), timeout=10.0) as plain:
                plain.sendall(b"GET /client/api HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertNotIn(b"HTTP", plain.recv(4096))

    def test_all_agents_in_one_process(self) -> None:
        """`cloudlb agents` runs them as well, and each says good-bye before it ends."""
        cloudlb = str(Path(sysconfig.get_path("scripts"), "cloudlb"))
        folder = self.cluster.inventory.folder
        fleet = Daemon("fleet", [cloudlb, "agents", str(folder), "--count", "4"], self.cluster.logs / "fleet.log")
        self.cluster.agents = {}
        with self.cluster:
            self.cluster.start()
            self.addCleanup(fleet.kill)
            fleet.start()
            spread = balance(LocalWorld(self.cluster))
            stop_all([fleet])
            hosts = self.cluster.api.hosts()
        self.assertEqual(list(spread.agents.values()), [2, 2])
        self.assertEqual(fleet.exit_status, 0)
        self.assertEqual({host.state for host in hosts.values()}, {"Disconnected"})


class ConfigurationTests(SynchronousTestCase):
    """Daemons that cannot run with what they are given."""

    def test_one_line(self) -> None:
        """What is wrong is said in one line, with the file, and the status is 1: no traceback."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for plugin, text in (
            ("cloudlb-mgmt", None),
            ("cloudlb-mgmt", "name=a\naddress=a\ndb.url=sqlite:///x\ntls.ca=c\ntls.certificate=c\ntls.key=k\n"),
            ("cloudlb-agent", None),
            ("cloudlb-agent", "guid=g\nport=x\n"),
        ):
            path = folder / ("absent" if text is None else f"{plugin}.properties")
            if text is not None:
                path.write_text(text, encoding="utf-8")
            ended = subprocess.run(
                twistd(plugin, "--config", str(path)),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertEqual((1, ""), (ended.returncode, ended.stdout), ended.stderr)
            (line,) = ended.stderr.splitlines()
            self.assertTrue(line.startswith(f"twistd: {folder}/"), line)
