"""What a server does with its part of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.attache import Attache
from cloudlb.agents.moves import MoveEnd, MoveReason
from cloudlb.cluster.membership import Membership
from cloudlb.cluster.plan_parts import MOVE, MOVED
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import ServerId
from cloudlb.wire import Flag, ReadyAnswer, ReadyCommand
from tests.agents.server import ServerFixture

OWN, OTHER = "127.0.0.1", "127.0.0.2"
RESPONSE = Flag(0)


class PlanPartsTests(SynchronousTestCase):
    """One server, three agents and another server that lives."""

    def setUp(self) -> None:
        """Static lists that begin with the other server."""
        self.fixture = ServerFixture(Path(self.mktemp()).parent, host=f"{OTHER},{OWN}")
        self.addCleanup(self.fixture.stop)
        self.parts = self.fixture.server.plan_parts
        self.moves: list[tuple[int, HostList, Deferred[MoveEnd]]] = []
        self.cancelled: list[int] = []
        self.patch(self.fixture.server.moves, "move", self.move)
        self.told: list[Mapping[str, Any]] = []
        self.fixture.server.bus.subscribe(MOVED, self.told.append)
        self.ids = [self.up(number) for number in (1, 2, 3)]
        self.fixture.database.run(
            lambda txn: txn.servers.register(
                name=OTHER, address=OTHER, port=8250, version="0.1", candidate_id=ServerId(7)
            )
        )
        self.fixture.advance(3)
        self.moves.clear()

    def up(self, number: int) -> int:
        """Connect an agent and make it Up; its host's id."""
        link = self.fixture.startup(number)
        header, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        self.fixture.advance(0.1)
        return self.fixture.host(number).id

    def move(self, attache: Attache, hosts: HostList, *, reason: MoveReason, why: str) -> Deferred[MoveEnd]:
        """Note what is asked for."""

        def cancelled(waiter: Deferred[MoveEnd]) -> None:
            self.cancelled.append(attache.host.id)
            waiter.callback(MoveEnd.STAYED)

        waiter: Deferred[MoveEnd] = Deferred(cancelled)
        self.moves.append((attache.host.id, hosts, waiter))
        return waiter

    def publish(self, plan: str, *moves: tuple[int, str], held: bool = False) -> None:
        """Publish a plan."""
        payload = {"plan": plan, "moves": {str(self.parts.server_id): moves}, "held": held, "seconds": 100}
        self.fixture.database.run(lambda txn: txn.bus.publish(MOVE, payload, 0.0))
        self.fixture.advance(0.5)

    def tally(self) -> tuple[Any, ...]:
        """What was told last."""
        self.fixture.advance(1.5)
        return tuple(self.told[-1][name] for name in ("plan", "planned", "moved", "stayed", "lost"))

    def test_part(self) -> None:
        """Each host is moved along its list; how they end is told, and nothing more afterwards."""
        self.publish("p", *((id_, OTHER) for id_ in self.ids))
        self.assertEqual([id_ for id_, _, _ in self.moves], self.ids)
        self.assertEqual({hosts.addresses for _, hosts, _ in self.moves}, {(OTHER, OWN)})
        self.assertEqual(self.tally(), ("p", 3, 0, 0, 0))
        for (_, _, waiter), end in zip(self.moves, MoveEnd, strict=True):
            waiter.callback(end)
        self.assertEqual(self.tally(), ("p", 3, 1, 1, 1))
        told = len(self.told)
        self.fixture.advance(10)
        self.assertEqual(len(self.told), told)

    def test_out_of_date(self) -> None:
        """Hosts that are not here, and targets that do not live or where the list does not lead, are left alone."""
        self.publish("p", (self.ids[0], "127.0.0.9"), (self.ids[1], OWN), (99, OTHER))
        self.assertEqual((self.moves, self.tally()), ([], ("p", 3, 0, 3, 0)))
        self.fixture.database.run(lambda txn: txn.servers.stop(ServerId(7)))
        self.fixture.advance(3)
        self.publish("q", (self.ids[0], OTHER))
        self.assertEqual((self.moves, self.tally()), ([], ("q", 1, 0, 1, 0)))

    def test_newer_plan(self) -> None:
        """It calls off what was asked for an older one; both are told of. A plan that is heard twice is one plan."""
        self.publish("p", (self.ids[0], OTHER), (self.ids[1], OTHER))
        self.publish("p", (self.ids[0], OTHER), (self.ids[1], OTHER))
        self.assertEqual(len(self.moves), 2)
        self.publish("q", (self.ids[2], OTHER))
        self.assertEqual(sorted(self.cancelled), self.ids[:2])
        self.tally()
        last = {one["plan"]: (one["planned"], one["stayed"]) for one in self.told}
        self.assertEqual(last, {"p": (2, 2), "q": (1, 0)})

    def test_newer_plan_while_it_looks(self) -> None:
        """Nobody is moved for a plan that is not the newest any more when the servers have been looked at."""
        looks: list[Deferred[None]] = []

        def look(membership: Membership) -> Deferred[None]:
            looks.append(Deferred())
            return looks[-1]

        self.patch(Membership, "look", look)
        self.publish("p", (self.ids[0], OTHER))
        self.publish("q", (self.ids[1], OTHER))
        self.assertEqual(self.moves, [])
        for each in looks:
            each.callback(None)
        self.assertEqual([id_ for id_, _, _ in self.moves], [self.ids[1]])
        self.tally()
        last = {one["plan"]: (one["planned"], one["stayed"]) for one in self.told}
        self.assertEqual(last, {"p": (1, 1), "q": (1, 0)})

    def test_old_news(self) -> None:
        """A server that was away for a while does nothing about plans that it hears of then, but to tell so."""
        self.patch(Membership, "steady", False)
        self.publish("p", (self.ids[0], OTHER), held=True)
        self.assertEqual((self.moves, self.tally()), ([], ("p", 1, 0, 1, 0)))

    def test_held(self) -> None:
        """Who is off the list that it holds, this server knows itself."""
        self.publish("p", held=True)
        self.assertEqual(sorted(id_ for id_, _, _ in self.moves), self.ids)
        self.assertEqual(self.tally(), ("p", 3, 0, 0, 0))

    def test_of_others(self) -> None:
        """A plan without this server is none of its business, but takes the place of the one before."""
        self.publish("p", (self.ids[0], OTHER))
        payload = {"plan": "q", "moves": {"7": [[self.ids[1], OWN]]}, "held": False, "seconds": 100}
        self.fixture.database.run(lambda txn: txn.bus.publish(MOVE, payload, 0.0))
        self.fixture.advance(0.5)
        self.assertEqual((len(self.moves), self.cancelled), (1, [self.ids[0]]))
