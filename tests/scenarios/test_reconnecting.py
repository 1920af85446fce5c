"""Stories of agents that an operator has connect anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from cloudlb.domain.models import JobStatus
from cloudlb.domain.ports import StoreUnavailable
from tests.scenarios.case import WorldCase

A, B = "10.0.0.1", "10.0.0.2"


def _lost(work: Callable[..., Any]) -> Deferred[Any]:
    return fail(StoreUnavailable("the database is gone"))


class ReconnectingTests(WorldCase):
    """An agent on A, and B is asked."""

    def test_nothing_can_be_written(self) -> None:
        """A tells the agent, or finds that it has left, and cannot write so: others end the job at its deadline."""
        for left in (False, True):
            play = self.world(servers=2, agents=1)
            agent, holder = play.agents[1], play.servers[A].database
            self.assertEqual(A, agent.server)
            kept = holder.run
            holder.run = _lost  # type: ignore[method-assign]
            if left:
                play.kill_agent(agent)
                play.advance(0.1)
            operations = play.servers[B].service.operations
            asked = play.wait_for(Deferred.fromCoroutine(operations.reconnect_host(play.row(agent).id, 1)))
            play.advance(1)
            holder.run = kept  # type: ignore[method-assign]
            if left:
                play.restart_agent(agent)
            else:
                self.assertEqual(B, agent.server)
            play.advance(70)
            self.assert_up_once(play)
            ended = play.read(lambda txn, job=asked.uuid: txn.jobs.get(job))  # type: ignore[misc]  # job is bound
            self.assertEqual((JobStatus.FAILED, "unknown"), (ended.status, ended.result["errortext"][:7]))
