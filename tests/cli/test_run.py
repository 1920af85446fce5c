"""`cloudlb run`: what is shown of a cluster, and what keeps it from starting."""

from __future__ import annotations

import shlex
import shutil
import socket
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.local_cluster import Api, HostView, Inventory, LocalCluster, NoServerAnswers, NotADeployment
from cloudlb.cli.run import Snapshot, Watch, as_lines, as_table, introduce, run


def write_deployment(folder: Path, *, port: int = 8250, api_port: int = 8080) -> None:
    """Write the files of two servers and two agents, as far as they say who is who."""
    for address in ("127.0.0.1", "127.0.0.2"):
        server = folder / "servers" / address / "mgmt.properties"
        server.parent.mkdir(parents=True)
        server.write_text(
            f"name={address}\naddress={address}\nport={port}\napi.port={api_port}\ndb.url=sqlite:///../../db\n"
            "tls.ca=ca\ntls.certificate=certificate\ntls.key=key\n",
            encoding="utf-8",
        )
    for number, hosts in (("1", "127.0.0.1,127.0.0.2"), ("2", "127.0.0.2,127.0.0.1")):
        agent = folder / "agents" / number / "agent.properties"
        agent.parent.mkdir(parents=True)
        agent.write_text(f"guid=g{number}\nname=agent-{number}\nhost={hosts}@roundrobin\n", encoding="utf-8")
    (folder / "cloudstack.ini").write_text("[cloudstack]\nkey = k\nsecret = s%s\n", encoding="utf-8")


class ScriptedApi(Api):
    """An API that shows what a test wants."""

    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory)
        self.answers = True
        self.rows = {
            "agent-1": HostView("agent-1", "Up", "127.0.0.1"),
            "agent-2": HostView("agent-2", "Up", "127.0.0.1"),
        }

    def hosts(self) -> dict[str, HostView]:
        """The rows, if anybody answers."""
        if not self.answers:
            raise NoServerAnswers("no server answers at its API")
        return dict(self.rows)

    def server_states(self) -> dict[str, str]:
        """One is up."""
        return {"127.0.0.1": "Up", "127.0.0.2": "Down"}


class ShownTests(SynchronousTestCase):
    """What people see of a cluster."""

    def setUp(self) -> None:
        """Make a cluster that is not started, with an API of the test's own."""
        folder = Path(self.mktemp())
        write_deployment(folder)
        deployment = Inventory.read(folder)
        self.cluster = LocalCluster(deployment)
        self.api = ScriptedApi(deployment)
        self.cluster.api = self.api
        self.time = 100.0
        self.watch = Watch(self.cluster, lambda: self.time)

    def table(self, snapshot: Snapshot) -> str:
        """The table as text."""
        console = Console(width=80)
        with console.capture() as shown:
            console.print(as_table(snapshot, self.time))
        return shown.get()

    def test_who_is_where_and_since_when(self) -> None:
        """Nobody has moved at the first look; later an agent's move is as old as it is."""
        self.assertEqual([placed.since for placed in self.watch.look().agents], [None, None])
        self.time += 10
        self.api.rows["agent-2"] = HostView("agent-2", "Up", "127.0.0.2")
        self.watch.look()
        self.time += 7
        snapshot = self.watch.look()
        self.assertEqual([placed.since for placed in snapshot.agents], [None, 110.0])
        shown = self.table(snapshot)
        self.assertRegex(shown, r"agent-2 +Up +127\.0\.0\.2 +127\.0\.0\.2,127\.0\.0\.1 +7 s ago")
        self.assertRegex(shown, r"agent-1 +Up +127\.0\.0\.1 +127\.0\.0\.1,127\.0\.0\.2 +\n")
        self.assertIn("roundrobin", shown)
        self.assertIn("127.0.0.2 Down", shown)

    def test_a_daemon_that_has_died(self) -> None:
        """Its name, its status and its log are shown."""
        agent = self.cluster.agents["agent-1"]
        agent.arguments = ["false"]
        agent.start()
        agent.wait(10)
        self.assertIn("agent-1 ended with status 1", "\n".join(as_lines(self.watch.look()).values()))
        self.assertIn("agent-1 ended with status 1", self.table(self.watch.look()))

    def test_nobody_answers(self) -> None:
        """While no server answers, the table says so and what the agents hold, and does not break."""
        self.api.answers = False
        lines = as_lines(self.watch.look())
        self.assertEqual(lines["server 127.0.0.1"], "server 127.0.0.1 ?")
        self.assertEqual(lines["agent-2"], "agent-2 ? on no server, list 127.0.0.2,127.0.0.1@roundrobin")

    def test_lines_change_only_with_what_they_tell(self) -> None:
        """Output that is no terminal gets a line for each change, not for each second."""
        before = as_lines(self.watch.look())
        self.time += 60
        self.assertEqual(as_lines(self.watch.look()), before)
        self.api.rows["agent-2"] = HostView("agent-2", "Disconnected", "127.0.0.1")
        after = as_lines(self.watch.look())
        self.assertEqual({thing for thing in after if after[thing] != before[thing]}, {"agent-2"})


class StartTests(SynchronousTestCase):
    """What has to be right before anything is started."""

    def test_reads_a_deployment(self) -> None:
        """Servers by their names, agents in the order of their numbers, key and secret as they stand."""
        folder = Path(self.mktemp())
        write_deployment(folder)
        deployment = Inventory.read(folder)
        self.assertEqual(list(deployment.servers), ["127.0.0.1", "127.0.0.2"])
        self.assertEqual(list(deployment.agents), ["agent-1", "agent-2"])
        self.assertEqual(deployment.secret, "s%s")
        self.assertEqual(str(deployment.lists()["agent-2"]), "127.0.0.2,127.0.0.1@roundrobin")
        self.assertNotIn("s%s", repr(deployment))

    def test_a_folder_that_is_none(self) -> None:
        """It says how to make one."""
        folder = Path(self.mktemp())
        folder.mkdir()
        with self.assertRaises(NotADeployment):
            Inventory.read(folder)
        result = CliRunner().invoke(run, [str(folder)])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("cloudlb init", result.output)

    def test_what_is_missing_is_named(self) -> None:
        """Servers, or what the API needs. No file's content is shown."""
        folder = Path(self.mktemp())
        write_deployment(folder)
        ini = folder / "cloudstack.ini"
        for text, problem in (
            (None, "No such file"),
            ("", "has no cloudstack"),
            ("[cloudstack]\nsecret = s3cret\n", "has no key"),
            ("[cloudstack]\nkey = k\ns3cret\n", "cannot be read as an ini file"),
        ):
            if text is None:
                ini.unlink()
            else:
                ini.write_text(text, encoding="utf-8")
            with self.assertRaises(NotADeployment) as raised:
                Inventory.read(folder)
            self.assertIn(str(ini), str(raised.exception))
            self.assertIn(problem, str(raised.exception))
            self.assertNotIn("s3cret", str(raised.exception))
        shutil.rmtree(folder / "servers")
        with self.assertRaises(NotADeployment) as raised:
            Inventory.read(folder)
        self.assertIn("has no servers/*/mgmt.properties", str(raised.exception))

    def test_no_agents(self) -> None:
        """Servers alone run, too; their agents may run elsewhere."""
        folder = Path(self.mktemp())
        write_deployment(folder)
        shutil.rmtree(folder / "agents")
        cluster = LocalCluster(Inventory.read(folder))
        self.assertIn("2 servers and 0 agents", introduce(cluster))
        cluster.api = ScriptedApi(cluster.inventory)
        console = Console(width=80)
        with console.capture() as shown:
            console.print(as_table(Watch(cluster).look(), 0))
        self.assertIn("lists: none", shown.get())
        self.assertIn("127.0.0.1 Up", shown.get())

    def test_the_hint_can_be_pasted(self) -> None:
        """Also where the folder's name has a space; an IPv6 address stands in brackets."""
        folder = Path(self.mktemp()) / "my cloud"
        write_deployment(folder)
        path = folder / "servers" / "127.0.0.2" / "mgmt.properties"
        path.write_text(path.read_text().replace("address=127.0.0.2", "address=::1"), encoding="utf-8")
        shown = introduce(LocalCluster(Inventory.read(folder)))
        (hint,) = (line for line in shown.splitlines() if "hosts --config" in line)
        self.assertEqual(shlex.split(hint)[-1], str(folder / "cloudstack.ini"))
        self.assertIn("http://[::1]:8080/client/api", shown)

    def test_a_port_in_use(self) -> None:
        """Somebody else's port is named, and not one process is started."""
        folder = Path(self.mktemp())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            write_deployment(folder, port=port)
            result = CliRunner().invoke(run, [str(folder)])
        self.assertEqual(result.exit_code, 1)
        self.assertIn(f"127.0.0.1:{port}: Address already in use (`ss -ltnp` shows by whom)", result.output)
        self.assertFalse((folder / "logs").exists())
