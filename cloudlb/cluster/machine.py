"""What Linux tells of this machine and this process."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def look(proc: Path = PROC) -> Mapping[str, Any]:
    """Figures that JSON can carry; what cannot be read is left out.

    Sizes are bytes, times are seconds since the epoch, ``cycles`` are the ticks of all processors for users, for the
    system, and idle.
    """
    found: dict[str, Any] = {
        "kernel": platform.release(),
        "processors": os.cpu_count() or 1,
        "threads": threading.active_count(),
        "loads": list(os.getloadavg()),
    }
    for read in (_of_distribution, _of_stat, _of_memory, _of_process):
        # Another system, or a container, may show nothing of it.
        with suppress(OSError, KeyError, ValueError, IndexError):
            found |= read(proc)
    return found


def _of_distribution(_: Path) -> Mapping[str, Any]:
    return {"distribution": platform.freedesktop_os_release()["PRETTY_NAME"]}


def _of_stat(proc: Path) -> Mapping[str, Any]:
    lines = dict(line.split(maxsplit=1) for line in _lines(proc / "stat") if line.strip())
    user, nice, system, idle = map(int, lines["cpu"].split()[:4])
    return {"booted": int(lines["btime"]), "cycles": [user + nice, system, idle]}


def _of_memory(proc: Path) -> Mapping[str, Any]:
    lines = (line.partition(":") for line in _lines(proc / "meminfo"))
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in lines}
    return {"memory": sizes["MemTotal"], "free_memory": sizes["MemAvailable"]}


def _of_process(proc: Path) -> Mapping[str, Any]:
    page = os.sysconf("SC_PAGE_SIZE")
    size, resident = map(int, (proc / "self" / "statm").read_text(encoding="ascii").split()[:2])
    return {"virtual_size": size * page, "resident": resident * page}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines()
