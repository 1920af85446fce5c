"""Whether a host lives whose agent is late or gone: investigators are asked, one after the other, until one knows.

Each has a time of its own within a budget for them all, and none can harm the others: one that raises, runs late,
answers what is no verdict or is not there does not know, and what it did is on record as its reason. So is everything
else: who was asked, what each said, how long it took, and who decided.

This is the module that the author of an investigator imports; see docs/writing-an-investigator.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol
from uuid import UUID

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, DeferredSemaphore, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.attache import Attache
from cloudlb.agents.errors import CommandError
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, HostId, ServerId
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.domain.records import Finding, Investigation, Level, Verdict
from cloudlb.wire import Answer, Command, Opaque

__all__ = ["AT_ONCE", "ENTRY_POINTS", "Case", "Investigator", "Investigators", "Means", "SendsCommands", "Verdict"]

ENTRY_POINTS = "cloudlb.investigators"
AT_ONCE = 2000
"""Investigations at the same time. Each has a probe under way, which costs little; a switch that dies takes a
thousand hosts with it. Those that wait do so within their budget."""
MAX_REASON = 500
"""Characters of a reason that are kept."""

_LEVELS = {Verdict.UP: Level.INFO, Verdict.UNKNOWN: Level.WARN, Verdict.DOWN: Level.ERROR}


@frozen(kw_only=True)
class Case:
    """A host to look into."""

    host: Host
    """The row as the host's last session left it."""
    attache: Attache | None
    """The agent's link, if it is still open."""
    cause: HostEvent
    """PingTimeout, or AgentDisconnected: also of a host that was lost some time ago."""
    seconds: float = 0.0
    """How long the investigator that is given the case may take; whoever opens a case leaves it out."""


class SendsCommands(Protocol):
    """The part of :class:`cloudlb.agents.sender.Sender` that investigators use."""

    def send(
        self,
        host_id: HostId,
        commands: Sequence[Command | Opaque],
        *,
        timeout: float | None = None,
        stop_on_error: bool = True,
    ) -> Deferred[list[Answer | Opaque]]:
        """Send commands to a host that is Up on any server; fails with a CommandError only."""
        ...


@frozen(kw_only=True)
class Means:
    """What an investigator may use."""

    store: Store
    sender: SendsCommands
    server_id: Callable[[], ServerId]
    """This server."""
    reactor: Any = field(repr=False)
    """Tells the time, and opens connections."""


class Investigator:
    """Says whether a host lives. One instance serves all cases, many at the same time."""

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """Look into a case within ``case.seconds``, without blocking.

        Returns:
            Up or Down, which end the investigation, or UNKNOWN; and why, in one line for people to read. Down means
            that the host itself is known not to run: that it does not answer is no reason.
        """
        raise NotImplementedError


class Investigators:
    """The chain of them."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        clock: IReactorTime,
        rng: random.Random,
        investigators: Mapping[str, Investigator],
    ) -> None:
        """Begin with some, by the names that ``ha.investigators.order`` has for them."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._investigators = dict(investigators)
        self._broken: dict[str, str] = {}
        self._turns = DeferredSemaphore(AT_ONCE)
        self._hosts: dict[HostId, DeferredLock] = {}
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""

    def load(self, means: Means) -> None:
        """Add those of the entry points, each under its entry point's name; of one that cannot be made, note why."""
        for entry in entry_points(group=ENTRY_POINTS):
            try:
                if entry.name in self._investigators:
                    raise ValueError("an investigator of this name is there already")  # noqa: TRY301 - noted like others
                investigator = entry.load()(means)
                if not isinstance(investigator, Investigator):
                    raise TypeError(f"{entry.value} makes no Investigator")  # noqa: TRY301 - as above
            except Exception:  # noqa: BLE001 - foreign code, whatever it raises
                failure = Failure()  # type: ignore[no-untyped-call]  # Twisted has no types there
                self._broken[entry.name] = _told(f"could not be loaded: {failure.getErrorMessage()}")
                self.log.failure("The investigator {name} cannot be loaded", failure, name=entry.name)
            else:
                self._investigators[entry.name] = investigator

    async def investigate(self, case: Case) -> Investigation:
        """Ask until one knows, within ``ha.investigation.timeout``; on record when it is there. Never fails."""
        started = self._clock.seconds()
        settings = self._settings.current
        budget = _Budget(started + settings.investigation_timeout, settings.investigator_timeout)
        findings = await self._findings(case, settings.investigators, budget)
        last = findings[-1].verdict if findings else Verdict.UNKNOWN
        investigation = Investigation(
            uuid=str(UUID(int=self._rng.getrandbits(128), version=4)),
            host_id=case.host.id,
            server_id=self.server_id,
            cause=case.cause,
            started=started,
            duration=self._clock.seconds() - started,
            verdict=last,
            findings=tuple(findings),
        )
        await self._record(case, investigation)
        return investigation

    async def _findings(self, case: Case, names: Sequence[str], budget: _Budget) -> list[Finding]:
        """Ask when it is the host's turn: one at a time of each host, and only so many in all.

        Turns come in the order of the deadlines, and whoever has one ends by its own. So nobody waits past its own.
        """
        lock = self._hosts.setdefault(case.host.id, DeferredLock())
        try:
            async with lock, self._turns:
                return await self._ask_all(case, names, budget)
        finally:
            if not lock.locked:
                self._hosts.pop(case.host.id, None)

    async def _ask_all(self, case: Case, names: Sequence[str], budget: _Budget) -> list[Finding]:
        findings: list[Finding] = []
        for name in names:
            began = self._clock.seconds()
            seconds = min(float(budget.each), budget.deadline - began)
            verdict, reason = Verdict.UNKNOWN, "was not asked: no time was left"
            if seconds > 0:
                verdict, reason = await self._ask(name, evolve(case, seconds=seconds))
            duration = self._clock.seconds() - began
            findings.append(Finding(investigator=name, verdict=verdict, reason=reason, duration=duration))
            if verdict is not Verdict.UNKNOWN:
                break
        return findings

    def _ask(self, name: str, case: Case) -> Deferred[tuple[Verdict, str]]:
        """Ask one, whose answer comes within its time whatever it does."""
        investigator = self._investigators.get(name)
        if investigator is None:
            return succeed((Verdict.UNKNOWN, self._broken.get(name, "there is no investigator of this name")))
        # What comes when its time is over is nobody's any more.
        over = False

        def end() -> None:
            nonlocal over
            over = True
            if timer.active():
                timer.cancel()

        def cancelled(_: object) -> None:
            end()
            work.cancel()

        def say(verdict: Verdict, reason: str) -> None:
            if not over:
                end()
                said.callback((verdict, _told(reason)))

        def failed(failure: Failure) -> None:
            if not over and not isinstance(failure.value, StoreUnavailable | CommandError):
                self.log.failure("The investigator {name} failed", failure, name=name)
            say(Verdict.UNKNOWN, f"failed: {type(failure.value).__name__}: {failure.getErrorMessage()}")

        def late() -> None:
            say(Verdict.UNKNOWN, f"had no answer within {case.seconds:g} s")
            work.cancel()

        said: Deferred[tuple[Verdict, str]] = Deferred(cancelled)
        timer = self._clock.callLater(case.seconds, late)
        work = maybeDeferred(investigator.investigate, case)
        work.addCallback(lambda answer: say(*_verdict(answer))).addErrback(failed)
        return said

    async def _record(self, case: Case, investigation: Investigation) -> None:
        name, deciding = case.host.facts.name, investigation.decided_by
        outcome = f"{deciding.investigator}: {deciding.reason}" if deciding else "nobody knows"
        description = (
            f"Investigated host {name} ({case.cause.value}) for {investigation.duration:.1f} s: "
            f"{investigation.verdict.value}; {outcome}"
        )
        details = {
            "cause": case.cause.value,
            "verdict": investigation.verdict.value,
            "investigator": deciding.investigator if deciding else "",
            "duration": f"{investigation.duration:.3f}",
            "investigation": investigation.uuid,
        }

        def work(txn: Transaction) -> None:
            ended = investigation.started + investigation.duration
            txn.investigations.add(investigation)
            txn.hosts.looked_into(case.host.id, ended)
            txn.events.add(
                "HOST.INVESTIGATION",
                description,
                now=ended,
                level=_LEVELS[investigation.verdict],
                server_id=self.server_id,
                host_id=case.host.id,
                details=details,
            )

        self.log.info("{description}", description=description)
        try:
            await self._store.run(work)
        except StoreUnavailable as error:
            self.log.warn("The investigation of host {name} is not on record: {error}", name=name, error=error)
        except CancelledError:
            self.log.info("The investigation of host {name} is not on record: the server stops", name=name)
        except Exception:  # noqa: BLE001 - whatever it is, the verdict stands
            self.log.failure("The investigation of host {name} is not on record", name=name)


@frozen
class _Budget:
    """What an investigation may take."""

    deadline: float
    each: float
    """Seconds of each investigator."""


def _verdict(answer: object) -> tuple[Verdict, str]:
    match answer:
        case (Verdict() as verdict, str() as reason):
            return verdict, reason
    return Verdict.UNKNOWN, f"answered with a {type(answer).__name__}, which is no verdict with its reason"


def _told(reason: str) -> str:
    """A reason as it is kept: in one line, which a table and a log can show."""
    line = " ".join(reason.split())
    clean = "".join(character if character.isprintable() else "?" for character in line)
    return clean if len(clean) <= MAX_REASON else f"{clean[: MAX_REASON - 3]}..."
