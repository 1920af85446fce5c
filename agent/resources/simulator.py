"""A host that is not there: it answers everything, as slowly and as badly as its properties say.

================================ ===================================================================================
``hypervisor.type``              What the host says it is; KVM unless given.
``simulator.delay``              Seconds that every command takes; 0 unless given.
``simulator.fault``              What goes wrong, comma-separated. ``0.1`` alone: one command in ten fails. Else
                                 ``<command>:<fault>`` with the class name of a command, or ``*`` for all, and
                                 ``fail`` (a failed answer), ``raise`` (an exception) or ``hang`` (no answer before
                                 its time is up).
``simulator.seed``               Makes runs repeatable; the GUID unless given.
``simulator.heartbeat.dir``      A folder that hosts share: the host leaves a sign of life there, and reads its
                                 neighbours' for CheckOnHostCommand. Without it the host cannot say how they are.
``simulator.heartbeat.interval`` Seconds between these signs, 0.1 to 3600; 10 unless given. After three without one
                                 a host counts as not alive.
``simulator.record``             A file to which each command that is carried out adds a line, when it begins: its
                                 class name and its id (``cloudlb.id``), else the sender's logging context
                                 (``logid``), else ``-``.
================================ ===================================================================================

PingTestCommand sends real ICMP echo requests from the machine that the simulator runs on.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from agent.resources.heartbeat import CannotSay, Heartbeat
from cloudlb.net.icmp import Icmp, NotPermitted
from cloudlb.resource.interface import (
    COMMAND_ID,
    LOGGING_CONTEXT,
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    CheckNetworkAnswer,
    CheckNetworkCommand,
    CheckOnHostAnswer,
    CheckOnHostCommand,
    Command,
    GetHostStatsAnswer,
    GetHostStatsCommand,
    HostStats,
    InvalidProperty,
    MaintainAnswer,
    MaintainCommand,
    Opaque,
    PingCommand,
    PingRoutingCommand,
    PingTestCommand,
    ServerResource,
    StartupCommand,
    StartupRoutingCommand,
    context_of,
)

CPUS = 16
MHZ = 2400
MEMORY = 64 * 2**30
"""Bytes."""
FAULTS = ("fail", "raise", "hang")
PATIENCE = 3.0
"""Seconds that PingTestCommand waits for an echo."""


class SimulatedFault(Exception):
    """What ``raise`` raises."""


class SimulatorResource(ServerResource):
    """A host of moderate size without VMs."""

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Take the properties above."""
        self._clock = clock
        self._icmp = Icmp(clock)
        self._hypervisor = properties.get("hypervisor.type", "").strip() or "KVM"
        self._delay = _seconds(properties, "simulator.delay", default=0, least=0, most=86400)
        seed = properties.get("simulator.seed") or properties.get("guid", "")
        self._rng = random.Random(seed)  # noqa: S311 - nothing secret is drawn
        self._failing = 0.0
        self._faults: dict[str, str] = {}
        for part in filter(None, map(str.strip, properties.get("simulator.fault", "").split(","))):
            command, colon, fault = part.partition(":")
            if not colon:
                self._failing = _probability(part)
            elif fault in FAULTS:
                self._faults[command] = fault
            else:
                raise InvalidProperty(f"simulator.fault={part}: {fault!r} is none of {', '.join(FAULTS)}")
        self._heartbeat = self._beating(properties)
        self._record = self._recording(properties.get("simulator.record", "").strip())

    def _beating(self, properties: Mapping[str, str]) -> Heartbeat | None:
        interval = _seconds(properties, "simulator.heartbeat.interval", default=10, least=0.1, most=3600)
        folder = properties.get("simulator.heartbeat.dir", "").strip()
        if not folder:
            return None
        # As the agent introduces the host, and so as a server asks for it.
        guid = f"{properties.get('guid', '').strip()}-{type(self).__name__}"
        heartbeat = Heartbeat(Path(folder), guid, interval, self._clock)
        heartbeat.start()
        return heartbeat

    def _recording(self, file: str) -> IO[str] | None:
        try:
            # Line by line: what was begun is on record also when the process is killed.
            return Path(file).open("a", buffering=1, encoding="utf-8") if file else None
        except OSError as error:
            raise InvalidProperty(f"simulator.record={file}: {error}") from error

    def close(self) -> None:
        """Beat no more."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._record is not None:
            self._record.close()

    def startup(self) -> Sequence[StartupCommand]:
        """A hypervisor."""
        return [
            StartupRoutingCommand(
                cpu_sockets=2,
                cpus=CPUS,
                speed=MHZ,
                memory=MEMORY,
                dom0_min_memory=2**30,
                caps="hvm",
                hypervisor_type=self._hypervisor,
                hypervisor_version="9.0.0",
                host_details={
                    "Host.OS": "Simulator",
                    "com.cloud.network.Networks.RouterPrivateIpStrategy": "HostLocal",
                },
                iqn="NoIqn",
                arch="x86_64",
            )
        ]

    def ping(self, host_id: int) -> PingCommand:
        """All is well, and no VM runs."""
        return PingRoutingCommand(host_type="Routing", host_id=host_id, host_vm_state_report={})

    def execute(self, command: Command | Opaque) -> Answer | Awaitable[Answer]:
        """Answer, in time."""
        name = command.wire_name if isinstance(command, Opaque) else type(command).__name__
        if self._record is not None:
            self._record.write(f"{name.rpartition('.')[2]} {_id(command)}\n")
        fault = self._fault(name)
        if fault == "hang":
            return Deferred()
        if fault == "raise" or self._delay:
            return self._later(command, fault)
        return self._answer(command, fault)

    async def _later(self, command: Command | Opaque, fault: str | None) -> Answer:
        if self._delay:
            await deferLater(self._clock, self._delay)
        if fault == "raise":
            raise SimulatedFault("simulated exception")
        answer = self._answer(command, fault)
        return answer if isinstance(answer, Answer) else await answer

    def _answer(self, command: Command | Opaque, fault: str | None) -> Answer | Awaitable[Answer]:
        if fault == "fail":
            return Answer(result=False, details="simulated failure")
        if isinstance(command, CheckOnHostCommand):
            return self._look(command)
        if isinstance(command, PingTestCommand):
            return self._ping(command.computing_host_ip)
        answer = _ANSWERS.get(type(command))
        return answer() if answer is not None else Answer()

    def _look(self, command: CheckOnHostCommand) -> Answer:
        """Answer as CloudStack's agent: result is whether there was a look, not what it found."""
        guid = command.host.guid if command.host is not None else None
        if self._heartbeat is None or not guid:
            missing = "the host has no shared storage" if guid else "the command names no host"
            return CheckOnHostAnswer(result=False, details=missing)
        try:
            alive = self._heartbeat.alive(guid)
        except CannotSay as error:
            return CheckOnHostAnswer(result=False, details=str(error))
        return CheckOnHostAnswer(determined=True, alive=alive, details=f"Heart is {'' if alive else 'not '}beating")

    async def _ping(self, address: str | None) -> Answer:
        if address is None:
            return Answer(result=False, details="the simulator pings hosts only")
        try:
            seconds = await self._icmp.echo(address, PATIENCE)
        except (NotPermitted, OSError, ValueError) as error:
            return Answer(result=False, details=str(error))
        return Answer() if seconds is not None else Answer(result=False, details=f"{address} does not answer")

    def _fault(self, name: str) -> str | None:
        fault = self._faults.get(name.rpartition(".")[2]) or self._faults.get("*")
        # Drawn each time, so that what is drawn does not depend on which commands have faults of their own.
        drawn = self._rng.random() < self._failing
        return fault or ("fail" if drawn else None)


def _id(command: Command | Opaque) -> str:
    context = context_of(command)
    return str(context.get(COMMAND_ID) or context.get(LOGGING_CONTEXT) or "-")


def _stats() -> Answer:
    memory = MEMORY / 1024
    return GetHostStatsAnswer(
        host_stats=HostStats(
            entity_type="host",
            cpu_utilization=5.0,
            average_load=0.8,
            total_memory_kbs=memory,
            free_memory_kbs=memory * 0.9,
        )
    )


_ANSWERS: Mapping[type[Any], Callable[[], Answer]] = {
    CheckHealthCommand: CheckHealthAnswer,
    CheckNetworkCommand: lambda: CheckNetworkAnswer(details="Success"),
    GetHostStatsCommand: _stats,
    MaintainCommand: MaintainAnswer,
}


def _seconds(properties: Mapping[str, str], key: str, *, default: float, least: float, most: float) -> float:
    text = properties.get(key, "").strip()
    value = _number(key, text) if text else default
    if not least <= value <= most:
        raise InvalidProperty(f"{key}={text}: not between {least:g} and {most:g}")
    return value


def _probability(text: str) -> float:
    value = _number("simulator.fault", text)
    if not 0 <= value <= 1:
        raise InvalidProperty(f"simulator.fault={text}: not between 0 and 1")
    return value


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidProperty(f"{key}={text}: not a number") from None
