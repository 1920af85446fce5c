"""Attaches on links that keep what is sent, and owners that keep what they are told."""

from __future__ import annotations

import random
from collections.abc import Sequence

from attrs import define, field
from twisted.internet.task import Clock

from cloudlb.agents.attache import Attache
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, ServerId
from cloudlb.wire import Answer, CancelCommand, Command, CommandInfo, Flag, Header, Opaque, StartupCommand
from tests.agents.investigating import host
from tests.agents.server import FakeChannel, FakeLink

RESPONSE = Flag(0)


@define(eq=False)
class Owner:
    """Keeps what it is told."""

    told: list[object] = field(factory=list)
    settled: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()

    def heard(self, attache: Attache) -> None:
        self.told.append("heard")

    def avoid_list(self) -> tuple[str, ...]:
        return self.avoid

    def misbehaved(self, attache: Attache, what: str) -> None:
        self.told.append(what)

    def started_again(self, attache: Attache, header: Header, startups: Sequence[StartupCommand]) -> None:
        self.told.append(startups)

    def pinged(self, attache: Attache, *, gateway: bool, round_trip: object) -> bool:
        return False

    def reported(self, attache: Attache, infos: Sequence[CommandInfo]) -> tuple[str, ...]:
        self.told.append(tuple(infos))
        return self.settled

    def lost(self, attache: Attache, reason: str) -> None:
        self.told.append(reason)


@define(eq=False)
class Session:
    """One session of host 1, as its agent sees it."""

    attache: LinkAttache
    link: FakeLink
    owner: Owner

    def requests(self) -> list[tuple[Header, list[Command | Answer | Opaque]]]:
        """What was sent since the last time, CancelCommands left out."""
        packets: dict[int, tuple[Header, list[Command | Answer | Opaque]]] = {}
        for header, content in self.link.take():
            if not isinstance(content, CancelCommand):
                packets.setdefault(header.sequence, (header, []))[1].append(content)
        return list(packets.values())

    def answer(self, sequence: int, *answers: Answer) -> None:
        """Answer a request."""
        self.link.receive(answers or (Answer(),), sequence=sequence, flags=RESPONSE)

    def lose(self) -> None:
        """Have the connection end."""
        self.link.lose("reset by the peer")


def session(clock: Clock, number: int = 1, *, ours: bool = True, up: bool = True) -> Session:
    """A session of a host that has been admitted."""
    link, owner = FakeLink(FakeChannel(is_cloudlb=ours)), Owner()
    attache = LinkAttache(
        link,  # type: ignore[arg-type]
        owner,
        clock,
        random.Random(number),
        server_id=ServerId(7),
        guid="guid-1-LibvirtComputingResource",
        ping_interval=60,
        held=None,
        max_message=2**20,
    )
    link.owner = attache
    attache.admit(host(1, status=HostStatus.UP if up else HostStatus.CONNECTING), 0)
    return Session(attache, link, owner)


@define
class Attaches:
    """The directory, as far as a sender looks at it."""

    by_host: dict[HostId, Attache] = field(factory=dict)

    def get(self, host_id: HostId) -> Attache | None:
        return self.by_host.get(host_id)
