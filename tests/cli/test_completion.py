"""Tests of what shells complete."""

from __future__ import annotations

from pathlib import Path

from click.shell_completion import ShellComplete
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.main import main
from cloudlb.domain.ports import Transaction
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase, invoke, write_ini


def completed(ini: Path, *words: str) -> list[str]:
    """What a shell offers for the last of some words."""
    *before, last = words
    options = ["--config", str(ini)]
    found = ShellComplete(main, {}, "cloudlb", "X").get_completions(
        [before[0], *options, *before[1:]] if before else [], last
    )
    return sorted(item.value for item in found)


class CompletionTests(CommandLineTestCase):
    """Names of what there is."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            for name in ("agent-1", "agent-2", "other", "a\x1b"):
                self.admit(txn, name)

        await self.database.run(work)

    def offered(self, *words: str) -> Deferred[list[str]]:
        """What is offered, asked for in a thread."""
        found: Deferred[list[str]] = deferToThread(completed, self.ini, *words)
        return found

    async def test_names(self) -> None:
        """Of hosts, servers, settings, places, users and types; only what begins so and can be typed."""
        for words, names in (
            (("host", "a"), ["agent-1", "agent-2"]),
            (("send", "o"), ["other"]),
            (("events", "--host", "agent-1"), ["agent-1"]),
            (("drain", ""), ["m"]),
            (("hosts", "--server", ""), ["m"]),
            (("hosts", "--zone", "z"), ["zone"]),
            (("set", "indirect.agent.lb.al"), ["indirect.agent.lb.algorithm"]),
            (("settings", "ping.i"), ["ping.interval"]),
            (("password", ""), ["admin"]),
            (("events", "--type", "HOST.STATUS"), ["HOST.STATUS.TRANSITION"]),
            (("plan", "--algorithm", "r"), ["rendezvous", "roundrobin"]),
        ):
            self.assertEqual(names, await self.offered(*words), words)

    async def test_nothing(self) -> None:
        """Silently, where the API cannot be asked."""
        for text in ("", "[cloudstack]\nendpoint = http://127.0.0.1:1/client/api\nkey = k\nsecret = s\n"):
            ini = self.file(text)
            self.assertEqual([], await deferToThread(completed, ini, "host", "a"))

    def file(self, text: str) -> Path:
        """A configuration."""
        path = write_ini(Path(self.mktemp()), "")
        path.write_text(text)
        return path


class ScriptTests(SynchronousTestCase):
    """What a shell reads."""

    def test_scripts(self) -> None:
        """Each shell's own, without any configuration; others are wrong usage."""
        for shell, words in (
            ("bash", "complete -o nosort -F"),
            ("zsh", "#compdef cloudlb"),
            ("fish", "complete --no-files"),
        ):
            result = invoke("completion", shell)
            self.assertEqual(0, result.exit_code, result.output)
            self.assertIn(words, result.stdout)
            self.assertIn("_CLOUDLB_COMPLETE", result.stdout)
        self.assertEqual(2, invoke("completion", "csh").exit_code)

    def test_commands(self) -> None:
        """Commands and those of groups."""
        found = ShellComplete(main, {}, "cloudlb", "X")
        self.assertEqual(["hosts", "host"], [item.value for item in found.get_completions([], "hos")])
        self.assertEqual(["revoke"], [item.value for item in found.get_completions(["keys"], "r")])
