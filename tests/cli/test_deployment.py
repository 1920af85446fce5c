"""Tests of making deployments, and of making them again."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from typing import TypeVar

from attrs import evolve
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from agent.config import load_agent_config
from cloudlb.api.signature import signatures
from cloudlb.cli.deployment import DeploymentError, Request, deploy
from cloudlb.cli.main import main
from cloudlb.config import load_server_config
from cloudlb.domain.passwords import is_password
from cloudlb.domain.ports import Transaction
from cloudlb.net.certificate_names import certificate_guid, check_server_name
from cloudlb.net.pki import CertificateAuthority
from cloudlb.net.tls import Identity, client_context, server_context
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.storage.postgres import MISSING, new_database

T = TypeVar("T")
SERVERS = ("127.0.0.1", "127.0.0.2")


class DeploymentTestCase(SynchronousTestCase):
    """Tests with a folder."""

    def setUp(self) -> None:
        """A folder that is not there yet, in one that is empty."""
        self.folder = Path(self.mktemp()).absolute() / "deployment"
        self.request = Request(folder=self.folder, servers=SERVERS, agents=2)

    def stored(self, work: Callable[[Transaction], T]) -> T:
        """Run work in the deployment's database."""
        database = Database(f"sqlite:///{self.folder}/cloudlb.sqlite", writer=InlineExecutor(), reader=InlineExecutor())

        async def run() -> T:
            await database.start()
            try:
                return await database.run(work)
            finally:
                await database.stop()

        return self.successResultOf(Deferred.fromCoroutine(run()))

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of every file but the database."""
        return {
            str(path.relative_to(self.folder)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and "sqlite" not in path.name
        }

    def settings(self) -> dict[str, str]:
        """The values in the database."""
        return dict(self.stored(lambda txn: txn.settings.load()).stored)


class NewTests(DeploymentTestCase):
    """A new deployment."""

    def test_database(self) -> None:
        """One zone, pod and cluster with id 1, the settings, and an administrator."""
        deploy(evolve(self.request, algorithm="rendezvous", check_interval=7))
        (cluster,) = self.stored(lambda txn: txn.topology.clusters())
        self.assertEqual((1, 1, 1), (cluster.id, cluster.pod.id, cluster.pod.zone.id))
        self.assertEqual(("KVM", "x86_64"), (cluster.hypervisor, cluster.arch))
        self.assertEqual(
            {
                "host": "127.0.0.1,127.0.0.2",
                "indirect.agent.lb.algorithm": "rendezvous",
                "indirect.agent.lb.check.interval": "7",
            },
            self.settings(),
        )

    def test_administrator(self) -> None:
        """cloudstack.ini names the first server and holds the administrator's key and secret."""
        deploy(evolve(self.request, api_port=8081))
        ini = ConfigParser()
        ini.read(self.folder / "cloudstack.ini")
        options = dict(ini["cloudstack"])
        self.assertEqual("http://127.0.0.1:8081/client/api", options["endpoint"])
        key = self.stored(lambda txn: txn.accounts.key(options["key"]))
        assert key is not None
        self.assertEqual(("admin", options["secret"]), (key.account.username, key.secret_key))
        self.assertNotEqual(*[next(signatures({"a": "b"}, secret)) for secret in (key.api_key, key.secret_key)])
        password = self.folder / "admin-password"
        self.assertTrue(is_password(password.read_text().strip(), key.account.password))
        self.assertEqual(0o600, password.stat().st_mode & 0o777)
        self.assertNotIn(password.read_text().strip(), (self.folder / "cloudstack.ini").read_text())

    def test_administrator_of_before(self) -> None:
        """A file that is lost is written again, with a new pair of keys if the old one was deleted; no password is."""
        deploy(self.request)
        ini = self.folder / "cloudstack.ini"
        before = ini.read_text()
        ini.unlink()
        (self.folder / "admin-password").unlink()
        deploy(self.request)
        self.assertEqual(before, ini.read_text())
        self.assertFalse((self.folder / "admin-password").exists())
        (key,) = self.stored(lambda txn: txn.accounts.all_keys())
        self.assertTrue(self.stored(lambda txn: txn.accounts.remove_key(key.uuid)))
        ini.unlink()
        deploy(self.request)
        self.assertNotEqual(before, ini.read_text())

    def test_servers(self) -> None:
        """Each server's configuration can be loaded, from any folder, and its certificate is for its address."""
        deploy(evolve(self.request, servers=("127.0.0.1", "[::1]", "MS.example"), port=9250, api_port=9080))
        for address in ("127.0.0.1", "::1", "ms.example"):
            config = load_server_config(self.folder / "servers" / address / "mgmt.properties")
            self.assertEqual((address, address), (config.name, config.address))
            self.assertEqual((9250, 9080), (config.port, config.api_port))
            self.assertEqual(f"sqlite:///{self.folder}/cloudlb.sqlite", config.database_url)
            assert config.ca_folder is not None
            CertificateAuthority.load(config.ca_folder)
            certificate = x509.load_pem_x509_certificate(config.certificate.read_bytes())
            check_server_name(certificate.public_bytes(Encoding.DER), address)
        self.assertIn("http://[::1]", self.endpoint_of("::1"))

    def test_https(self) -> None:
        """Beyond loopback the API is called by HTTPS, and cs knows the authority to trust."""
        self.assertEqual("https://10.0.0.7:8080/client/api", self.endpoint_of("10.0.0.7"))
        deploy(evolve(self.request, servers=("10.0.0.7", "10.0.0.8")))
        ini = ConfigParser()
        ini.read(self.folder / "cloudstack.ini")
        authority = Path(ini["cloudstack"]["verify"])
        self.assertTrue(authority.is_absolute())
        self.assertIn("BEGIN CERTIFICATE", authority.read_text())

    def endpoint_of(self, address: str) -> str:
        """The endpoint in a deployment whose first server has this address."""
        folder = Path(self.mktemp())
        deploy(Request(folder=folder, servers=(address,), agents=0))
        ini = ConfigParser()
        ini.read(folder / "cloudstack.ini")
        return ini["cloudstack"]["endpoint"]

    def test_agents(self) -> None:
        """Each agent's configuration can be loaded, and its certificate is for its GUID."""
        deploy(self.request)
        guids = set()
        for number in (1, 2):
            config, _ = load_agent_config(self.folder / "agents" / str(number) / "agent.properties")
            self.assertEqual((SERVERS, ""), (config.hosts.addresses, config.hosts.algorithm))
            self.assertEqual((f"agent-{number}", 8250), (config.name, config.port))
            self.assertEqual(("1", "1", "1"), (config.zone, config.pod, config.cluster))
            assert config.certificate is not None
            certificate = x509.load_pem_x509_certificate(config.certificate.read_bytes())
            self.assertEqual(config.guid, certificate_guid(certificate.public_bytes(Encoding.DER)))
            guids.add(config.guid)
        self.assertEqual(2, len(guids))
        self.assertFalse((self.folder / "agents" / "3").exists())

    def test_identities_work(self) -> None:
        """Certificates, keys and CA of both sides fit together where TLS loads them."""
        deploy(self.request)
        agent, _ = load_agent_config(self.folder / "agents" / "1" / "agent.properties")
        server = load_server_config(self.folder / "servers" / "127.0.0.1" / "mgmt.properties")
        assert agent.ca is not None and agent.certificate is not None and agent.private_key is not None
        client_context(Identity(ca=agent.ca, certificate=agent.certificate, private_key=agent.private_key))
        identity = Identity(ca=server.ca_certificate, certificate=server.certificate, private_key=server.private_key)
        server_context(identity, strict=True)

    def test_secrets_are_private(self) -> None:
        """Keys, passwords and secrets are for their owner alone."""
        deploy(self.request)
        secret = [
            path
            for path in self.folder.rglob("*")
            if path.is_file() and (path.suffix in (".key", ".ini", ".properties", ".sqlite") or "private" in path.name)
        ]
        self.assertEqual(4 + 1 + 4 + 1 + 1, len(secret))
        self.assertEqual({0o600}, {stat.S_IMODE(path.stat().st_mode) for path in secret})


class AgainTests(DeploymentTestCase):
    """A deployment that is there already."""

    def test_nothing_is_missing(self) -> None:
        """Nothing is touched, also what an operator has edited."""
        deploy(self.request)
        edited = self.folder / "agents" / "1" / "agent.properties"
        edited.write_text(edited.read_text() + "\n# mine\nworkers=9")
        self.stored(lambda txn: txn.settings.set("host", "127.0.0.2", None))
        (self.folder / "notes.txt").write_text("mine")
        before, settings = self.files(), self.settings()
        for request in (self.request, evolve(self.request, servers=(), agents=0), evolve(self.request, agents=1)):
            deployment = deploy(request)
            self.assertEqual((before, settings), (self.files(), self.settings()))
            self.assertEqual(((), 0), (deployment.new_servers, deployment.new_agents))
        self.assertEqual(0, self.stored(lambda txn: txn.bus.last_sequence()))

    def test_more(self) -> None:
        """A new agent and a new server are added, with the ports of the deployment; `host` grows, and says so."""
        deploy(evolve(self.request, port=9250, api_port=9080))
        before = self.files()
        deployment = deploy(evolve(self.request, servers=("127.0.0.3",), agents=3))
        after = self.files()
        self.assertEqual(before, {name: after[name] for name in before})
        added = {str(Path(name).parent) for name in after.keys() - before.keys()}
        self.assertEqual({"servers/127.0.0.3", "agents/3"}, added)
        self.assertEqual((("127.0.0.3",), 1), (deployment.new_servers, deployment.new_agents))
        config = load_server_config(deployment.server_file("127.0.0.3"))
        self.assertEqual((9250, 9080), (config.port, config.api_port))
        hosts = (*SERVERS, "127.0.0.3")
        self.assertEqual(",".join(hosts), self.settings()["host"])
        agent, _ = load_agent_config(deployment.agent_file(3))
        self.assertEqual((hosts, 9250), (agent.hosts.addresses, agent.port))
        (message,) = self.stored(lambda txn: txn.bus.after(0, 10))
        self.assertEqual(("settings", "host"), (message.topic, message.payload["name"]))

    def test_settings_are_kept(self) -> None:
        """Asking for another algorithm changes nothing, and one is told."""
        deploy(self.request)
        self.stored(lambda txn: txn.settings.set("indirect.agent.lb.algorithm", "shuffle", None))
        deployment = deploy(evolve(self.request, algorithm="static"))
        self.assertEqual({"indirect.agent.lb.algorithm": "shuffle"}, deployment.kept_settings)
        self.assertEqual("shuffle", self.settings()["indirect.agent.lb.algorithm"])
        self.assertEqual({}, deploy(evolve(self.request, algorithm="shuffle")).kept_settings)

    def test_lost_files_come_back(self) -> None:
        """A lost properties file is made as it was, a lost key with a new certificate for the same name."""
        deploy(self.request)
        before = self.files()
        lost = ("agents/1/agent.properties", "servers/127.0.0.1/mgmt.properties", "cloudstack.ini", "agents/2/ca.crt")
        for name in lost:
            (self.folder / name).unlink()
        deploy(self.request)
        self.assertEqual({n: c for n, (c, _) in before.items()}, {n: c for n, (c, _) in self.files().items()})
        (self.folder / "agents/2/agent.key").unlink()
        deploy(self.request)
        changed = {name for name, (content, _) in self.files().items() if content != before[name][0]}
        self.assertEqual({"agents/2/agent.key", "agents/2/agent.crt"}, changed)

    def test_edited_address(self) -> None:
        """A server whose file was edited is still the server of its folder."""
        deployment = deploy(self.request)
        path = deployment.server_file("127.0.0.1")
        path.write_text(path.read_text().replace("address=127.0.0.1", "address=192.0.2.9"))
        before = self.files()
        deploy(self.request)
        self.assertEqual(before, self.files())


class RefusalTests(DeploymentTestCase):
    """Requests that are refused before anything is written."""

    def assert_refused(self, request: Request, *words: str) -> None:
        """The error says why, and the folder stays as it is."""
        before = sorted(self.folder.rglob("*")) if self.folder.exists() else None
        error = self.assertRaises(DeploymentError, deploy, request)
        for word in words:
            self.assertIn(word, str(error))
        self.assertEqual(before, sorted(self.folder.rglob("*")) if self.folder.exists() else None)

    def test_bad_requests(self) -> None:
        """Each with what is wrong."""
        for servers, word in (
            ((), "--server"),
            (("127.0.0.1", "127.0.0.256"), "127.0.0.256"),
            (("127.0.0.1", "a b"), "a b"),
            (("127.0.0.1", "../x"), "../x"),
            (("127.0.0.1", ""), "''"),
            (("::1", "[0:0::1]"), "twice"),
            (("::",), "::"),
            (("224.0.0.1",), "224.0.0.1"),
            (("255.255.255.255",), "255.255.255.255"),
            (("127.0.0.1", "::ffff:127.0.0.1"), "twice"),
        ):
            self.assert_refused(evolve(self.request, servers=servers), word)
        self.assert_refused(evolve(self.request, agents=-1), "-1")
        self.assert_refused(evolve(self.request, port=0), "--port")
        self.assert_refused(evolve(self.request, api_port=65536), "--api-port")
        self.assert_refused(evolve(self.request, algorithm="best"), "best")
        self.assert_refused(evolve(self.request, check_interval=-1), "-1")

    def test_other_ports(self) -> None:
        """All servers of a deployment have the same two ports: an agent has one for its whole list."""
        self.assert_refused(evolve(self.request, port=9000, api_port=9000), "--port", "--api-port", "9000")
        self.assert_refused(evolve(self.request, api_port=8250), "both 8250")
        deploy(self.request)
        for request in (evolve(self.request, servers=("127.0.0.3",)), evolve(self.request, servers=(), agents=3)):
            self.assert_refused(evolve(request, port=9999), "--port", "8250", "9999")
            self.assert_refused(evolve(request, api_port=9999), "--api-port", "8080", "9999")
        self.assertEqual(1, deploy(evolve(self.request, agents=3, port=8250, api_port=8080)).new_agents)

    def test_databases_that_do_not_do(self) -> None:
        """Neither the malformed nor what is not supported; passwords stay out of the message."""
        for url in ("nonsense", "sqlite://", "mysql://root:s3cret@db/x", "postgresql://root:s3cret@127.0.0.1:1/x"):
            error = self.assertRaises(DeploymentError, deploy, evolve(self.request, database_url=url))
            self.assertNotIn("s3cret", str(error))
            self.assertFalse(self.folder.exists())

    def test_folder_of_something_else(self) -> None:
        """A folder that holds other things is left alone."""
        self.folder.mkdir(parents=True)
        (self.folder / "thesis.tex").write_text("all of it")
        self.assert_refused(self.request, "thesis.tex")

    def test_interrupted(self) -> None:
        """What a run that was cut short left is gone on with."""
        self.folder.mkdir(parents=True)
        (self.folder / "cloudlb.sqlite").touch()
        (self.folder / "agents").mkdir()
        self.assertEqual(2, deploy(self.request).new_agents)

    def test_postgres(self) -> None:
        """A deployment on PostgreSQL is like any other, except that no database is in its folder."""
        if MISSING:
            raise SkipTest(MISSING)
        url = new_database(self)
        deployment = deploy(evolve(self.request, database_url=url))
        self.assertEqual(url, load_server_config(deployment.server_file("127.0.0.1")).database_url)
        self.assertEqual(1, deploy(evolve(self.request, servers=("127.0.0.3",), agents=3)).new_agents)
        self.assertEqual([], list(self.folder.glob("*.sqlite")))
        elsewhere = evolve(self.request, folder=self.folder.parent / "other", database_url=url)
        error = self.assertRaises(DeploymentError, deploy, elsewhere)
        self.assertIn("another deployment", str(error))

    def test_other_database(self) -> None:
        """Another file holds the database, if named; it serves one deployment only, and stays the one."""
        elsewhere = self.folder.parent / "elsewhere.sqlite"
        elsewhere.parent.mkdir(parents=True)
        request = evolve(self.request, database_url=f"sqlite:///{elsewhere}")
        deployment = deploy(request)
        self.assertEqual(f"sqlite:///{elsewhere}", load_server_config(deployment.server_file("127.0.0.1")).database_url)
        self.assertFalse((self.folder / "cloudlb.sqlite").exists())
        self.assertEqual(1, deploy(evolve(self.request, servers=("127.0.0.3",), agents=3)).new_agents)
        self.assertFalse((self.folder / "cloudlb.sqlite").exists())
        self.assert_refused(evolve(request, database_url=f"sqlite:///{self.folder.parent}/third.sqlite"), "--db")
        second = evolve(request, folder=self.folder.parent / "second")
        for _ in range(2):
            self.assertIn("another deployment", str(self.assertRaises(DeploymentError, deploy, second)))
            self.assertFalse(second.folder.exists())

    def test_interrupted_with_other_database(self) -> None:
        """A run that ended between database and CA can be repeated: the database is not taken for another's."""
        self.folder.mkdir(parents=True)
        (self.folder / "ca").touch()
        request = evolve(self.request, database_url=f"sqlite:///{self.folder.parent}/elsewhere.sqlite")
        self.assertIn(f"{self.folder}/ca", str(self.assertRaises(DeploymentError, deploy, request)))
        (self.folder / "ca").unlink()
        self.assertEqual(2, deploy(request).new_agents)

    def test_unwritable(self) -> None:
        """An error of the system names the path."""
        self.folder.parent.mkdir(parents=True)
        (self.folder.parent / "file").touch()
        request = evolve(self.request, folder=self.folder.parent / "file" / "deployment")
        self.assertIn("file", str(self.assertRaises(DeploymentError, deploy, request)))


class CommandTests(DeploymentTestCase):
    """cloudlb init."""

    def test_init(self) -> None:
        """Addresses after one --server or one each; the next steps are printed as they can be typed."""
        result = CliRunner().invoke(main, ["init", str(self.folder), "--server", *SERVERS, "--agents", "1"])
        self.assertEqual(0, result.exit_code, result.output)
        for address in SERVERS:
            path = shlex.quote(f"{self.folder}/servers/{address}/mgmt.properties")
            self.assertIn(f"cloudlb-mgmt --config {path}\n", result.stdout)
        path = shlex.quote(f"{self.folder}/agents/1/agent.properties")
        self.assertIn(f"cloudlb-agent --config {path}\n", result.stdout)
        self.assertIn(f"{self.folder}: 2 servers (2 new), 1 new agent\n", result.stdout)
        more = ["--server", "127.0.0.3", "--server", "127.0.0.4", "--algorithm", "shuffle", "--check-interval", "5"]
        result = CliRunner().invoke(main, ["init", str(self.folder), *more])
        self.assertEqual(0, result.exit_code, result.output)
        self.assertIn("4 servers (2 new), 0 new agents", result.stdout)
        self.assertIn("kept: indirect.agent.lb.algorithm is static", result.stdout)
        self.assertEqual("127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4", self.settings()["host"])

    def test_errors(self) -> None:
        """Wrong usage is status 2, what cannot be done is one line and status 1."""
        for arguments, status in (
            (["--server", "a", "b", "--server", "c"], 2),
            (["a"], 2),
            (["--server", "a", "--agents", "-1"], 2),
            (["--server", "a", "--algorithm", "best"], 2),
            (["--server", "a", "--check-interval", "-1"], 2),
            (["--server", "a", "--port", "0"], 2),
            (["--server", "1.2.3"], 1),
            ([], 1),
        ):
            result = CliRunner().invoke(main, ["init", str(self.folder), *arguments])
            self.assertEqual(status, result.exit_code, (arguments, result.output))
            self.assertFalse(self.folder.exists())
