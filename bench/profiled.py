"""A management server with a profiler in each of its threads: python -m bench.profiled FOLDER CONFIG.

The reactor's thread is profiled from SIGUSR1 on, the others from their start, and all until the server ends.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from cProfile import Profile
from pathlib import Path
from typing import Any

from twisted.scripts import twistd

from cloudlb.cli.processes import twistd as twistd_command

_profiles: dict[str, Profile] = {}


def _begin(*_: object) -> None:
    """Put a profiler in this place, which is the hook that a new thread calls first. It counts the thread's CPU."""
    profile = _profiles[threading.current_thread().name] = Profile(time.thread_time)
    profile.enable()


def _dump(folder: Path) -> None:
    for name, profile in _profiles.items():
        profile.dump_stats(folder / f"{name}.stats")


def main() -> None:
    """Run twistd, and leave a file of statistics for each thread in the folder."""
    # It is the one that twistd would install by itself.
    from twisted.internet import reactor as installed  # noqa: PLC0415

    reactor: Any = installed
    threading.setprofile(_begin)
    signal.signal(signal.SIGUSR1, _begin)
    reactor.addSystemEventTrigger("before", "shutdown", _dump, Path(sys.argv[1]))
    sys.argv = twistd_command("cloudlb-mgmt", "--config", sys.argv[2])
    twistd.run()  # type: ignore[no-untyped-call]  # Twisted has no types there


if __name__ == "__main__":
    main()
