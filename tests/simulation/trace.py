"""What the daemons log, with the time and the machine on which it happened."""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from cloudlb.domain.ports import StoreUnavailable
from tests.support.network import Network
from tests.support.virtual_clock import START

_OURS = ("cloudlb.", "agent.", "tests.")
LAST = 60
"""Lines that are kept to be shown when a history fails."""


class Trace:
    """An observer of everything logged from :meth:`start` to :meth:`stop`."""

    def __init__(self, *, show: bool) -> None:
        """Prepare; ``show``: print each line."""
        self._network: Network | None = None
        self.last: deque[str] = deque(maxlen=LAST)
        self.defects: list[str] = []
        self._show = show
        self._digest = sha256()
        self._ended = False

    def start(self) -> None:
        """Begin to observe."""
        globalLogPublisher.addObserver(cast("ILogObserver", self._observe))

    def end(self) -> None:
        """The history is over: from now on only failures that nobody took are noted.

        What processes that were killed had under way comes to an end like none: coroutines are closed as garbage.
        """
        self._ended = True

    def stop(self) -> None:
        """End."""
        globalLogPublisher.removeObserver(cast("ILogObserver", self._observe))

    @property
    def digest(self) -> str:
        """Of all lines: equal histories have equal ones."""
        return self._digest.hexdigest()

    def follow(self, network: Network) -> None:
        """Take times and machines from here."""
        self._network = network

    def note(self, text: str) -> None:
        """Add a line."""
        network = self._network
        since = network.clock.seconds() - START if network is not None else 0.0
        where = network.running if network is not None and network.running is not None else "-"
        line = f"{since:12.6f}  {where:<10}  {text}"
        self._digest.update(line.encode())
        self.last.append(line)
        if self._show:
            print(line)

    def _observe(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if self._ended and (failure is None or not _is_left_over(event) or _woken_as_garbage(failure)):
            return
        is_defect = failure is not None or event.get("log_level") is LogLevel.critical
        if is_defect and not _could_not_start(event):
            self.defects.append(f"{formatEvent(event)} {failure.getTraceback() if failure is not None else ''}".strip())
        if is_defect or str(event.get("log_namespace", "")).startswith(_OURS):
            # A traceback names files and lines, which says nothing about the history.
            self.note(f"{event['log_namespace']}: {formatEvent(event)}")


def _is_left_over(event: LogEvent) -> bool:
    """Whether a failure was found in a Deferred that is garbage."""
    return event.get("log_namespace") == "twisted.internet.defer"


def _woken_as_garbage(failure: Failure) -> bool:
    """Whether a coroutine that is closed as garbage has woken one, at its end, that was closed before it."""
    return isinstance(failure.value, RuntimeError) and "already awaited coroutine" in str(failure.value)


def _could_not_start(event: LogEvent) -> bool:
    """Whether a server found no database when it started, which ends its process and is no defect."""
    return isinstance(event.get("error"), StoreUnavailable) and "cannot start" in str(event.get("log_format"))
