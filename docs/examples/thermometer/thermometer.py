"""A room with a thermometer as a host of cloudlb: a whole resource, to begin one's own with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cloudlb.resource.interface import (
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    Command,
    InvalidProperty,
    Opaque,
    PingCommand,
    PingRoutingCommand,
    ServerResource,
    StartupCommand,
    StartupRoutingCommand,
)

READ = "com.example.thermometer.ReadTemperatureCommand"
"""A command of our own. Its class needs no registering: what cloudlb does not model arrives as Opaque."""


class ThermometerResource(ServerResource):
    """Reads a thermometer of Linux's kind: a file with thousandths of a degree.

    Properties: ``thermometer.file``, and ``thermometer.limit`` in degrees, above which the room is not well.
    """

    blocking = True  # reading a file may take its time: execute() runs on threads of the resource's own

    def configure(self, properties: Mapping[str, str], clock: object) -> None:
        """Take the properties; what cannot be used is refused by its name."""
        self._file = Path(properties.get("thermometer.file") or "/sys/class/thermal/thermal_zone0/temp")
        limit = properties.get("thermometer.limit") or "40"
        try:
            self._limit = float(limit)
        except ValueError:
            raise InvalidProperty(f"thermometer.limit={limit}: not a number") from None

    def startup(self) -> Sequence[StartupCommand]:
        """Say what the host is. Who it is and where it stands is filled in by whoever runs the resource."""
        return [StartupRoutingCommand(caps="thermometer", host_details={"thermometer.file": str(self._file)})]

    def ping(self, host_id: int) -> PingCommand:
        """Say that the host is there; never blocks."""
        return PingRoutingCommand(host_type="Routing", host_id=host_id)

    def execute(self, command: Command | Opaque) -> Answer | None:
        """Carry out a command. What it raises becomes a failed answer; None says that it does not know the command."""
        if isinstance(command, CheckHealthCommand):
            temperature = self._read()
            return CheckHealthAnswer(result=temperature <= self._limit, details=f"{temperature:.1f} degrees")
        if isinstance(command, Opaque) and command.wire_name == READ:
            return Answer(details=f"{self._read():.1f}")
        return None

    def _read(self) -> float:
        return int(self._file.read_text(encoding="ascii")) / 1000
