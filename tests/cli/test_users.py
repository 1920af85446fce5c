"""Tests of `cloudlb users`, `cloudlb password` and `cloudlb keys`."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

from click.testing import Result
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from cloudlb.domain.passwords import is_password
from cloudlb.domain.users import Account, Role
from tests.cli.command_line import CommandLineTestCase, answer

PASSWORD = "correct horse battery"


class UserCommandTests(CommandLineTestCase):
    """The administrator's key makes the calls."""

    def typed(self, typed: str, *arguments: str) -> Deferred[Result]:
        """Run a command on a terminal, in a thread."""
        result: Deferred[Result] = deferToThread(answer, self.ini, typed, *arguments)
        return result

    def file(self, text: str) -> Path:
        """A configuration."""
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    async def account(self, username: str) -> Account | None:
        """A user's row."""
        return await self.database.read(lambda txn: txn.accounts.by_username(username))

    async def create(self, username: str, *options: str) -> None:
        """Make a user."""
        result = await self.typed(f"{PASSWORD}\n{PASSWORD}\n", "users", "create", username, *options)
        self.assertEqual(0, result.exit_code, result.output)
        self.assertNotIn(PASSWORD, result.output)

    async def test_life_of_a_user(self) -> None:
        """Made, listed, given another role, disabled, enabled, deleted."""
        await self.create("looker")
        account = await self.account("looker")
        assert account is not None
        self.assertEqual(Role.READ_ONLY, account.role)
        self.assertTrue(is_password(PASSWORD, account.password))
        for arguments, line in (
            (("role", "looker", "administrator"), "looker: Root Admin, enabled"),
            (("disable", "looker"), "looker: Root Admin, disabled"),
            (("enable", "looker"), "looker: Root Admin, enabled"),
        ):
            result = await self.run_command("users", *arguments)
            self.assertEqual((0, f"{line}\n"), (result.exit_code, result.stdout), result.output)
        rows = (await self.run_command("users")).stdout.splitlines()
        self.assertEqual(["looker", "Root", "Admin", "enabled"], rows[2].split()[:4])
        self.assertEqual("looker is deleted.\n", (await self.run_command("users", "delete", "looker")).stdout)
        self.assertIsNone(await self.account("looker"))

    async def test_passwords_that_differ(self) -> None:
        """It is asked for again, and nothing is made when that ends."""
        result = await self.typed(f"{PASSWORD}\nother\n", "users", "create", "looker")
        self.assertEqual(1, result.exit_code)
        self.assertIsNone(await self.account("looker"))

    async def test_no_terminal(self) -> None:
        """A password is no argument, and nothing that a pipe brings."""
        for arguments in (("users", "create", "looker"), ("password",), ("password", "admin")):
            result = await self.run_command(*arguments)
            self.assertEqual(2, result.exit_code)
            self.assertIn("asked for on a terminal", result.stderr)

    async def test_password(self) -> None:
        """The own one, or another user's."""
        await self.create("looker")
        for user in ("admin", "looker"):
            new = f"{PASSWORD} of {user}"
            named = () if user == "admin" else (user,)
            result = await self.typed(f"{new}\n{new}\n", "password", *named)
            self.assertEqual((0, f"{user} has another password.\n"), (result.exit_code, result.stdout))
            account = await self.account(user)
            assert account is not None
            self.assertTrue(is_password(new, account.password))

    async def test_own_password_of_a_reader(self) -> None:
        """The present one is asked for first."""
        await self.create("looker")
        issued = await self.run_command("keys", "issue", "looker")
        ini = self.file(issued.stdout)
        for present, status in (("wrong", 1), (PASSWORD, 0)):
            result = await deferToThread(answer, ini, f"{present}\nanother one\nanother one\n", "password")
            self.assertEqual(status, result.exit_code, result.output)

    async def test_keys(self) -> None:
        """A pair is printed once, as a file that works; it is listed without its secret, and revoked."""
        result = await self.run_command("keys", "issue", "--name", "grafana", "--expires", "2099-11-30")
        ini = self.file(result.stdout)
        parser = configparser.ConfigParser()
        parser.read_string(result.stdout)
        secret = parser["cloudstack"]["secret"]
        self.assertIn("until 2099-12-01 00:00:00 UTC. The secret is not told again.", result.stderr)
        own, other = self.ini, ini
        self.ini = other
        listed = await self.run_command("keys", "--json")
        self.assertNotIn(secret, listed.stdout)
        (uuid,) = [row["id"] for row in json.loads(listed.stdout) if row.get("name") == "grafana"]
        result = await self.run_command("keys", "revoke", uuid[:8])
        self.assertEqual(1, result.exit_code)
        self.assertIn("these are the keys that the call is made with", result.stderr)
        self.ini = own
        result = await self.run_command("keys", "revoke", uuid[:8])
        self.assertEqual((0, f"A pair of keys of admin is revoked, {uuid[:8]}.\n"), (result.exit_code, result.stdout))
        self.ini = other
        self.assertEqual(7, (await self.run_command("keys")).exit_code)

    async def test_keys_of_one(self) -> None:
        """Of the user that is named."""
        await self.create("looker")
        await self.run_command("keys", "issue", "looker")
        rows = json.loads((await self.run_command("keys", "--user", "looker", "--json")).stdout)
        self.assertEqual(["looker"], [row["username"] for row in rows])

    async def test_options_of_a_group(self) -> None:
        """--config may stand before the command of a group as well."""
        result = await deferToThread(answer, self.ini, "", "users", "--config", str(self.ini), "disable", "x")
        self.assertEqual(8, result.exit_code, result.output)
