"""Stories of jobs on a server that lives, and that the others take for dead because it cannot write its heartbeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from cloudlb.agents.command_orders import TOPIC, Order
from cloudlb.cluster.fencing import WITNESSES
from cloudlb.domain.models import Job, JobStatus
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.wire import MaintainCommand
from tests.scenarios.case import WorldCase
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B = "10.0.0.1", "10.0.0.2"
PING = 6


def hold_up_database(server: ServerProcess) -> Callable[[], None]:
    """Have a server's writes fail, and its reads be done at once and come back late; returns what ends it."""
    database = server.database
    kept, late = (database.run, database.read), list[tuple[Deferred[Any], Deferred[Any]]]()

    def run(work: Callable[..., Any]) -> Deferred[Any]:
        return fail(StoreUnavailable("the database is gone"))

    def read(work: Callable[..., Any]) -> Deferred[Any]:
        late.append((kept[1](work), Deferred()))
        return late[-1][1]

    database.run, database.read = run, read  # type: ignore[method-assign]

    def end() -> None:
        database.run, database.read = kept  # type: ignore[method-assign]
        for done, waiter in late:
            done.chainDeferred(waiter)

    return end


class TakenForDeadTests(WorldCase):
    """A has all agents, and B starts a job for one of them."""

    def tearDown(self) -> None:
        """What could not be written meanwhile is in the log."""
        self.flushLoggedErrors(StoreUnavailable)

    def test_row_is_read_late(self) -> None:
        """What others have said was never sent is not sent by a server that has read before that it should be."""
        play = self.world(servers=2, agents=WITNESSES, algorithm="static", ping_interval=PING)
        agent, holder = play.agents[1], play.servers[A]
        order = Order(host=agent.name, command=MaintainCommand(), timeout=60, key=None, account_id=1)
        held_up: list[Callable[[], None]] = []
        # A hears of the job, and reads its row from then on.
        holder.service.bus._subscribers[TOPIC].insert(0, lambda _: held_up.append(hold_up_database(holder)))
        job = play.wait_for(Deferred.fromCoroutine(play.servers[B].service.command_jobs.start(order)))
        while self.job(play, job).status is JobStatus.RUNNING:
            play.advance(0.1)
        self.assertEqual("not carried out", self.job(play, job).result["errortext"].partition(":")[0])
        [end] = held_up
        end()
        play.advance(60)
        self.assertEqual([], agent.take(MaintainCommand))
        self.assert_up_once(play)

    def job(self, play: World, job: Job) -> Job:
        """As it is now."""
        found = play.read(lambda txn: txn.jobs.get(job.uuid))
        assert found is not None
        return found
