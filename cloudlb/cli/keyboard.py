"""Keys as they are pressed."""

from __future__ import annotations

import os
import select
import termios
import tty
from types import TracebackType
from typing import Self


class Keyboard:
    """A terminal that hands keys over at once and does not show them; as a context manager it is itself again after."""

    def __init__(self, fd: int) -> None:
        """Take the file descriptor of a terminal."""
        self._fd = fd
        self._before = termios.tcgetattr(fd)

    def __enter__(self) -> Self:
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def pressed(self, seconds: float) -> str:
        """The keys that are pressed within a time; nothing if none is."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        return os.read(self._fd, 1).decode("latin-1") if ready else ""
