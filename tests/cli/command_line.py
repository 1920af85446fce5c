"""Commands that call the API, run as a shell would against one that listens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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


class CommandLineTestCase(ListeningTestCase):
    """Tests of commands with the configuration of the server that listens."""

    async def _start(self) -> None:
        await super()._start()
        self.ini = write_ini(Path(self.mktemp()), self.endpoint)

    def run_command(self, *arguments: str) -> Deferred[Result]:
        """Run a command in a thread."""
        result: Deferred[Result] = deferToThread(invoke, *arguments, "--config", str(self.ini))
        return result
