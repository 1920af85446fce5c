"""Commands that call the API, run as a shell would against one that listens."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from cloudlb.cli.main import main
from tests.api.listening import ListeningTestCase
from tests.api.world import API_KEY, SECRET


def write_ini(path: Path, endpoint: str, secret: str = SECRET) -> Path:
    """A cloudstack.ini."""
    path.write_text(f"[cloudstack]\nendpoint = {endpoint}\nkey = {API_KEY}\nsecret = {secret}\n", encoding="utf-8")
    return path


def invoke(*arguments: str, env: Mapping[str, str | None] | None = None) -> Result:
    """Run a command as the shell would."""
    return CliRunner().invoke(main, arguments, env=env)


def answer(ini: Path, typed: str, *arguments: str) -> Result:
    """Run a command that asks, and takes its input for a terminal's."""
    runner = CliRunner()
    with runner.isolation():
        kind = type(sys.stdin)
    with patch.object(kind, "isatty", lambda self: True, create=True):
        return runner.invoke(main, [*arguments, "--config", str(ini)], input=typed)


def on_terminal(
    *arguments: str, awaited: str = "", typed: str = "", env: Mapping[str, str] | None = None
) -> tuple[str, int]:
    """Run a command on a terminal of 80 columns and 24 lines, for a minute at most.

    Args:
        arguments: the command's.
        awaited: what it has to have shown before the keys are typed.
        typed: keys.
        env: variables besides those of the tests.

    Returns:
        What it has shown, with the codes for the terminal, and its status.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from cloudlb.cli.main import main; main()", *arguments]
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm", **(env or {})}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown, deadline = "", time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    shown += os.read(ours, 4096).decode(errors="replace")
                except OSError:
                    # The other side is closed: it has ended.
                    break
            if typed and awaited in shown:
                os.write(ours, typed.encode())
                typed = ""
        return shown, process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


class CommandLineTestCase(ListeningTestCase):
    """Tests of commands with the configuration of the server that listens."""

    async def _start(self) -> None:
        await super()._start()
        self.ini = write_ini(Path(self.mktemp()), self.endpoint)

    def run_command(self, *arguments: str) -> Deferred[Result]:
        """Run a command in a thread."""
        result: Deferred[Result] = deferToThread(invoke, *arguments, "--config", str(self.ini))
        return result
