"""agent.properties: read once, and rewritten whenever a server sends something to remember.

A rewrite touches the changed keys alone: comments, order and keys that we do not know stay as they are in the file at
that moment, so that an operator's edits survive too. It happens off the reactor's thread, because a slow disk must
not hold up the pings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import javaproperties
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.net.atomic_file import write_atomically

RETRY_INTERVAL = 30.0
"""Seconds until a file that could not be written is tried again."""

Write = Callable[[Path, bytes, int], None]
"""Replaces a file atomically, given its content and mode; raises OSError and leaves the old one."""
RunBlocking = Callable[[Callable[[], None]], Deferred[None]]
"""Runs a function that may block, on a thread or, in tests, at once."""


def read_properties(path: Path) -> dict[str, str]:
    """Read a properties file.

    Raises:
        OSError: it cannot be read.
        ValueError: it has a malformed escape.
    """
    return dict(javaproperties.PropertiesFile.loads(path.read_bytes()))


def edited(content: bytes, changes: Mapping[str, str]) -> bytes:
    """Return a properties file's content with values set, and everything else as it was.

    Of a key that stands there repeatedly the first line is changed and the others go, since readers take the last.
    """
    # The library ends lines that it writes with \n, so a file of another system is converted there and back.
    crlf = 0 < content.count(b"\n") == content.count(b"\r\n")
    properties = javaproperties.PropertiesFile.loads(content.replace(b"\r\n", b"\n") if crlf else content)
    for key, value in changes.items():
        properties[key] = value
    result: bytes = properties.dumps().encode("latin-1")
    return result.replace(b"\n", b"\r\n") if crlf else result


def rewrite(path: Path, changes: Mapping[str, str], write: Write = write_atomically) -> None:
    """Set values in a file; its mode and owner stay, and a symbolic link goes on pointing to it.

    Raises:
        OSError: the file could not be read or written; the old one is untouched.
        ValueError: someone has put a malformed escape into it.
    """
    target = path.resolve()
    before = target.stat()
    write(target, edited(target.read_bytes(), changes), before.st_mode & 0o7777)
    after = target.stat()
    if (after.st_uid, after.st_gid) != (before.st_uid, before.st_gid):
        os.chown(target, before.st_uid, before.st_gid)


class AgentProperties:
    """The file of one agent."""

    _log = Logger()

    def __init__(
        self, path: Path, clock: IReactorTime, run_blocking: RunBlocking, write: Write = write_atomically
    ) -> None:
        """Prepare; nothing is read or written."""
        self._path = path
        self._clock = clock
        self._run_blocking = run_blocking
        self._write = write
        self._unsaved: dict[str, str] = {}
        self._writing = False
        self._retry: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    @property
    def unsaved(self) -> Mapping[str, str]:
        """What is not in the file yet."""
        return self._unsaved

    def set(self, changes: Mapping[str, str]) -> None:
        """Have values written; while the file cannot be written they are tried again and again."""
        self._unsaved.update(changes)
        if not self._writing:
            self._save()

    def close(self) -> Deferred[None]:
        """Give up what cannot be written; fires when nothing is being written any more. To be called once."""
        self._cancel_retry()
        self._closed = Deferred()
        if not self._writing:
            self._closed.callback(None)
        return self._closed

    def _save(self) -> None:
        self._cancel_retry()
        self._writing = True
        batch = dict(self._unsaved)
        written = self._run_blocking(lambda: rewrite(self._path, batch, self._write))
        written.addCallback(lambda _: self._saved(batch))
        written.addErrback(self._failed)

    def _saved(self, batch: Mapping[str, str]) -> None:
        self._writing = False
        for key, value in batch.items():
            if self._unsaved[key] == value:
                del self._unsaved[key]
        if self._unsaved:
            self._save()  # set() was called meanwhile
        elif self._closed is not None:
            self._closed.callback(None)

    def _failed(self, failure: Failure) -> None:
        self._writing = False
        self._log.error(
            "{path} cannot be written: {error}; the agent goes on with {keys} in memory and tries again in {seconds} s",
            path=self._path,
            error=failure.getErrorMessage(),
            keys=", ".join(self._unsaved),
            seconds=RETRY_INTERVAL,
        )
        if self._closed is not None:
            self._closed.callback(None)
        else:
            self._retry = self._clock.callLater(RETRY_INTERVAL, self._save)

    def _cancel_retry(self) -> None:
        retry, self._retry = self._retry, None
        if retry is not None and retry.active():
            retry.cancel()
