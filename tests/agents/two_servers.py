"""What tests of calls start from that come to one server while the host's agent is on another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.users import Role
from cloudlb.wire import Flag, ReadyAnswer
from tests.agents.server import FakeLink, ServerFixture


class TwoServersCase(SynchronousTestCase):
    """Two servers: the first one is called, the second one is to have the agent."""

    settings: ClassVar[Mapping[str, str]] = {}
    """More of them than the list of servers."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).parent
        self.asked = ServerFixture(folder, "127.0.0.1", host="127.0.0.1,127.0.0.2", **self.settings)
        self.holder = ServerFixture(folder, "127.0.0.2")
        self.addCleanup(self.asked.stop)
        self.addCleanup(self.holder.stop)

    def add_account(self) -> int:
        """Add an account for who calls."""
        account = self.successResultOf(
            self.asked.database.run(
                lambda txn: txn.accounts.add(username="admin", role=Role.ADMINISTRATOR, password=None, now=0.0)
            )
        )
        return account.id

    def up(self, server: ServerFixture, link: FakeLink | None = None) -> FakeLink:
        """Have the host's agent connect."""
        link = server.startup(1, link, ms_host_list="127.0.0.1,127.0.0.2@static")
        header, _ = link.take()[-1]
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))
        return link
