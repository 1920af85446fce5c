"""`twistd cloudlb-agent`: options and the service they make."""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

from twisted.application.service import IService

from agent.config import InvalidConfiguration
from agent.service import build
from cloudlb.net.daemon_options import DaemonOptions
from cloudlb.net.descriptors import raise_descriptor_limit


class Options(DaemonOptions):
    """Command line of the agent."""

    synopsis = "--config FILE"
    longdesc = "Run the agent of a host. Several of them run on one machine, each with a file of its own."
    optParameters: ClassVar[list[list[object]]] = [
        ["config", "c", "/etc/cloudlb/agent.properties", "The agent's agent.properties."]
    ]


def makeService(options: Options) -> IService:
    """Build the service.

    Raises:
        SystemExit: the configuration, or a file or class that it names, does not do. twistd would show any other error
            with a traceback.
    """
    # Importing it installs it, which is up to twistd until it has read its options.
    from twisted.internet import reactor  # noqa: PLC0415

    raise_descriptor_limit()
    try:
        return build(reactor, Path(options["config"]), random.SystemRandom())
    except InvalidConfiguration as error:
        raise SystemExit(f"twistd: {error}") from None
