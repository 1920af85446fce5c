"""A management server that takes every step of a handshake as it comes: python -m bench.unpaced CONFIG.

It is what `bench.herd` compares the server with.
"""

from __future__ import annotations

import sys

from twisted.scripts import twistd

from cloudlb.cli.processes import twistd as twistd_command
from cloudlb.net import handshakes


def main() -> None:
    """Run twistd."""
    handshakes.BUDGET = float("inf")
    sys.argv = twistd_command("cloudlb-mgmt", "--config", sys.argv[1])
    twistd.run()  # type: ignore[no-untyped-call]  # Twisted has no types there


if __name__ == "__main__":
    main()
