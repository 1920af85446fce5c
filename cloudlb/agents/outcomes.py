"""How a job that sends a command ends: with the command's answer, or with an error that says what is known of it.

The text of an error begins with its kind, up to the first colon:

=================== ================================================================================================
``unavailable``     the host could not be reached, or its state forbids the command; the command was not sent
``busy``            too much waited for the host already; the command was not sent
``link lost``       the agent had the command when its link was lost, and whether it was carried out is not known
``timed out``       the agent did not answer in time
``bad answer``      what came back makes no sense
``cancelled``       the command was cancelled
``not carried out`` the command certainly never reached its host
``unknown``         the server that had the job is gone, and nobody knows what became of the command
=================== ================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from cloudlb.agents.errors import AgentBusy, AgentTimedOut, BadAnswer, CommandCancelled, CommandError, LinkLost
from cloudlb.domain.models import JobStatus
from cloudlb.domain.ports import Transaction
from cloudlb.wire import Answer, Opaque, fields_of, wire_name

# CloudStack's ApiErrorCode.
INTERNAL = 530
NO_CAPACITY = 533
UNAVAILABLE = 534

_KINDS: tuple[tuple[type[CommandError], str, int], ...] = (
    (AgentBusy, "busy", NO_CAPACITY),
    (LinkLost, "link lost", UNAVAILABLE),
    (AgentTimedOut, "timed out", INTERNAL),
    (CommandCancelled, "cancelled", INTERNAL),
    (BadAnswer, "bad answer", INTERNAL),
    (CommandError, "unavailable", UNAVAILABLE),
)


@frozen
class Outcome:
    """What is written into the row of a job that ends."""

    status: JobStatus
    code: int
    result: Mapping[str, Any]

    def write(self, txn: Transaction, uuid: str, now: float) -> bool:
        """End a job; False if it had ended."""
        return txn.jobs.finish(uuid, self.status, self.code, self.result, now)


def answered(answer: Answer | Opaque) -> Outcome:
    """The command has its answer, whatever that says."""
    fields = fields_of(answer)
    details = fields.get("details")
    return Outcome(
        JobStatus.SUCCEEDED,
        0,
        {
            "class": wire_name(answer),
            "result": fields.get("result") is True,
            **({"details": details} if details is not None else {}),
            "answer": fields,
        },
    )


def failed(error: CommandError) -> Outcome:
    """The command ended without an answer."""
    kind, code = next((kind, code) for class_, kind, code in _KINDS if isinstance(error, class_))
    return _error(code, f"{kind}: {error}")


def unavailable(why: str) -> Outcome:
    """The command was not sent: nobody has its host."""
    return _error(UNAVAILABLE, f"unavailable: {why}")


def not_carried_out(why: str) -> Outcome:
    """The command certainly never reached its host."""
    return _error(UNAVAILABLE, f"not carried out: {why}")


def unknown(why: str) -> Outcome:
    """Nobody knows what became of the command."""
    return _error(INTERNAL, f"unknown: {why}")


def _error(code: int, text: str) -> Outcome:
    return Outcome(JobStatus.FAILED, code, {"errorcode": code, "errortext": text})
