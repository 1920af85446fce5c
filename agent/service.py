"""The composition of one agent. Several live in one process without knowing of each other."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from agent.config import AgentConfig, InvalidConfiguration, load_agent_config
from agent.host_agent import ChannelFactory, HostAgent
from agent.properties import AgentProperties, RunBlocking, Write
from cloudlb.net.atomic_file import write_atomically
from cloudlb.net.tls import Identity, TlsConfigurationError, client_context
from cloudlb.resource.dispatch import Dispatch
from cloudlb.resource.interface import InvalidProperty, ServerResource
from cloudlb.resource.journal import Journal
from cloudlb.resource.journal_file import JournalFile, SqliteFile
from cloudlb.resource.loading import UnknownResource, load_resource
from cloudlb.resource.threads import ResourceThreads, Threads
from cloudlb.wire.link import Channel
from cloudlb.wire.tls_channel import TlsChannel


class AgentService(Service):
    """Runs an agent from start to stop."""

    def __init__(
        self,
        agent: HostAgent,
        properties: AgentProperties,
        resource: ServerResource,
        journal: Journal,
        threads: Threads | None,
    ) -> None:
        """Prepare.

        Args:
            agent: built, not started.
            properties: its file.
            resource: configured.
            journal: of what the resource does.
            threads: of a blocking resource.
        """
        self.agent = agent
        self._properties = properties
        self._resource = resource
        self._journal = journal
        self._threads = threads

    def startService(self) -> None:
        """Look for a server."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no types there
        self.agent.start()

    def stopService(self) -> Deferred[None]:
        """Leave the server with a good-bye, within a bounded time."""
        super().stopService()  # type: ignore[no-untyped-call]  # as above
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.agent.stop()
        await self._properties.close()
        self._resource.close()
        await self._journal.close()
        if self._threads is not None:
            self._threads.stop()


def build(
    reactor: Any,
    path: Path,
    rng: random.Random,
    *,
    resource: ServerResource | None = None,
    channel_factory: ChannelFactory | None = None,
    run_blocking: RunBlocking | None = None,
    threads: Callable[[str, int], Threads] | None = None,
    write: Write = write_atomically,
    journal_file: JournalFile | None = None,
) -> AgentService:
    """Build an agent from its agent.properties.

    Args:
        reactor: IReactorTCP and IReactorTime; IReactorThreads too, unless ``run_blocking`` and ``threads`` are given.
        path: of the file, which is also written to.
        rng: for pauses and first pings.
        resource: instead of the one that the file names; configured here.
        channel_factory: instead of TLS with the files that the file names.
        run_blocking: runs what waits for a disk; the reactor's thread pool unless given.
        threads: makes those of a blocking resource, given a name and their number; real ones unless given.
        write: writes the file.
        journal_file: instead of the one that the properties name.

    Raises:
        InvalidConfiguration: the file, or something that it names, does not do.
    """
    config, values = load_agent_config(path)
    try:
        resource = resource or load_resource(config.resource)
        resource.configure(values, reactor)
        channel_factory = channel_factory or tls_channels(config)
    except (UnknownResource, InvalidProperty, TlsConfigurationError) as error:
        raise InvalidConfiguration(f"{path}: {error}") from error
    make_threads = threads or partial(ResourceThreads, reactor)
    own_threads = make_threads(f"resource of {config.name}", config.workers) if resource.blocking else None
    run_blocking = run_blocking or _on_reactor_threads(reactor)
    properties = AgentProperties(path, reactor, run_blocking, write)
    journal = Journal(journal_file or SqliteFile(config.journal), reactor, run_blocking)
    dispatch = Dispatch(
        resource,
        reactor,
        workers=config.workers,
        in_thread=None if own_threads is None else own_threads.run,
        journal=journal,
    )
    agent = HostAgent(reactor, config, properties, resource, dispatch, journal, channel_factory, rng)
    return AgentService(agent, properties, resource, journal, own_threads)


def tls_channels(config: AgentConfig) -> ChannelFactory:
    """Make channels with the agent's identity.

    Raises:
        TlsConfigurationError: no CA is named, or a file cannot be used.
    """
    if config.ca is None:
        raise TlsConfigurationError("tls.ca is missing: without it any server could take the host")
    identity = Identity(ca=config.ca, certificate=config.certificate, private_key=config.private_key)
    contexts: dict[bool, ssl.SSLContext] = {False: client_context(identity)}

    def channel(address: str, tls12: bool) -> Channel:
        if tls12 not in contexts:
            contexts[tls12] = client_context(identity, tls12=tls12)
        return TlsChannel(contexts[tls12], server_side=False)

    return channel


def _on_reactor_threads(reactor: Any) -> RunBlocking:
    return partial(deferToThreadPool, reactor, reactor.getThreadPool())
