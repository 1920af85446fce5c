"""Tests of `cloudlb host`, `cloudlb hosts` with its filters, and `cloudlb investigations`."""

from __future__ import annotations

import json
import re
from unittest import mock

from click.testing import Result
from twisted.internet.threads import deferToThread

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, ServerId, StatusChange
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import Finding, Investigation, Verdict
from cloudlb.domain.settings import HOST, LB_ALGORITHM
from cloudlb.storage.host_listings import HostListings
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase, on_terminal


class HostCommandTests(CommandLineTestCase):
    """agent-1, agent-2 and agent-10 on m; beta is another server."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> dict[str, Host]:
            add_site(txn)
            txn.servers.register(name="beta", address="127.0.0.2", port=8250, version="0.1", candidate_id=ServerId(5))
            txn.settings.set(HOST, "127.0.0.1,127.0.0.2", None)
            txn.settings.set(LB_ALGORITHM, "roundrobin", None)
            hosts = {name: self.admit(txn, name) for name in ("agent-1", "agent-10", "agent-2")}
            for host in hosts.values():
                self.bring_up(txn, host)
            return hosts

        self.hosts = await self.database.run(work)

    async def output(self, *arguments: str) -> str:
        """What a command prints."""
        result: Result = await self.run_command(*arguments)
        self.assertEqual(0, result.exit_code, result.output)
        return result.stdout

    async def names(self, *arguments: str) -> list[str]:
        """The hosts that a command lists."""
        return [row["name"] for row in json.loads(await self.output("hosts", *arguments, "--json"))]

    async def lose(self, name: str) -> None:
        """Have a host be Alert, with an investigation that nobody could decide."""
        host = self.hosts[name]

        def work(txn: Transaction) -> None:
            for event in (HostEvent.AGENT_DISCONNECTED, HostEvent.WAITED_TOO_LONG):
                change = StatusChange(
                    host_id=host.id, session=host.session, event=event, server_id=self.server_id, reason="lost"
                )
                txn.hosts.transition([change], 9.0)
            findings = (
                Finding(investigator="icmp", verdict=Verdict.UNKNOWN, reason="no\x1banswer", duration=1.5),
                Finding(investigator="rack", verdict=Verdict.DOWN, reason="no power", duration=0.25),
            )
            txn.investigations.add(
                Investigation(
                    uuid="u",
                    host_id=host.id,
                    server_id=self.server_id,
                    cause=HostEvent.AGENT_DISCONNECTED,
                    started=5.0,
                    duration=1.75,
                    verdict=Verdict.DOWN,
                    findings=findings,
                )
            )

        await self.database.run(work)

    async def test_order_and_filters(self) -> None:
        """agent-2 before agent-10; filters alone and together."""
        self.assertEqual(["agent-1", "agent-2", "agent-10"], await self.names())
        self.assertEqual(["agent-10"], await self.names("--off-preferred"))
        await self.lose("agent-2")
        for arguments, names in (
            (("--state", "up"), ["agent-1", "agent-10"]),
            (("--state", "Up", "--state", "Alert"), ["agent-1", "agent-2", "agent-10"]),
            (("--state", "Alert", "--state", "Down"), ["agent-2"]),
            (("--resource-state", "Maintenance"), []),
            (("--resource-state", "Maintenance", "--resource-state", "Disabled"), []),
            (("--server", "m"), ["agent-1", "agent-2", "agent-10"]),
            (("--server", "127.0.0.2"), []),
            (("--zone", "zone", "--pod", "pod", "--cluster", "cluster"), ["agent-1", "agent-2", "agent-10"]),
            (("--cluster", "1", "--state", "Alert"), ["agent-2"]),
        ):
            self.assertEqual(names, await self.names(*arguments), arguments)
        self.assertEqual(2, (await self.run_command("hosts", "--state", "upp")).exit_code)

    async def test_counts(self) -> None:
        """How many, by state, and how many are not where they should be."""
        *_, line = (await self.output("hosts")).splitlines()
        self.assertEqual("3 hosts: 3 Up, 1 not on the preferred server", line)
        *_, line = (await self.output("hosts", "--state", "Down")).splitlines()
        self.assertEqual("0 hosts", line)

    async def test_colours(self) -> None:
        """On a terminal only, and not where NO_COLOR is set; there a table is not wider than the terminal."""
        self.assertNotIn("\x1b", await self.output("hosts"))
        for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            shown, status = await deferToThread(on_terminal, "hosts", "--config", str(self.ini), env=variables)
            self.assertEqual(0, status, shown)
            self.assertEqual(coloured, "\x1b[32mUp" in shown, shown)
            self.assertNotIn("ID", shown)
            lines = re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()
            self.assertLessEqual(max(map(len, lines)), 80)

    async def test_preferred_server(self) -> None:
        """Where a host should be stands beside where it is."""
        rows = [line.split() for line in (await self.output("hosts")).splitlines()[1:4]]
        self.assertEqual(["yes", "yes", "127.0.0.2"], [row[4] for row in rows])

    async def test_share(self) -> None:
        """Of each server."""
        rows = [line.split() for line in (await self.output("servers")).splitlines()[1:]]
        self.assertEqual({"beta": "0", "m": "3"}, {row[0]: row[3] for row in rows})
        self.assertEqual(["66%"], [row[4] for row in rows if row[0] == "m"])

    async def test_ids_that_nobody_reads(self) -> None:
        """No command has the servers tell the ids of all their hosts, but one that prints them."""
        with mock.patch.object(HostListings, "uuids_by_server", side_effect=AssertionError):
            for command in (["top"], ["servers"], ["host", "agent-1"], ["hosts", "--server", "beta"]):
                await self.output(*command)
        self.assertIn(self.hosts["agent-1"].uuid, await self.output("servers", "--json"))

    async def test_one(self) -> None:
        """States, server, list with who is where, verdict, events; by name and by id."""
        for key in ("agent-10", self.hosts["agent-10"].uuid, str(self.hosts["agent-10"].id)):
            text = await self.output("host", key)
            lines = [line.rstrip() for line in text.splitlines()]
            self.assertIn("state           Up", lines)
            self.assertIn("server          m", lines)
            self.assertIn("stands in       zone / pod / cluster", lines)
            self.assertIn("  1. 127.0.0.2 beta  Up, preferred", lines)
            self.assertIn("  2. 127.0.0.1 m  Up, it is here", lines)
            self.assertIn("Nobody has had to look into it.", lines)
            self.assertIn("host agent-10 went from Connecting to Up (Ready): a test", lines[-2])

    async def test_one_that_is_lost(self) -> None:
        """Why, as each investigator said it, without what would command the terminal."""
        await self.lose("agent-2")
        text = await self.output("host", "agent-2")
        self.assertIn("last server     m", [line.rstrip() for line in text.splitlines()])
        self.assertIn(
            "1970-01-01 00:00:05 UTC  AgentDisconnected, looked into by m for 1.8 s; verdict Down by rack", text
        )
        self.assertIn("  icmp: Unknown, no\N{REPLACEMENT CHARACTER}answer (1.5 s)\n", text)
        self.assertIn("  rack: Down, no power (0.2 s)\n", text)

    async def test_one_as_json(self) -> None:
        """One document: the host, its latest investigation, its events."""
        document = json.loads(await self.output("host", "agent-1", "--json"))
        self.assertEqual("127.0.0.1,127.0.0.2", document["host"]["serverlist"])
        self.assertIsNone(document["investigation"])
        self.assertEqual({"agent-1"}, {event["resourcename"] for event in document["event"]})

    async def test_investigations(self) -> None:
        """Of all hosts as a table, of one in full."""
        self.assertIn("Nobody has had to look into any host.", await self.output("investigations"))
        await self.lose("agent-2")
        _, row = (await self.output("investigations")).splitlines()
        self.assertEqual(["agent-2", "AgentDisconnected", "Down", "rack", "no", "power", "m"], row.split()[2:9])
        self.assertIn("  icmp: Unknown", await self.output("investigations", "agent-2"))
        self.assertIn("Nobody", await self.output("investigations", "agent-1"))
        (document,) = json.loads(await self.output("investigations", "--json"))
        self.assertEqual(2, len(document["findings"]))
