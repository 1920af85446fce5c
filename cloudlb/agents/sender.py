"""The one way to send commands to a host, for everything above; see docs/commands.md.

Of a host that is here it is known in memory whether it can take a command: its resource state allows it or not. Nobody
is asked, and nothing is queried. Commands for any other host go to the router, which finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from math import ceil
from typing import Any, Protocol
from uuid import UUID, uuid4

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, CommandCancelled, CommandError, NotSent
from cloudlb.agents.hooks import Hooks
from cloudlb.agents.journalled import is_journalled
from cloudlb.agents.late_answers import LateAnswers, has_failed
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.request_ends import Record, RequestEnds
from cloudlb.agents.requests import Answers
from cloudlb.agents.sequences import Sequences
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId
from cloudlb.domain.permissions import refusal
from cloudlb.metrics.meters import Meters
from cloudlb.wire import (
    COMMAND_ID,
    LOGGING_CONTEXT,
    STOPPED_BY_PREVIOUS_FAILURE,
    Answer,
    Command,
    Flag,
    Opaque,
    context_of,
    simple_name,
    wire_name,
)

Commands = Sequence[Command | Opaque]
Outcome = Answer | Opaque | CommandError
Receive = Callable[[int, Outcome], object]
"""Takes the index of a command and its end."""

MAX_TIMEOUT = 7 * 86400
"""Seconds that any command may take, whoever says so: a waiter that waits for ever is a leak."""


class Router(Protocol):
    """Takes commands to hosts that are not Up on this server."""

    def send(
        self, host_id: HostId, outgoing: Commands, *, timeout: float, flags: Flag, behind: Deferred[Any] | None = None
    ) -> Deferred[Answers]:
        """Send a request to wherever its host is, or comes to soon.

        Args:
            host_id: whom to.
            outgoing: as they are to arrive.
            timeout: seconds until the answers are overdue.
            flags: stop_on_error and in_sequence as wanted.
            behind: of a request in sequence: fires, never with a failure, when those before it have ended that were
                sent without the router.

        Returns:
            One answer per command, or a failure, always a CommandError. It may be cancelled.

        Raises:
            KeyError: a command's class has no name on the wire.
            TypeError: a command holds what JSON cannot express.
        """
        ...

    def in_turn(self, host_id: HostId) -> bool:
        """Whether requests in sequence are under way to a host: the next one has to go behind them."""
        ...


class Sender:
    """Sends commands to hosts, on whichever server their agents are."""

    log = Logger()

    def __init__(
        self,
        directory: Directory,
        settings: LiveSettings,
        hooks: Hooks,
        clock: IReactorTime,
        meters: Meters,
        new_uuid: Callable[[], UUID] = uuid4,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._hooks = hooks
        self._new_uuid = new_uuid
        # As long as CloudStack's, and begun anywhere, so that those of several servers and lives hardly meet.
        self._logids = count(new_uuid().int)
        self._clock = clock
        self._late = LateAnswers(clock)
        self._sequences = Sequences()
        self._ends = RequestEnds(clock, self.log, meters)
        self.router: Router | None = None
        """Takes what is for hosts that are not here; None: it fails at once."""

    def send(
        self,
        host_id: HostId,
        commands: Commands,
        *,
        timeout: float | None = None,
        stop_on_error: bool = True,
        in_sequence: bool = False,
    ) -> Deferred[Answers]:
        """Send commands in one request.

        Args:
            host_id: whom to.
            commands: carried out one after another.
            timeout: seconds for all of them; None: as they say themselves, or ``wait``. ``commands.timeout`` comes
                before either.
            stop_on_error: after one that failed the others are not carried out, and answered with "Stopped by previous
                failure".
            in_sequence: wait for the end of those sent before in sequence.

        Returns:
            An answer for each command, or a failure, always a CommandError. It may be cancelled.
        """
        if not commands:
            return succeed([])
        record = self._ends.begin(f"host {host_id}", len(commands))
        sent = self._send(host_id, commands, record, timeout, stop_on_error=stop_on_error, in_sequence=in_sequence)
        return sent.addBoth(self._ends.ended, record)

    def _send(
        self,
        host_id: HostId,
        commands: Commands,
        record: Record,
        timeout: float | None,
        *,
        stop_on_error: bool,
        in_sequence: bool,
    ) -> Deferred[Answers]:
        try:
            attache = self._attache(host_id, commands, in_sequence=in_sequence)
        except AgentUnavailable as error:
            return fail(error)
        seconds = self.seconds(commands, timeout)
        logid = f"{next(self._logids) % 2**32:08x}"
        outgoing = [self._prepared(command, max(1, ceil(seconds)), logid) for command in commands]
        flags = (Flag.STOP_ON_ERROR if stop_on_error else Flag(0)) | (Flag.IN_SEQUENCE if in_sequence else Flag(0))
        if attache is not None:
            record.host = f"host {attache.host.facts.name}"
        name = record.host
        try:
            sent = self._sent(attache, host_id, outgoing, seconds, flags)
        except (KeyError, TypeError) as error:
            # Of a class without a name on the wire, or with what JSON cannot express.
            return fail(AgentUnavailable(f"{name} cannot be sent it: {error}"))
        if isinstance(getattr(sent, "result", None), Failure):
            return sent
        self._hooks.tell(lambda hook: hook.commands_seen(host_id, outgoing))
        ids = [id_ for command in outgoing if (id_ := command_id(command)) is not None]
        record.sent = ", ".join(simple_name(wire_name(command)) for command in outgoing)
        record.logid, record.changes = str(context_of(outgoing[0]).get(LOGGING_CONTEXT)), bool(ids)
        # Of a host elsewhere its server says whether it keeps a journal, should it come to that.
        if (attache is None or attache.journals) and len(ids) == len(outgoing):
            sent = self._late.follow(host_id, ids, sent, name=name, timeout=seconds, stop_on_error=stop_on_error)
        # They may be large and the wait long.
        overdue = outgoing if self._hooks.watch_time_outs else ()
        return sent.addCallbacks(
            lambda answers: self._answered(host_id, answers), lambda failure: self._failed(host_id, overdue, failure)
        )

    def send_each(
        self,
        host_id: HostId,
        commands: Commands,
        receive: Receive,
        *,
        timeout: float | None = None,
        stop_on_error: bool = True,
        in_sequence: bool = False,
    ) -> Deferred[None]:
        """Send commands in a request for each, and tell the end of each when it comes.

        With ``stop_on_error`` the next one is sent when the one before has ended, else all are sent at once.

        Args:
            host_id: as for :meth:`send`, and so are the others.
            commands: in their order.
            receive: called once for each; what it raises is logged.
            timeout: seconds for each.
            stop_on_error: after one that failed, or ended without an answer, the others are not sent.
            in_sequence: for each.

        Returns:
            Fires when all have ended, never with a failure. Cancelling it cancels those that have not.
        """

        def send(command: Command | Opaque) -> Deferred[Outcome]:
            sent = self.send(host_id, [command], timeout=timeout, stop_on_error=stop_on_error, in_sequence=in_sequence)
            return sent.addCallbacks(lambda answers: answers[0], _caught)

        if stop_on_error:
            return Deferred.fromCoroutine(self._each_after_the_other(commands, send, receive))
        told = [
            send(command).addCallback(partial(self._tell, receive, index)) for index, command in enumerate(commands)
        ]
        return DeferredList(told).addCallback(lambda _: None)

    def reported(self, id_: str, answer: Answer | Opaque, host_id: HostId) -> bool:
        """Give an answer that a host has told of on another session to who waits for it; whether somebody did.

        Args:
            id_: of the command.
            answer: its answer.
            host_id: who tells it: only who waits for this host gets it.
        """
        return self._late.reported(id_, answer, host_id)

    def seconds(self, commands: Commands, timeout: float | None) -> float:
        """How long a request may take, as CloudStack ranks it [AgentManagerImpl.getTimeout]; the longest of several.

        It is MAX_TIMEOUT at most.
        """
        settings = self._settings.current
        by_name = settings.command_timeouts
        given = timeout if timeout is not None and timeout > 0 else None
        longest = max(
            by_name.get(simple_name(wire_name(command))) or given or _wait(command) or settings.wait
            for command in commands
        )
        return min(longest, MAX_TIMEOUT)

    def stop(self) -> None:
        """Wait for no more reports."""
        self._late.stop()

    def _attache(self, host_id: HostId, commands: Commands, *, in_sequence: bool) -> Attache | None:
        """Who takes these commands to the host; None: the router. AgentUnavailable says why nobody does."""
        attache = self._directory.get(host_id)
        if attache is None or not attache.owns_host:
            if self.router is None:
                raise AgentUnavailable(
                    f"host {host_id} has no agent connected to this server, or there is no such host"
                )
            return None
        host = attache.host
        if host.status is not HostStatus.UP:
            if self.router is None:
                raise AgentUnavailable(f"host {host.facts.name} is not Up yet: it is {host.status.value}")
            return None
        if why := refused(host, commands):
            raise AgentUnavailable(why)
        behind_others = self.router is not None and (
            self.router.in_turn(host_id) or self._sequences.elsewhere(host_id, attache)
        )
        return None if in_sequence and behind_others else attache

    def _sent(
        self, attache: Attache | None, host_id: HostId, outgoing: Commands, timeout: float, flags: Flag
    ) -> Deferred[Answers]:
        router = self.router
        if attache is None:
            assert router is not None, "nobody takes it"
            behind = self._sequences.sent(host_id) if Flag.IN_SEQUENCE in flags else None
            return router.send(host_id, outgoing, timeout=timeout, flags=flags, behind=behind)
        sent = attache.send(outgoing, timeout=timeout, flags=flags, own=False)
        if router is None or Flag.IN_SEQUENCE not in flags:
            return sent
        self._sequences.follow(host_id, attache, sent)
        deadline = self._clock.seconds() + timeout

        def follow(failure: Failure) -> Deferred[Answers]:
            """The host has gone before the turn of these commands came."""
            failure.trap(NotSent)  # type: ignore[no-untyped-call]  # Twisted has no types there
            assert isinstance(failure.value, NotSent)
            remaining = max(0.0, deadline - self._clock.seconds())
            behind = self._sequences.sent(host_id)
            return router.send(host_id, failure.value.commands, timeout=remaining, flags=flags, behind=behind)

        return sent.addErrback(follow)

    def _prepared(self, command: Command | Opaque, wait: int, logid: str) -> Command | Opaque:
        """The command as it goes out: with the time that it has, a logid, and an id if it is journalled."""
        context = {LOGGING_CONTEXT: logid, **context_of(command)}
        if is_journalled(wire_name(command)) and COMMAND_ID not in context:
            context = {**context, COMMAND_ID: str(self._new_uuid())}
        if isinstance(command, Opaque):
            return Opaque(command.wire_name, {**command.fields, "wait": wait, "contextMap": context})
        return evolve(command, wait=wait, context_map=context)

    def _answered(self, host_id: HostId, answers: Answers) -> Answers:
        self._hooks.tell(lambda hook: hook.answers_seen(host_id, answers))
        return answers

    def _failed(self, host_id: HostId, commands: Commands, failure: Failure) -> Failure:
        if isinstance(failure.value, AgentTimedOut):
            self._hooks.tell(lambda hook: hook.timed_out(host_id, commands))
        return failure

    async def _each_after_the_other(
        self, commands: Commands, send: Callable[[Command | Opaque], Deferred[Outcome]], receive: Receive
    ) -> None:
        outcome: Outcome | None = None
        for index, command in enumerate(commands):
            if isinstance(outcome, CommandCancelled):
                pass
            elif outcome is not None and (isinstance(outcome, CommandError) or has_failed(outcome)):
                outcome = Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE)
            else:
                outcome = await send(command)
            self._tell(receive, index, outcome)

    def _tell(self, receive: Receive, index: int, outcome: Outcome) -> None:
        try:
            receive(index, outcome)
        except Exception:  # noqa: BLE001 - the other commands must have their ends, too
            self.log.failure("Failed to take the end of a command")


def command_id(command: Command | Opaque) -> str | None:
    """The id of a journalled command, None if it has none."""
    id_ = context_of(command).get(COMMAND_ID)
    return id_ if isinstance(id_, str) and is_journalled(wire_name(command)) else None


def refused(host: Host, commands: Commands) -> str | None:
    """Why a host does not take commands in its resource state; one that it does not take is enough."""
    for command in commands:
        if why := refusal(wire_name(command), host.resource_state, _bypasses(command)):
            return f"host {host.facts.name}: {why}"
    return None


def _caught(failure: Failure) -> CommandError:
    error = failure.value
    assert isinstance(error, CommandError), f"a request failed with {error!r}"
    return error


def _wait(command: Command | Opaque) -> int | None:
    """The seconds that a command asks for itself."""
    wait = command.fields.get("wait") if isinstance(command, Opaque) else command.wait
    return wait if type(wait) is int and wait > 0 else None


def _bypasses(command: Command | Opaque) -> bool:
    if isinstance(command, Opaque):
        return command.fields.get("bypassHostMaintenance") is True
    return command.bypass_host_maintenance
