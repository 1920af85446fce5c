"""How many descriptors a process may have."""

from __future__ import annotations

import resource
from contextlib import suppress


def raise_descriptor_limit() -> None:
    """Take as many as the system lets us: each link of an agent is one, and the usual limit is 1024.

    Where it cannot be raised, the process has those that it has.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
