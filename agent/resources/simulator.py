"""A host that is not there: it answers everything, as slowly and as badly as its properties say.

========================== =========================================================================================
``simulator.delay``        Seconds that every command takes; 0 unless given.
``simulator.fault``        What goes wrong, comma-separated. ``0.1`` alone: one command in ten fails. Else
                           ``<command>:<fault>`` with the class name of a command, or ``*`` for all, and ``fail`` (a
                           failed answer), ``raise`` (an exception) or ``hang`` (no answer before its time is up).
``simulator.seed``         Makes runs repeatable; the GUID unless given.
========================== =========================================================================================
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cloudlb.resource.interface import (
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
    ServerResource,
    StartupCommand,
    StartupRoutingCommand,
)

CPUS = 16
MHZ = 2400
MEMORY = 64 * 2**30
"""Bytes."""
FAULTS = ("fail", "raise", "hang")


class SimulatedFault(Exception):
    """What ``raise`` raises."""


class SimulatorResource(ServerResource):
    """A KVM host of moderate size without VMs."""

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Take the properties above."""
        self._clock = clock
        self._delay = _seconds(properties.get("simulator.delay", "").strip() or "0")
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
                hypervisor_type="KVM",
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
        fault = self._fault(command.wire_name if isinstance(command, Opaque) else type(command).__name__)
        if fault == "hang":
            return Deferred()
        answer = Answer(result=False, details="simulated failure") if fault == "fail" else _answer(command)
        if fault != "raise" and not self._delay:
            return answer
        return self._later(answer, fault)

    async def _later(self, answer: Answer, fault: str | None) -> Answer:
        if self._delay:
            await deferLater(self._clock, self._delay)
        if fault == "raise":
            raise SimulatedFault("simulated exception")
        return answer

    def _fault(self, name: str) -> str | None:
        fault = self._faults.get(name.rpartition(".")[2]) or self._faults.get("*")
        # Drawn each time, so that what is drawn does not depend on which commands have faults of their own.
        drawn = self._rng.random() < self._failing
        return fault or ("fail" if drawn else None)


def _answer(command: Command | Opaque) -> Answer:
    answer = _ANSWERS.get(type(command))
    return answer() if answer is not None else Answer()


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
    CheckOnHostCommand: CheckOnHostAnswer,
    GetHostStatsCommand: _stats,
    MaintainCommand: MaintainAnswer,
}


def _seconds(text: str) -> float:
    value = _number("simulator.delay", text)
    if not 0 <= value <= 86400:
        raise InvalidProperty(f"simulator.delay={text}: not between 0 and 86400")
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
