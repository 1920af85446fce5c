"""Stories of direct hosts that are handed from server to server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from cloudlb.agents.departures import LOADED_WITHIN, TOLD_AGAIN
from cloudlb.agents.direct_resources import CannotLoad
from cloudlb.agents.moves import MoveEnd, MoveReason
from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import DIRECT_AGENT_LOAD_SIZE
from cloudlb.wire import CheckHealthCommand
from tests.scenarios.test_direct_hosts import SCAN, A, B, DirectCase
from tests.support.results import result_of
from tests.support.server_process import ServerProcess
from tests.support.world import World

UP = ["Connecting", "Up"]


class DirectMoveTests(DirectCase):
    """Two servers, and hosts that run on one of them."""

    def start(self, number: int = 1, **properties: str) -> tuple[World, ServerProcess, ServerProcess, list[str]]:
        """A world, the server that has these hosts, the other one, and the hosts' names."""
        world = self.servers(agents=0)
        names = [f"sim-{number}" for number in range(number)]
        world.stop_server(world.servers[B])
        world.advance(10)
        for name in names:
            self.add(world, name, **properties)
        world.advance(2)
        world.restart_server(world.servers[B])
        world.advance(5)
        return world, world.servers[A], world.servers[B], names

    def move(self, world: World, name: str, target: ServerProcess) -> Deferred[MoveEnd]:
        """Have a host's server hand it over."""
        (holder,) = self.holders(world, name)
        attache = holder.attache(self.host(world, name).id)
        assert attache is not None
        hosts = HostList((target.address, holder.address))
        return holder.service.moves.move(attache, hosts, reason=MoveReason.LIST, why="a test wants it")

    def test_handed_over(self) -> None:
        """It is Up all the while; what is under way is answered by the old server, and then its resource is closed."""
        world, old, new, (name,) = self.start(simulator_delay="3")
        host = self.host(world, name)
        sent = old.service.sender.send(host.id, [CheckHealthCommand()], timeout=20)
        world.advance(0.5)
        moved = self.move(world, name, new)
        world.advance(1)
        self.assertEqual(result_of(moved), MoveEnd.MOVED)
        self.assertEqual([new], self.holders(world, name))
        self.assertEqual((old.service.direct_hosts.running, sent.called), (1, False))
        world.advance(3)
        self.assertEqual(len(result_of(sent)), 1)
        self.assertEqual(old.service.direct_hosts.running, 0)
        self.assertEqual(len(self.send(world, name, CheckHealthCommand())), 1)
        world.advance(5 * SCAN)
        self.assertEqual([new], self.holders(world, name))
        self.assertEqual(UP, self.story(world, name))
        self.assertEqual([], world.stale_writes())

    def test_a_server_that_cannot_load_it(self) -> None:
        """Nothing changes."""
        world, old, new, (name,) = self.start()

        async def lacking(host: Any) -> Any:
            raise CannotLoad("no module named only_here")

        new.service.direct_hosts._loader.load = lacking  # type: ignore[method-assign]
        before = self.host(world, name)
        moved = self.move(world, name, new)
        world.advance(LOADED_WITHIN + 1)
        self.assertEqual(result_of(moved), MoveEnd.STAYED)
        self.assertEqual([old], self.holders(world, name))
        self.assertEqual((UP, before.session), (self.story(world, name), self.host(world, name).session))

    def test_the_new_server_dies(self) -> None:
        """Before or after it has the host, which ends Up on the old one."""
        for delay in (0.0, 0.5):
            world, old, new, (name,) = self.start(simulator_delay="1")
            self.move(world, name, new)
            world.advance(delay)
            world.kill_server(new)
            world.advance(40)
            self.assertEqual([old], self.holders(world, name))
            self.assertEqual("Up", self.host(world, name).status.value)

    def test_the_new_server_starts_again(self) -> None:
        """It is told again, for it was told before it could hear."""
        world, old, new, (name,) = self.start()
        world.kill_server(new)
        moved = self.move(world, name, new)
        world.advance(1)
        world.restart_server(new)
        world.advance(TOLD_AGAIN)
        self.assertEqual(result_of(moved), MoveEnd.MOVED)
        self.assertEqual([new], self.holders(world, name))
        self.assertEqual(UP, self.story(world, name))
        self.assertEqual(old.service.direct_hosts.running, 0)

    def test_a_server_that_takes_its_time(self) -> None:
        """It is told again, and loads the host once."""
        world, _, new, (name,) = self.start()
        load, loading = new.service.direct_hosts._loader.load, []

        async def slowly(host: Any) -> Any:
            loading.append(host.facts.name)
            await deferLater(new.machine, 2.5 * TOLD_AGAIN, lambda: None)
            return await load(host)

        new.service.direct_hosts._loader.load = slowly  # type: ignore[method-assign]
        moved = self.move(world, name, new)
        world.advance(4 * TOLD_AGAIN)
        self.assertEqual((result_of(moved), loading), (MoveEnd.MOVED, [name]))
        self.assertEqual([new], self.holders(world, name))

    def test_the_old_server_dies(self) -> None:
        """The new one has the host soon, as after any death."""
        world, old, new, (name,) = self.start()
        self.move(world, name, new)
        world.advance(0.05)
        world.kill_server(old)
        world.advance(40)
        self.assertEqual([new], self.holders(world, name))
        self.assertEqual("Up", self.host(world, name).status.value)

    def test_no_more_at_once_than_may_be_loaded(self) -> None:
        """The others follow as soon as there is room."""
        world, _, new, names = self.start(10)
        world.change_setting(DIRECT_AGENT_LOAD_SIZE, "2")
        world.advance(1)
        loading: list[int] = []
        kept = new.service.direct_hosts._loader.load

        async def slow(host: Any) -> Any:
            loading.append(len(new.service.direct_hosts._loading))
            ready: Deferred[None] = Deferred()
            new.machine.callLater(1, ready.callback, None)
            await ready
            return await kept(host)

        new.service.direct_hosts._loader.load = slow  # type: ignore[method-assign]
        moves = [self.move(world, name, new) for name in names]
        world.advance(8)
        self.assertLessEqual(max(loading), 2)
        self.assertEqual({result_of(move) for move in moves}, {MoveEnd.MOVED})
        self.assertEqual({tuple(self.story(world, name)) for name in names}, {tuple(UP)})

    def test_a_server_that_is_being_emptied(self) -> None:
        """Its hosts go to the other, are Up all the while, and do not come back to it."""
        world, old, new, names = self.start(6, simulator_delay="2")
        hosts = [self.host(world, name) for name in names]
        sent = [old.service.sender.send(host.id, [CheckHealthCommand()], timeout=20) for host in hosts]
        world.advance(0.1)
        orders = old.service.server_orders
        world.wait_for(Deferred.fromCoroutine(orders.prepare_for_maintenance(old.service.membership.own.id, 1)))
        world.advance(10)
        for name in names:
            self.assertEqual([new], self.holders(world, name))
            self.assertEqual(UP, self.story(world, name))
        self.assertEqual([len(result_of(answers)) for answers in sent], [1] * 6)
        (row,) = [s for s in world.read(lambda txn: txn.servers.all()) if s.id == old.service.membership.own.id]
        self.assertEqual(row.state.value, "Maintenance")
        world.kill_server(new)
        world.advance(40)
        # Nobody else is there.
        for name in names:
            self.assertEqual([old], self.holders(world, name))
        self.assertEqual([], world.stale_writes())
