"""The API of one server on a socket, for clients that are as they are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import TestCase

from cloudlb.agents.command_jobs import CommandJobs
from cloudlb.agents.directory import Directory
from cloudlb.agents.hooks import Hooks
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.operations import Operations
from cloudlb.agents.registration import Registration
from cloudlb.agents.resource_states import ResourceStates
from cloudlb.agents.sender import Sender
from cloudlb.api.attempts import Attempts
from cloudlb.api.context import ApiContext
from cloudlb.api.host_roll import HostRoll
from cloudlb.api.passwords import Passwords
from cloudlb.api.sessions import Sessions
from cloudlb.api.site import api_site
from cloudlb.bus.database_bus import DatabaseBus
from cloudlb.cluster.membership import Membership
from cloudlb.cluster.rebalancer import Rebalancer
from cloudlb.cluster.server_orders import ServerOrders
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, HostFacts, StatusChange
from cloudlb.domain.ports import Admission, Location, Transaction
from cloudlb.metrics.meters import Meters
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.api.world import API_KEY, add_user
from tests.storage.sqlite import new_database
from tests.support.inline_threads import InlineThreads


class ListeningTestCase(TestCase):
    """Tests whose server listens on a port of its own; clients that block run in threads."""

    async def _start(self) -> None:
        clock: Any = reactor
        database = self.database = Database(
            new_database(Path(self.mktemp())), writer=InlineExecutor(), reader=InlineExecutor()
        )
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        bus = DatabaseBus(database, clock)
        membership = Membership(database, clock, random.Random(2), name="m", address="127.0.0.1", port=8250)
        await membership.join()
        self.addCleanup(lambda: Deferred.fromCoroutine(membership.leave()))
        directory, settings = Directory(bus), LiveSettings(database, bus, clock)
        operations = Operations(database, bus, directory, Hooks(), clock)
        registration = self.registration = Registration(
            database, settings, Hooks(), clock, random.Random(2), port=8250, ca_folder=None
        )
        resource_states = ResourceStates(database, bus, settings, directory, clock)
        sender = Sender(directory, settings, Hooks(), clock, Meters())
        command_jobs = CommandJobs(database, bus, directory, sender, membership, clock)
        operations.server_id = resource_states.server_id = command_jobs.server_id = membership.own.id
        rebalancer = Rebalancer(database, bus, settings, membership, clock, uuid4)
        self.addCleanup(rebalancer.stop)
        context = ApiContext(
            store=database,
            settings=settings,
            operations=operations,
            registration=registration,
            resource_states=resource_states,
            command_jobs=command_jobs,
            server_orders=ServerOrders(database, clock),
            rebalancer=rebalancer,
            membership=membership,
            clock=clock,
            host_roll=HostRoll(database),
            sessions=Sessions(clock),
            passwords=Passwords(Attempts(clock), InlineThreads()),
        )
        context.server_orders.rebalancer = rebalancer
        await database.run(lambda txn: add_user(txn, "admin", API_KEY))
        factory = WrappingFactory(api_site(context))
        port = clock.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        # The client keeps its connections open.
        self.addCleanup(lambda: [connection.abortConnection() for connection in list(factory.protocols)])
        self.endpoint = f"http://127.0.0.1:{port.getHost().port}/client/api"
        self.server_id = membership.own.id

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """A server whose API listens on a port."""
        return Deferred.fromCoroutine(self._start())

    def admit(self, txn: Transaction, name: str = "agent-1", guid: str = "") -> Host:
        """Make a host that is not connected."""
        facts = HostFacts(
            guid=guid or f"guid-{name}", name=name, type="Routing", ip_address="10.0.0.1", hypervisor="KVM"
        )
        location = Location(zone="zone", pod="pod", cluster="cluster")
        admission = Admission(facts=facts, location=location, server_id=self.server_id)
        (host,) = txn.hosts.admit([admission], 1.0)
        assert isinstance(host, Host), host
        return host

    def bring_up(self, txn: Transaction, host: Host) -> None:
        """Say that a host's agent is ready on this server."""
        ready = StatusChange(
            host_id=host.id, session=host.session, event=HostEvent.READY, server_id=self.server_id, reason="a test"
        )
        assert txn.hosts.transition([ready], 2.0) != [None]
