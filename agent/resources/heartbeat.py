"""The sign of life that a host leaves on storage which its neighbours share, and what they read of it.

Each host keeps a file that holds the time of its last beat, in seconds since the epoch. Whoever beats there itself can
tell whether another still does; the hosts' clocks must agree to well within :data:`STALE_AFTER` intervals. File
operations are done in place: a folder that hangs hangs the process.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.net.periodic import Periodic

STALE_AFTER = 3
"""Intervals without a beat after which a host counts as not alive."""


class CannotSay(Exception):
    """The storage cannot be used from here, so nothing on it says anything; the message says why."""


class Heartbeat:
    """One host's beats, and its look at the others'."""

    _log = Logger()

    def __init__(self, folder: Path, guid: str, interval: float, clock: IReactorTime) -> None:
        """Prepare to beat.

        Args:
            folder: shared by the hosts; made if it is not there.
            guid: the host's, as on the wire.
            interval: seconds between beats.
        """
        self._folder = folder
        self._guid = guid
        self._interval = interval
        self._clock = clock
        self._beaten: float | None = None
        self._beats = Periodic(clock, "write the heartbeat", self._beat)

    def start(self) -> None:
        """Beat now and from now on."""
        self._beats.start(self._interval, now=True)

    def stop(self) -> None:
        """Beat no more; the last beat stays, and goes stale."""
        self._beats.stop()

    def alive(self, guid: str) -> bool:
        """Tell whether a host has beaten lately; one that never has, has not.

        Raises:
            CannotSay: this host's own beats do not get there, or the other's cannot be read.
        """
        now, limit = self._clock.seconds(), STALE_AFTER * self._interval
        if self._beaten is None or now - self._beaten > limit:
            raise CannotSay(f"this host itself has not written a heartbeat to {self._folder} lately")
        try:
            beaten = float(self._file(guid).read_text(encoding="ascii"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise CannotSay(f"the heartbeat of {guid} cannot be read: {error}") from error
        return now - beaten <= limit

    def _beat(self) -> None:
        now = self._clock.seconds()
        file = self._file(self._guid)
        written = file.with_name(f".{file.name}")
        self._folder.mkdir(parents=True, exist_ok=True)
        written.write_text(f"{now:.3f}\n", encoding="ascii")
        # Readers find the old beat or the new one, never half of one.
        written.replace(file)
        self._beaten = now

    def _file(self, guid: str) -> Path:
        return self._folder / f"hb-{quote(guid, safe='')}"
