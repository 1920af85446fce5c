"""Tests of how commands fail: status, what happened, what to do next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner, Result
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from cloudlb.cli.main import main
from cloudlb.cluster.membership import Membership
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.users import Role
from cloudlb.net.https_server import HttpsContext
from cloudlb.net.pki import CertificateAuthority
from tests.api.world import API_KEY, add_site, add_user
from tests.cli.command_line import CommandLineTestCase, invoke, write_ini

NOWHERE = "http://127.0.0.1:1/client/api"


class RefusalTests(CommandLineTestCase):
    """What a server says."""

    async def _start(self) -> None:
        await super()._start()
        await self.database.run(add_site)

    async def refused(self, status: int, *arguments: str) -> str:
        """Run a command that fails so; what it says on stderr."""
        result = await self.run_command(*arguments)
        self.assertEqual((status, ""), (result.exit_code, result.stdout), result.output)
        return result.stderr

    async def test_wrong_secret(self) -> None:
        """The server's own words, and who can help; the secret is not told."""
        write_ini(self.ini, self.endpoint, "wr0ng")
        told = await self.refused(7, "hosts")
        self.assertIn("unable to verify user credentials", told)
        self.assertIn(f"The key of {self.ini} is wrong, has expired or was revoked", told)
        self.assertIn("cloudlb keys issue", told)
        self.assertNotIn("wr0ng", told)

    async def test_role(self) -> None:
        """Whose key may only read learns so."""
        await self.database.run(lambda txn: add_user(txn, "looker", "other-key", Role.READ_ONLY))
        self.ini.write_text(self.ini.read_text().replace(API_KEY, "other-key"))
        told = await self.refused(7, "remove-server", "m")
        self.assertIn("whose role is Read-Only Admin", told)
        self.assertIn("the key of an administrator", told)

    async def test_server_that_takes_no_changes(self) -> None:
        """Another one is to be asked, as where nobody answers."""
        with patch.object(Membership, "state", ServerState.MAINTENANCE):
            told = await self.refused(6, "rebalance")
        self.assertIn("m is Maintenance and takes no rebalanceAgents", told)
        self.assertIn("--at ADDRESS", told)

    async def test_not_found(self) -> None:
        """What there is instead is told."""
        await self.database.run(lambda txn: self.admit(txn, "agent-1"))
        for arguments, told in (
            (("host", "agent"), "There are: agent-1"),
            (("host", "nobody"), "See: cloudlb hosts"),
            (("host", "99"), "there is no host 99"),
            (("hosts", "--server", "x"), "There are: m"),
            (("hosts", "--zone", "x"), "There are: zone"),
            (("hosts", "--cluster", "77"), "'77'"),
            (("events", "--host", "x"), "'x'"),
            (("settings", "hosst"), "See: cloudlb settings"),
            (("users", "disable", "x"), "There are: admin"),
            (("keys", "revoke", "zz"), "begins with 'zz'"),
            (("alerts", "archive", "zz"), "begins with 'zz'"),
        ):
            self.assertIn(told, await self.refused(8, *arguments))

    async def test_names_of_several(self) -> None:
        """The id of one is asked for, with where each stands."""
        for guid in ("a", "b"):
            await self.database.run(lambda txn, guid=guid: self.admit(txn, "twin", guid))  # type: ignore[misc]
        told = await self.refused(8, "host", "twin")
        self.assertIn("2 hosts are named 'twin'", told)
        self.assertEqual(2, told.count(" in zone/pod/cluster, Connecting"))
        uuid = told.splitlines()[-1].split()[0]
        self.assertEqual(0, (await self.run_command("host", uuid)).exit_code)

    async def test_not_an_api(self) -> None:
        """An endpoint that is something else is to be looked at."""
        write_ini(self.ini, self.endpoint.replace("/client/api", "/nothing"))
        told = await self.refused(1, "hosts")
        self.assertIn(f"Look at endpoint in {self.ini}", told)


class TlsTests(CommandLineTestCase):
    """Certificates."""

    def certificates(self) -> Path:
        """A folder with those of a server."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = CertificateAuthority.create(folder / "ca", "test")
        authority.issue_server("s", ["127.0.0.1"]).write(folder / "c", folder / "k")
        return folder

    async def test_not_trusted(self) -> None:
        """The line that is missing is told; so is a file that is."""
        folder = self.certificates()
        clock: Any = reactor
        port = clock.listenSSL(0, Site(Resource()), HttpsContext(folder / "c", folder / "k"), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        endpoint = f"https://127.0.0.1:{port.getHost().port}/client/api"
        write_ini(self.ini, endpoint)
        result = await self.run_command("hosts")
        self.assertEqual(6, result.exit_code)
        self.assertIn(f"the TLS certificate of {endpoint} is not trusted: ", result.stderr)
        self.assertIn(f"in {self.ini}: verify = /path/to/ca.crt", result.stderr)
        with self.ini.open("a") as file:
            file.write("verify = /nonexistent\n")
        result = await self.run_command("hosts")
        self.assertEqual(1, result.exit_code)
        self.assertIn(f"verify in {self.ini}: ", result.stderr)


class TerminalTests(CommandLineTestCase):
    """What a terminal cannot show."""

    async def test_letters(self) -> None:
        """A name with letters that the terminal does not have is shown without them."""
        await self.database.run(lambda txn: add_user(txn, "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", "another-key"))
        command = ["users", "--config", str(self.ini)]
        result = await deferToThread(lambda: CliRunner(charset="ascii").invoke(main, command))
        self.assertEqual(0, result.exit_code, result.exception)
        self.assertIn("zo?", result.stdout)


class ConfigurationTests(SynchronousTestCase):
    """Where the API is."""

    def test_unreachable(self) -> None:
        """The endpoint, what the system said, and whom to ask instead."""
        ini = write_ini(Path(self.mktemp()), NOWHERE)
        for command in (["hosts"], ["servers"], ["settings"], ["set", "x", "a"], ["top"], ["alerts"], ["users"]):
            result = invoke(*command, "--config", str(ini))
            self.assertEqual((6, ""), (result.exit_code, result.stdout))
            first, advice = result.stderr.splitlines()
            self.assertEqual(f"Error: {NOWHERE} cannot be reached: Connection refused", first)
            self.assertEqual(f"Ask another server: --at ADDRESS, or its endpoint in {ini}.", advice)

    def test_servers_of_a_deployment(self) -> None:
        """Those are named that stand in the folder of the file."""
        folder = Path(self.mktemp())
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            (folder / "servers" / address).mkdir(parents=True)
            (folder / "servers" / address / "mgmt.properties").touch()
        ini = write_ini(folder / "cloudstack.ini", NOWHERE)
        result = invoke("hosts", "--config", str(ini))
        self.assertEqual("Ask another server: --at 127.0.0.2 (or 127.0.0.3)", result.stderr.splitlines()[1])
        result = invoke("hosts", "--config", str(ini), "--at", "127.0.0.3")
        self.assertIn("http://127.0.0.3:1/client/api cannot be reached", result.stderr)
        self.assertEqual("Ask another server: --at 127.0.0.1 (or 127.0.0.2)", result.stderr.splitlines()[1])

    def test_nothing_found(self) -> None:
        """Where it was looked for, and how to make one."""
        home = Path(self.mktemp())
        home.mkdir()
        result = self.without_configuration("hosts", CLOUDSTACK_CONFIG="/nonexistent", HOME=str(home))
        self.assertEqual((1, ""), (result.exit_code, result.stdout))
        first, *advice = result.stderr.splitlines()
        for place in ("CLOUDSTACK_ENDPOINT", "/nonexistent", f"{Path.cwd()}/cloudstack.ini", f"{home}/.cloudstack.ini"):
            self.assertIn(place, first)
        self.assertIn("  [cloudstack]", advice)

    def test_variables_without_a_key(self) -> None:
        """With an endpoint in a variable no file is read: so the others must be there, too."""
        result = self.without_configuration("hosts", CLOUDSTACK_ENDPOINT=NOWHERE, CLOUDSTACK_KEY="k")
        self.assertEqual(1, result.exit_code)
        self.assertIn(
            "in the variables CLOUDSTACK_ENDPOINT, CLOUDSTACK_KEY and CLOUDSTACK_SECRET: no secret", result.stderr
        )

    def without_configuration(self, *arguments: str, **env: str) -> Result:
        """Run a command with these variables and no others of cs."""
        others: dict[str, str | None] = {name: None for name in os.environ if name.startswith("CLOUDSTACK_")}
        return invoke(*arguments, env=others | env)

    def test_unusable(self) -> None:
        """One line with the file and what it lacks, but not what it holds."""
        for text in (
            "",
            "[cloudstack]\n",
            "[other]\nendpoint = x\n",
            "s3cret",
            "[cloudstack]\nendpoint = x\ns3cret",
            "[cloudstack]\nendpoint = x\nkey = k\nsecret = %s3cret",
            "[cloudstack]\nendpoint = x\nkey = k\nsecret = s3cret",
            f"[cloudstack]\nendpoint = {NOWHERE}\nkey = k",
            "[cloudstack]\nendpoint = http://127.0.0.1:none/client/api\nkey = k\nsecret = x",
            f"[cloudstack]\nendpoint = {NOWHERE}\nkey = k\nsecret = s3cret\ntimeout = y",
        ):
            ini = Path(self.mktemp())
            ini.write_text(text, encoding="utf-8")
            result = invoke("hosts", "--config", str(ini))
            self.assertEqual(1, result.exit_code, text)
            (line,) = result.stderr.splitlines()
            self.assertIn(f"no usable configuration of the API in {ini}: ", line)
            self.assertNotIn("s3cret", line)
