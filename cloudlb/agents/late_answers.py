"""Waiters for journalled commands, which may get their answers when the link that the commands went on is gone.

An agent of ours keeps the answer to a journalled command and tells it on its next session. So whoever waits for such
commands is not told of a lost link: they wait until their deadline, and meanwhile a report may bring the answers. A
report may also come first, while a link that is dead has not been noticed to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from cloudlb.agents.errors import AgentTimedOut, CommandCancelled, CommandError, LinkLost
from cloudlb.agents.requests import MAX_REQUESTS, Answers, shown_seconds
from cloudlb.domain.models import HostId
from cloudlb.wire import STOPPED_BY_PREVIOUS_FAILURE, Answer, Opaque


@define(eq=False)
class _Waiter:
    """Who waits for the answers to one request."""

    host_id: HostId
    name: str
    """What messages call the host."""
    ids: Sequence[str]
    """Of its commands, in their order."""
    stop_on_error: bool
    timeout: float
    deadline: float
    sent: Deferred[Answers]
    ended: Deferred[Answers] = field(init=False)
    answers: dict[str, Answer | Opaque] = field(factory=dict)
    """What reports have brought so far, by id."""
    timer: IDelayedCall | None = None
    """Runs from the loss of the link; until then the request has one of its own."""

    def complete(self) -> Answers | None:
        """All answers, if those that are known leave none to wait for."""
        answers: Answers = []
        for id_ in self.ids:
            if (answer := self.answers.get(id_)) is not None:
                answers.append(answer)
            elif self.stop_on_error and answers and has_failed(answers[-1]):
                # It was not carried out, and nobody will ever tell of it.
                answers.append(Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE))
            else:
                return None
        return answers


class LateAnswers:
    """Of all hosts whose commands this server has sent."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiters: dict[str, list[_Waiter]] = {}
        """By the ids of their commands; who sends an id twice waits twice."""
        self._lost: Counter[HostId] = Counter()

    def __len__(self) -> int:
        """How many commands are waited for."""
        return len(self._waiters)

    def follow(
        self,
        host_id: HostId,
        ids: Sequence[str],
        sent: Deferred[Answers],
        *,
        name: str,
        timeout: float,
        stop_on_error: bool,
    ) -> Deferred[Answers]:
        """Wait for a request's answers, also beyond the loss of its link.

        Args:
            host_id: of the host that it goes to.
            ids: of its commands.
            sent: what the attache returned for it, or the router.
            name: what messages call the host.
            timeout: seconds from now.
            stop_on_error: as it was sent.
        """
        waiter = _Waiter(host_id, name, ids, stop_on_error, timeout, self._clock.seconds() + timeout, sent)
        ended: Deferred[Answers] = Deferred(lambda _: self._cancelled(waiter))
        waiter.ended = ended
        for id_ in ids:
            self._waiters.setdefault(id_, []).append(waiter)
        sent.addCallbacks(lambda answers: self._end(waiter, answers), lambda failure: self._failed(waiter, failure))
        return ended

    def reported(self, id_: str, answer: Answer | Opaque, host_id: HostId) -> bool:
        """Take an answer that a host has told on another session; whether somebody waited for it.

        Args:
            id_: of the command.
            answer: its answer.
            host_id: the host that tells it, which must be the one that the command was sent to.
        """
        waiters = [each for each in self._waiters.get(id_, ()) if each.host_id == host_id]
        for waiter in waiters:
            waiter.answers[id_] = answer
            if (answers := waiter.complete()) is not None:
                self._end(waiter, answers)
        return bool(waiters)

    def stop(self) -> None:
        """Wait no more: the server stops."""
        for waiters in list(self._waiters.values()):
            for waiter in list(waiters):
                self._end(waiter, LinkLost(f"{waiter.name} has not answered: the server is stopping"))

    def _failed(self, waiter: _Waiter, failure: Failure) -> None:
        error = failure.value
        assert isinstance(error, CommandError), f"a request failed with {error!r}"
        lost = isinstance(error, LinkLost) and error.told_later and not waiter.ended.called
        if not lost or self._lost[waiter.host_id] >= MAX_REQUESTS:
            self._end(waiter, error)
            return
        self._lost[waiter.host_id] += 1
        overdue = AgentTimedOut(
            f"{waiter.name} has lost its link and not told of what it was sent in time, which was "
            f"{shown_seconds(waiter.timeout)}"
        )
        remaining = max(0.0, waiter.deadline - self._clock.seconds())
        waiter.timer = self._clock.callLater(remaining, self._end, waiter, overdue)

    def _cancelled(self, waiter: _Waiter) -> None:
        if waiter.timer is None:
            # Comes back as a failure.
            waiter.sent.cancel()
        else:
            self._end(waiter, CommandCancelled(f"what {waiter.name} was sent was cancelled"))

    def _end(self, waiter: _Waiter, outcome: Answers | CommandError) -> None:
        if waiter.ended.called:
            return
        self._forget(waiter)
        if isinstance(outcome, CommandError):
            waiter.ended.errback(outcome)
        else:
            waiter.ended.callback(outcome)

    def _forget(self, waiter: _Waiter) -> None:
        for id_ in set(waiter.ids):
            waiters = [each for each in self._waiters[id_] if each is not waiter]
            if waiters:
                self._waiters[id_] = waiters
            else:
                del self._waiters[id_]
        if waiter.timer is None:
            return
        if waiter.timer.active():
            waiter.timer.cancel()
        self._lost[waiter.host_id] -= 1
        if not self._lost[waiter.host_id]:
            del self._lost[waiter.host_id]


def has_failed(answer: Answer | Opaque) -> bool:
    """Whether an answer says that its command failed; one of an unknown class may not say."""
    return answer.fields.get("result") is False if isinstance(answer, Opaque) else not answer.result
