"""`python -m cloudlb.cli.bound PID COMMAND...`: become a command that gets SIGTERM when the process PID dies.

A process that is killed with SIGKILL cannot end its children, so the kernel has to (prctl(2), PR_SET_PDEATHSIG). The
child asks for it, between its start and its exec: in the parent only a fork could, which Python makes unsafe where
there are threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel, and exec."""
    parent, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0):
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # It may have died before that.
    if os.getppid() != int(parent):
        raise SystemExit(f"the process {parent} that started this one is gone")
    os.execvp(command[0], command)  # noqa: S606 - what we were told to become, and no shell reads it


if __name__ == "__main__":
    main()
