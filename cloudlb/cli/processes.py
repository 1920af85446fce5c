"""Daemons as child processes: started with a log of their own, waited for, ended by their own pids."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from attrs import define, field

POLL_INTERVAL = 0.05
"""Seconds between two looks at something that a child process is to bring about."""
STOP_TIMEOUT = 10.0
"""Seconds that a child has to end by itself before it is killed."""
LOG_TAIL = 5
"""Lines of a log that an error shows."""


class DaemonFailed(Exception):
    """A child process ended, or does not do what it was started for; the message shows the end of its log."""


class PortInUse(Exception):
    """Somebody else listens where a daemon of ours is to listen."""


@define(eq=False)
class Daemon:
    """One child process. It may be started again after its end; the log goes on."""

    name: str
    """What people call it: "server-127.0.0.1", "agent-1"."""
    arguments: Sequence[str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the process, in a session of its own: a Ctrl-C of the terminal is ours to pass on.

        It gets SIGTERM when the thread that called this ends, be it by a SIGKILL of this process.
        """
        bound = [sys.executable, "-P", "-m", "cloudlb.cli.bound", str(os.getpid())]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the arguments are ours, and no shell reads them
                [*bound, *self.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int | None:
        """The pid of the running process."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """The status it ended with, negative for a signal; None before its start and while it runs."""
        return None if self._process is None else self._process.poll()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, and no more of it when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout: float) -> bool:
        """Wait for its end; say whether it came within so many seconds."""
        if self._process is not None:
            try:
                self._process.wait(max(timeout, 0))
            except subprocess.TimeoutExpired:
                return False
        return True

    def fail(self, what: str) -> NoReturn:
        """Raise DaemonFailed with what went wrong and the last lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
        raise DaemonFailed("\n  ".join([f"{self.name} {what}; the end of {self.log}:", *lines]))


def twistd(*arguments: str) -> list[str]:
    """The command line of a twistd of this Python that stays in the foreground; ours write no pid file there."""
    return [str(Path(sysconfig.get_path("scripts"), "twistd")), "--nodaemon", *arguments]


def wait_until_listening(daemons: Iterable[tuple[Daemon, Sequence[tuple[str, int]]]], timeout: float) -> None:
    """Wait until each daemon accepts connections at its addresses.

    Raises:
        DaemonFailed: one of them ended, or does not listen within so many seconds.
    """
    deadline = time.monotonic() + timeout
    for daemon, addresses in daemons:
        for address in addresses:
            while not _accepts(address):
                if not daemon.running:
                    daemon.fail(f"ended with status {daemon.exit_status}")
                if time.monotonic() > deadline:
                    daemon.fail(f"does not listen on {_shown(address)} after {timeout:g} s")
                time.sleep(POLL_INTERVAL)


def check_free(addresses: Iterable[tuple[str, int]]) -> None:
    """Make sure that nobody listens at addresses where daemons are to listen.

    Raises:
        PortInUse: somebody does, or the address is not this machine's; the message names it.
    """
    for address in addresses:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections of an earlier cluster that linger in TIME_WAIT are in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                hint = " (`ss -ltnp` shows by whom)" if error.errno == errno.EADDRINUSE else ""
                raise PortInUse(f"cannot listen on {_shown(address)}: {error.strerror}{hint}") from error


def stop_all(daemons: Sequence[Daemon], timeout: float = STOP_TIMEOUT) -> None:
    """End all of them together: SIGTERM, and SIGKILL for whoever still runs at the time-out or a Ctrl-C."""
    try:
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout
        for daemon in daemons:
            daemon.wait(deadline - time.monotonic())
    finally:
        for daemon in daemons:
            daemon.kill()


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the block as Ctrl-C does, so that it cleans up after itself."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    kept = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _accepts(address: tuple[str, int]) -> bool:
    with suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
