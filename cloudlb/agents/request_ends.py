"""What is told of a request when it has ended: it is counted, and the log has a line if that is anybody's concern."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.errors import AgentBusy, AgentTimedOut, BadAnswer, CommandCancelled, CommandError, LinkLost
from cloudlb.agents.late_answers import has_failed
from cloudlb.agents.requests import Answers
from cloudlb.metrics.meters import Meters
from cloudlb.net.sparse_log import SparseLog

_RESULTS: Mapping[type[CommandError], str] = {
    AgentBusy: "busy",
    LinkLost: "lost",
    AgentTimedOut: "timed_out",
    CommandCancelled: "cancelled",
    BadAnswer: "bad_answer",
}


@define
class Record:
    """What is kept of a request for the log, since its commands may be large and the wait long."""

    began: float
    host: str
    commands: int
    """How many."""
    sent: str = ""
    """Their names; empty: they were not sent."""
    logid: str = ""
    changes: bool = False
    """Whether any of them changes something."""


class RequestEnds:
    """Those of one server."""

    def __init__(self, clock: IReactorTime, log: Logger, meters: Meters) -> None:
        self._clock = clock
        self._log = log
        self._queries = SparseLog(clock, log)
        self._meters = meters

    def begin(self, host: str, commands: int) -> Record:
        """A request of so many commands is about to be sent."""
        return Record(self._clock.seconds(), host, commands)

    def ended(self, outcome: Answers | Failure, record: Record) -> Answers | Failure:
        """Tell of the end of a request, and return it as it is."""
        if isinstance(outcome, Failure):
            result = result_name(outcome.value)
            self._meters.commands.labels(result).inc(record.commands)
        else:
            failed = sum(map(has_failed, outcome))
            result = "failed" if failed else "answered"
            if failed:
                self._meters.commands.labels("failed").inc(failed)
            self._meters.commands.labels("answered").inc(record.commands - failed)
        seconds = self._clock.seconds() - record.began
        self._meters.command_times.observe(seconds)
        if record.sent and (record.changes or result != "answered"):
            # Queries may fail by the thousand, as where a host is busy.
            log = self._log.info if record.changes else self._queries.info
            log(
                "{commands} for {host}: {result} after {seconds:.3f} s (logid:{logid})",
                commands=record.sent,
                host=record.host,
                result=result,
                seconds=seconds,
                logid=record.logid,
            )
        return outcome


def result_name(error: BaseException | None) -> str:
    """What a request that has no answer is counted under."""
    for kind, result in _RESULTS.items():
        if isinstance(error, kind):
            return result
    return "unavailable"
