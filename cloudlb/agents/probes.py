"""Questions to hosts about other hosts, which reach a host on whichever server its agent is.

On this server a question goes to the agent at once. To a host of another server it goes by the bus: a message
``host.probe``, and ``host.probed`` with the answers or the error. Nothing of it is kept: who asks waits for a time,
what comes later is nobody's, and what a server cannot take on is not done. Only questions go this way, because a
message may be delivered twice, or late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, CommandError
from cloudlb.agents.requests import Answers
from cloudlb.agents.sender import Sender
from cloudlb.domain.models import Host, HostId, ServerId
from cloudlb.domain.ports import Bus, Store, StoreUnavailable, Transaction
from cloudlb.net.batch import Batch
from cloudlb.net.in_order import InOrder
from cloudlb.net.spawn import spawn
from cloudlb.wire import (
    Answer,
    BodyError,
    CheckOnHostCommand,
    Command,
    Opaque,
    PingTestCommand,
    read_contents,
    write_contents,
)

PROBE = "host.probe"
"""A question for a server's host: {"probe", "host_id", "server_id", "commands": JSON, "timeout": seconds}."""
PROBED = "host.probed"
"""What came of it: {"probe", "answers": JSON} or {"probe", "error"}."""
QUESTIONS = (CheckOnHostCommand, PingTestCommand)
"""What a server asks its hosts on behalf of others."""
AT_ONCE = 1000
"""Most questions of other servers that are under way on this one; to one more the answer is that it cannot be asked."""
MAX_TIMEOUT = 3600.0
"""Seconds that a question may take at most, whatever its message says."""
_BATCH = 200
"""Most messages of one transaction."""


@frozen
class _Message:
    topic: str
    payload: Mapping[str, Any]


class Probes:
    """Asks hosts, and lets other servers ask those of this one."""

    log = Logger()

    def __init__(
        self, store: Store, bus: Bus, sender: Sender, clock: IReactorTime, new_uuid: Callable[[], UUID] = uuid4
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._new_uuid = new_uuid
        self._waiting: dict[str, Deferred[Answers]] = {}
        self._under_way = InOrder[Deferred[None]]()
        self._messages: Batch[_Message, None] = Batch(self._publish, _BATCH)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        bus.subscribe(PROBE, self._probe)
        bus.subscribe(PROBED, self._probed)

    def send(self, host: Host, commands: Sequence[Command], *, timeout: float) -> Deferred[Answers]:
        """Ask a host.

        Args:
            host: its row says on which server it is Up.
            commands: of the classes of QUESTIONS; all are answered, whatever becomes of the first.
            timeout: seconds.

        Returns:
            An answer for each command, or a CommandError. It may be cancelled.
        """
        if host.server_id == self.server_id:
            return self._sender.send(host.id, commands, timeout=timeout, stop_on_error=False)
        probe = str(self._new_uuid())
        waiter: Deferred[Answers] = Deferred(lambda _: self._forget(probe))
        self._waiting[probe] = waiter
        payload = {
            "probe": probe,
            "host_id": host.id,
            "server_id": host.server_id,
            "commands": write_contents(commands).decode(),
            "timeout": timeout,
        }
        self._messages.add(_Message(PROBE, payload)).addErrback(self._unsent, probe)
        return waiter.addTimeout(timeout, self._clock, onTimeoutCancel=_late)

    def stop(self) -> None:
        """Give up what other servers have asked; they wait for as long as they meant to."""
        for work in list(self._under_way):
            work.cancel()

    def _forget(self, probe: str) -> None:
        del self._waiting[probe]

    def _unsent(self, failure: Failure, probe: str) -> None:
        failure.trap(StoreUnavailable)  # type: ignore[no-untyped-call]  # Twisted has no types there
        self._end(probe, AgentUnavailable(f"the host's server cannot be asked: {failure.getErrorMessage()}"))

    def _end(self, probe: str, outcome: Answers | CommandError) -> None:
        waiter = self._waiting.pop(probe, None)
        if waiter is None:
            return
        if isinstance(outcome, CommandError):
            waiter.errback(outcome)
        else:
            waiter.callback(outcome)

    def _probed(self, payload: Mapping[str, Any]) -> None:
        if payload["probe"] not in self._waiting:
            return
        if "error" in payload:
            self._end(payload["probe"], AgentUnavailable(payload["error"]))
            return
        try:
            contents = read_contents(payload["answers"].encode())
        except BodyError as error:
            self._end(payload["probe"], AgentUnavailable(f"its server's word for it cannot be read: {error}"))
        else:
            self._end(payload["probe"], [each for each in contents if isinstance(each, Answer | Opaque)])

    def _probe(self, payload: Mapping[str, Any]) -> None:
        if payload["server_id"] != self.server_id:
            return
        work = spawn(self._carry_out(payload), self.log, "ask a host for another server")
        self._under_way.add(work)
        work.addBoth(lambda _: self._under_way.discard(work))

    async def _carry_out(self, payload: Mapping[str, Any]) -> None:
        said: Mapping[str, str]
        try:
            said = {"answers": write_contents(await self._ask(payload)).decode()}
        except (CommandError, BodyError) as error:
            said = {"error": str(error)}
        try:
            await self._messages.add(_Message(PROBED, {"probe": payload["probe"], **said}))
        except StoreUnavailable as error:
            self.log.warn("what a host says cannot be told to another server: {error}", error=error)

    async def _ask(self, payload: Mapping[str, Any]) -> Answers:
        if len(self._under_way) >= AT_ONCE:
            raise AgentUnavailable("its server has too many such questions already")
        commands: list[Command | Opaque] = []
        for command in read_contents(payload["commands"].encode()):
            if not isinstance(command, QUESTIONS):
                raise AgentUnavailable(f"{type(command).__name__} is nothing that a server asks for another one")
            commands.append(command)
        timeout = min(float(payload["timeout"]), MAX_TIMEOUT)
        sent = self._sender.send(HostId(payload["host_id"]), commands, timeout=timeout, stop_on_error=False)
        # Its time may be longer: what commands.timeout says of a command wins.
        return await sent.addTimeout(timeout, self._clock, onTimeoutCancel=_late)

    async def _publish(self, messages: list[_Message]) -> Sequence[None]:
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            for message in messages:
                txn.bus.publish(message.topic, message.payload, now)

        await self._store.run(work)
        return [None] * len(messages)


def _late(_: object, seconds: float) -> Answers:
    raise AgentTimedOut(f"there was no answer within {seconds:g} s")
