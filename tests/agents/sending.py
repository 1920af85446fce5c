"""A sender with one host, and what tests of it need."""

from __future__ import annotations

import random
from typing import cast
from uuid import UUID

from attrs import define, field
from twisted.internet.task import Clock

from cloudlb.agents.directory import Directory
from cloudlb.agents.hooks import Hook, Hooks
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.sender import Sender
from cloudlb.domain.models import HostId
from cloudlb.domain.settings_in_force import Settings
from cloudlb.metrics.meters import Meters
from cloudlb.wire import COMMAND_ID, Command
from tests.agents.sessions import Attaches, Session, session

HOST = HostId(1)


class Recorder(Hook):
    """Keeps what it is told of commands."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def commands_seen(self, host_id: HostId, commands: object) -> None:
        self.told.append(("seen", host_id))

    def answers_seen(self, host_id: HostId, answers: object) -> None:
        self.told.append(("answered", host_id))

    def timed_out(self, host_id: HostId, commands: object) -> None:
        self.told.append(("timed out", host_id))


@define
class FixedSettings:
    """Settings that nobody changes but the test."""

    current: Settings = field(factory=Settings)


class Fixture:
    """A sender, and one host that may have a session."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.attaches = Attaches()
        self.settings = FixedSettings()
        self.hook = Recorder()
        self.meters = Meters()
        rng = random.Random(1)
        self.sender = Sender(
            cast("Directory", self.attaches),
            cast("LiveSettings", self.settings),
            Hooks([self.hook]),
            self.clock,
            self.meters,
            lambda: UUID(int=rng.getrandbits(128), version=4),
        )

    def connect(self, number: int = 1, *, ours: bool = True, up: bool = True) -> Session:
        """Have the host begin a session."""
        made = session(self.clock, number, ours=ours, up=up)
        self.attaches.by_host[HOST] = made.attache
        return made


def id_of(command: object) -> str:
    """The id under which a command went out."""
    assert isinstance(command, Command)
    return command.context_map[COMMAND_ID]
