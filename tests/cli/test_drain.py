"""`cloudlb drain`, `undrain`, `servers` and `remove-server`, against an API that listens.

What the emptied server does is done by the tests.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr
from typing import Any

from attrs import evolve
from click.testing import Result
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.client import Client, Row
from cloudlb.cli.drain import _watch
from cloudlb.cli.drain_progress import summary
from cloudlb.cli.failures import Unreachable
from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.server_state import ServerEvent, ServerState
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase

BETA = ServerId(5)


class ServerCommandTestCase(CommandLineTestCase):
    """Two servers: m, which is asked, and beta."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            txn.servers.register(name="beta", address="127.0.0.2", port=8250, version="0.1", candidate_id=BETA)
            txn.settings.set("host", "127.0.0.1,127.0.0.2", None)
            txn.settings.set("cluster.heartbeat.threshold", "3600000", None)

        await self.database.run(work)

    async def beta(self) -> Server:
        """Beta's row."""
        (row,) = (row for row in await self.database.read(lambda txn: txn.servers.all()) if row.id == BETA)
        return row

    async def drain(self) -> Drain:
        """Beta's drain, once it is ordered and has not ended."""
        while True:
            drain = await self.database.read(lambda txn: txn.drains.get(BETA))
            if drain is not None and drain.ended is None:
                return drain
            await deferLater(reactor, 0.01)

    async def write(self, event: ServerEvent | None = None, **changes: Any) -> None:
        """Do what beta does once it has something to do."""
        drain = await self.drain()

        def work(txn: Transaction) -> None:
            assert txn.drains.progress(evolve(drain, started=1000.0, **changes))
            if event is not None:
                assert txn.servers.change_state(BETA, event)

        await self.database.run(work)

    async def state(self, expected: ServerState) -> None:
        """Wait for beta to be in a state."""
        while (await self.beta()).state is not expected:
            await deferLater(reactor, 0.01)

    async def uuid(self) -> str:
        """Beta's."""
        return (await self.beta()).uuid


class DrainTests(ServerCommandTestCase):
    """drain."""

    async def test_done(self) -> None:
        """By name, id, uuid or address; status 0, and what was done."""
        for key in ("beta", str(BETA), await self.uuid(), "127.0.0.2"):
            running = self.run_command("drain", key)
            await self.write(ServerEvent.DRAINED, total=3, moved=3, ended=1004.0, end=DrainEnd.DONE)
            result = await running
            self.assertEqual(
                (0, "beta: Maintenance; 3 of 3 agents moved, 0 left, done\n"), (result.exit_code, result.stdout)
            )
            self.assertEqual("beta: PreparingForMaintenance; 0 agents, not begun\n", result.stderr)
            self.assertEqual(0, (await self.run_command("undrain", key)).exit_code)

    async def test_how(self) -> None:
        """What is asked for reaches the order; --no-wait waits for nothing."""
        result = await self.run_command("drain", "beta", "--algorithm", "shuffle", "--forced", "--no-wait", "--json")
        (row,) = json.loads(result.stdout)
        self.assertEqual((0, "PreparingForMaintenance"), (result.exit_code, row["state"]))
        drain = await self.drain()
        assert drain.algorithm is not None
        self.assertEqual(("shuffle", True), (drain.algorithm.value, drain.forced))

    async def test_other_ends(self) -> None:
        """Each has its status; agents that were left are told with the reasons."""
        for end, status in ((DrainEnd.TIMED_OUT, 3), (DrainEnd.CANCELLED, 4), (DrainEnd.STOPPED, 5)):
            running = self.run_command("drain", "beta")
            await self.write(total=3, moved=2, left=1, ended=1004.0, end=end, failed={"an-id": "it stays"})
            result = await running
            first, heading, row = result.stdout.splitlines()
            self.assertEqual(status, result.exit_code, result.output)
            self.assertEqual(
                f"beta: PreparingForMaintenance; 2 of 3 agents moved, 1 left, 1 failed, {end.value}", first
            )
            self.assertEqual((["HOST", "REASON", "ID"], ["it", "stays", "an-id"]), (heading.split(), row.split()))

    async def test_forced(self) -> None:
        """The server is empty: status 0."""
        running = self.run_command("drain", "beta", "--forced")
        await self.write(ServerEvent.DRAINED, total=3, moved=2, ended=1004.0, end=DrainEnd.FORCED)
        self.assertEqual(0, (await running).exit_code)

    async def test_server_that_dies(self) -> None:
        """Ends the waiting, with its status."""
        running = self.run_command("drain", "beta")
        await self.write(total=3, moved=1, left=2)
        await self.database.run(lambda txn: txn.servers.stop(BETA))
        result = await running
        self.assertEqual(
            (5, "beta: Down; 1 of 3 agents moved, 2 left, then the server died\n"), (result.exit_code, result.stdout)
        )

    async def test_forced_and_not_empty(self) -> None:
        """Status 3, whatever the server's state is."""
        running = self.run_command("drain", "beta", "--forced")
        await self.write(ServerEvent.DRAINED, total=3, moved=2, left=1, ended=1004.0, end=DrainEnd.FORCED)
        self.assertEqual(3, (await running).exit_code)

    async def test_server_that_starts_again(self) -> None:
        """Is in Maintenance, but its drain was not carried out; asked again, it is empty."""
        running = self.run_command("drain", "beta")
        await self.write(ServerEvent.DRAINED, total=4, ended=1004.0, end=DrainEnd.STOPPED)
        result = await running
        self.assertEqual(
            (5, "beta: Maintenance; 0 of 4 agents moved, 0 left, stopped\n"), (result.exit_code, result.stdout)
        )
        result = await self.run_command("drain", "beta")
        self.assertEqual((0, "beta: Maintenance; 0 agents\n"), (result.exit_code, result.stdout))

    async def test_again(self) -> None:
        """While it is under way it is watched; with other options, and after its time, it is ordered anew."""
        await self.run_command("drain", "beta", "--no-wait")
        running = self.run_command("drain", "beta")
        await deferLater(reactor, 0.2)
        await self.write(ended=1004.0, end=DrainEnd.TIMED_OUT)
        result = await running
        self.assertEqual(3, result.exit_code)
        self.assertIn("beta is being emptied already.", result.stderr)
        for number, options in ((2, ()), (3, ("--forced",))):
            result = await self.run_command("drain", "beta", "--no-wait", *options)
            self.assertEqual((0, number), (result.exit_code, (await self.drain()).number), result.output)

    async def test_again_with_another_time(self) -> None:
        """It is ordered anew when the setting has changed."""
        await self.run_command("drain", "beta", "--forced", "--no-wait")
        await self.database.run(lambda txn: txn.settings.set("management.server.maintenance.timeout", "1", None))
        await self.run_command("drain", "beta", "--forced", "--no-wait")
        drain = await self.drain()
        self.assertEqual((2, 60.0), (drain.number, drain.timeout))

    async def test_in_maintenance(self) -> None:
        """There is nothing left to be done."""
        for event in (ServerEvent.PREPARE_FOR_MAINTENANCE, ServerEvent.DRAINED):
            await self.database.run(lambda txn, event=event: txn.servers.change_state(BETA, event))  # type: ignore[misc]
        result = await self.run_command("drain", "beta")
        self.assertEqual((0, "beta: Maintenance; 0 agents\n"), (result.exit_code, result.stdout))

    async def test_shutdown(self) -> None:
        """Waits until the server has ended, not only for the drain."""
        running = self.run_command("drain", "beta", "--shutdown")
        await self.state(ServerState.SHUTTING_DOWN)
        await self.write(total=3, moved=3, ended=1004.0, end=DrainEnd.DONE)
        await deferLater(reactor, 0.3)
        self.assertFalse(running.called)
        await self.database.run(lambda txn: txn.servers.stop(BETA))
        result = await running
        self.assertEqual((0, "beta: Down; 3 of 3 agents moved, 0 left, done\n"), (result.exit_code, result.stdout))

    async def test_shutdown_with_nowhere_to_go(self) -> None:
        """A server that stays with its agents, for want of another one, is not waited for."""
        running = self.run_command("drain", "beta", "--shutdown")
        await self.state(ServerState.SHUTTING_DOWN)
        await self.write(total=3, left=3, ended=1004.0, end=DrainEnd.TIMED_OUT, note="nobody takes agents")
        result = await running.addTimeout(10, reactor)
        text = "beta: ShuttingDown; 0 of 3 agents moved, 3 left, timed out, nobody takes agents\n"
        self.assertEqual((3, text), (result.exit_code, result.stdout))

    async def test_server_that_was_asked_ends(self) -> None:
        """Another one is asked how it goes on; their APIs have the same port."""
        self.assertEqual(0, (await self.run_command("drain", "beta", "--shutdown", "--no-wait")).exit_code)
        gone, there = Client.of(self.ini, "127.0.0.99"), Client.of(self.ini)
        state = await deferToThread(there.call, "readyForShutdown", managementserverid=str(BETA))
        running = deferToThread(self.watch, [gone, there], state["readyforshutdown"])
        await self.write(ended=1004.0, end=DrainEnd.DONE)
        await self.database.run(lambda txn: txn.servers.stop(BETA))
        self.assertEqual("Down", (await running)["state"])
        with self.assertRaisesRegex(Unreachable, r"http://\[::1\]:[0-9]+/client/api cannot be reached"):
            Client.of(self.ini, "::1").call("listZones")

    def watch(self, clients: list[Client], state: Row) -> Row:
        """Watch a shutdown, and tell nobody."""
        with redirect_stderr(io.StringIO()):
            return _watch(clients, state, shutdown=True)

    async def test_refused(self) -> None:
        """It says what is possible."""
        await self.database.run(lambda txn: txn.servers.stop(BETA))
        for status, arguments, text in (
            (1, ("drain", "beta"), "beta is Down"),
            (1, ("drain", "m"), "no other server of `host` is Up (beta is Down)"),
            (1, ("drain", "m", "--algorithm", "fair"), "algorithm"),
            (8, ("drain", "gamma"), "there is no management server gamma\nThere are: beta, m\n"),
            (1, ("undrain", "m"), "possible are: prepareForMaintenance"),
            (1, ("remove-server", "m"), "m is Up"),
        ):
            result = await self.run_command(*arguments)
            self.assertEqual((status, ""), (result.exit_code, result.stdout))
            self.assertIn(text, result.stderr)


class UndrainTests(ServerCommandTestCase):
    """undrain."""

    async def test_maintenance_and_shutdown(self) -> None:
        """It finds out which of the two is to be cancelled."""
        for event in (ServerEvent.PREPARE_FOR_MAINTENANCE, ServerEvent.PREPARE_FOR_SHUTDOWN):
            await self.database.run(lambda txn, event=event: txn.servers.change_state(BETA, event))  # type: ignore[misc]
            result = await self.run_command("undrain", "beta", "--no-rebalance")
            self.assertEqual((0, "beta: Up\n"), (result.exit_code, result.stdout))

    async def test_agents_are_moved_back(self) -> None:
        """It says so, and by which job."""
        await self.database.run(lambda txn: txn.servers.change_state(BETA, ServerEvent.PREPARE_FOR_MAINTENANCE))
        result = await self.run_command("undrain", "beta")
        self.assertRegex(
            result.stdout, r"\Abeta: Up\nAgents are moved back to it by job [-0-9a-f]{36}; see how .* jobid="
        )


class ServersTests(ServerCommandTestCase):
    """servers and remove-server."""

    def lines(self, result: Result) -> dict[str, str]:
        """The rows of a table by their first cells."""
        self.assertEqual(0, result.exit_code, result.output)
        return {line.split()[0]: line for line in result.stdout.splitlines()}

    async def test_drain_column(self) -> None:
        """How far each is that is not Up."""
        await self.run_command("drain", "beta", "--no-wait")
        await self.write(total=3, moved=1, left=2, eta=8.0)
        lines = self.lines(await self.run_command("servers"))
        self.assertIn("1 of 3 agents moved, 2 left, about 8 s to go", lines["beta"])
        self.assertNotIn("moved", lines["m"])
        await self.run_command("undrain", "beta")
        self.assertNotIn("moved", self.lines(await self.run_command("servers"))["beta"])

    async def test_remove(self) -> None:
        """It is gone, and the address that agents still have is told."""
        await self.database.run(lambda txn: txn.servers.stop(BETA))
        result = await self.run_command("remove-server", "beta")
        self.assertEqual((0, "beta is removed.\n"), (result.exit_code, result.stdout))
        self.assertIn("cloudlb set host 127.0.0.1\n", result.stderr)
        self.assertEqual({"NAME", "m"}, set(self.lines(await self.run_command("servers"))))


class SummaryTests(SynchronousTestCase):
    """The line about a drain."""

    def test_parts(self) -> None:
        """Only those that say something."""
        drain = {"started": "x", "total": 1, "moved": 0, "left": 1, "jobs": 0, "failed": []}
        for more, line in (
            ({}, "0 of 1 agent moved, 1 left"),
            ({"jobs": 2}, "0 of 1 agent moved, 1 left, 2 jobs to end"),
            ({"note": "a\x1bb"}, "0 of 1 agent moved, 1 left, a\N{REPLACEMENT CHARACTER}b"),
            ({"failed": [{}], "eta": 4}, "0 of 1 agent moved, 1 left, 1 failed, about 4 s to go"),
        ):
            self.assertEqual(line, summary({"state": "Up", "drain": {**drain, **more}}))
        self.assertEqual("1 agent", summary({"agentscount": 1}))
        self.assertEqual("2 agents, not begun", summary({"agentscount": 2, "drain": {"total": 0}}))
