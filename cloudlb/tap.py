"""`twistd cloudlb-mgmt`: options and the service they make."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService

from cloudlb.config import InvalidConfiguration, load_server_config
from cloudlb.net.daemon_options import DaemonOptions
from cloudlb.net.descriptors import raise_descriptor_limit
from cloudlb.net.tls import TlsConfigurationError
from cloudlb.service import Server
from cloudlb.storage.backend import UnsupportedDatabase
from cloudlb.storage.database import Database
from cloudlb.storage.executor import ThreadExecutor

READERS = 4
"""Threads for reading: listings of the API beside the lists of agents and the bus."""


class Options(DaemonOptions):
    """Command line of the management server."""

    synopsis = "--config FILE"
    longdesc = "Run a management server: it admits hypervisor agents and serves the API at /client/api."
    optParameters: ClassVar[list[list[object]]] = [
        ["config", "c", "/etc/cloudlb/mgmt.properties", "The server's mgmt.properties."]
    ]


def makeService(options: Options) -> IService:
    """Build the service.

    Raises:
        SystemExit: the configuration, a file that it names or the database's URL does not do. twistd would show any
            other error with a traceback.
    """
    # Importing it installs it, which is up to twistd until it has read its options.
    from twisted.internet import reactor as installed  # noqa: PLC0415

    # twistd installs one with threads and TCP, which its declared type does not say.
    reactor: Any = installed

    def failed() -> None:
        # twistd has no exit status for a service that found out late that it cannot run; a supervisor needs one.
        reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        reactor.callLater(0, reactor.stop)

    raise_descriptor_limit()
    try:
        config = load_server_config(Path(options["config"]))
        database = Database(
            config.database_url,
            writer=ThreadExecutor(reactor, 1, "database writer"),
            reader=ThreadExecutor(reactor, READERS, "database reader"),
            reactor=reactor,
        )
        server = Server(
            reactor,
            config,
            database,
            random.SystemRandom(),
            failed=failed,
            # Not in the middle of what found out that it is time.
            stop=lambda: reactor.callLater(0, reactor.stop),
        )
    except (InvalidConfiguration, TlsConfigurationError, UnsupportedDatabase) as error:
        raise SystemExit(f"twistd: {error}") from None

    def told_again(number: int, frame: object) -> None:
        # The reactor, which is stopping, would not hear of it.
        reactor.callFromThread(server.hurry)

    def stopping() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, told_again)

    reactor.addSystemEventTrigger("before", "shutdown", stopping)
    return server
