"""The API of one server on a real database, called with signed requests over an in-memory connection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4
from xml.etree import ElementTree as ET

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

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
from cloudlb.domain.models import Host, HostFacts, HostId, ServerId, StatusChange
from cloudlb.domain.ports import Admission, Location, Transaction
from cloudlb.domain.users import Account, Role
from cloudlb.metrics.meters import Meters
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.storage.sqlite import new_database
from tests.support.inline_threads import InlineThreads

API_KEY = "an-api-key"
SECRET = "a-secret-key"
NOW = 1_790_000_000.0


def sign(parameters: Mapping[str, str], secret: str = SECRET) -> dict[str, str]:
    """Add the signature as CloudStack's documentation tells clients to make it."""
    text = "&".join(f"{name}={quote(parameters[name], safe='*')}" for name in sorted(parameters)).lower()
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
    return {**parameters, "signature": base64.b64encode(digest).decode()}


def encode(parameters: Mapping[str, str]) -> bytes:
    """A query or form."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items()).encode()


@frozen
class Response:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The content, which must be JSON."""
        assert self.headers["content-type"].startswith("application/json"), self
        return json.loads(self.content)

    @property
    def xml(self) -> ET.Element:
        """The content, which must be XML."""
        assert self.headers["content-type"].startswith("text/xml"), self
        return ET.fromstring(self.content)  # noqa: S314 we wrote it


def read_response(raw: bytes) -> Response:
    """Parse what a server wrote."""
    head, _, content = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Response(int(status_line.split()[1]), headers, content)


def add_site(txn: Transaction) -> None:
    """Make a zone, a pod and a cluster, each with the id 1."""
    zone = txn.topology.add_zone("zone")
    pod = txn.topology.add_pod("pod", zone.id)
    txn.topology.add_cluster("cluster", pod.id, hypervisor="KVM", arch="x86_64")


def add_user(txn: Transaction, username: str, api_key: str, role: Role = Role.ADMINISTRATOR) -> Account:
    """Make a user without a password, and with a pair of keys whose secret is SECRET."""
    account = txn.accounts.add(username=username, role=role, password=None, now=NOW)
    txn.accounts.add_key(account.id, name="", api_key=api_key, secret_key=SECRET, expires=None, now=NOW)
    return account


class ApiTestCase(SynchronousTestCase):
    """Tests that call the API of a server of their own."""

    address = "127.0.0.9"
    """Where calls come from."""

    def setUp(self) -> None:
        """Start a server with one account, on an empty database."""
        self.clock = Clock()
        self.threads = InlineThreads()
        self.clock.advance(NOW)
        database = self.database = Database(
            new_database(Path(self.mktemp())),
            writer=InlineExecutor(),
            reader=InlineExecutor(),
            clock=self.clock.seconds,
        )
        bus = self.bus = DatabaseBus(database, self.clock)
        database.on_publish = bus.wake
        settings = LiveSettings(database, bus, self.clock)
        self.membership = Membership(
            database, self.clock, random.Random(1), name="alpha", address="127.0.0.1", port=8250
        )
        directory = Directory(bus)
        operations = Operations(database, bus, directory, Hooks(), self.clock)
        self.registration = Registration(
            database, settings, Hooks(), self.clock, random.Random(1), port=8250, ca_folder=self.ca_folder()
        )
        resource_states = ResourceStates(database, bus, settings, directory, self.clock)
        sender = Sender(directory, settings, Hooks(), self.clock, Meters())
        command_jobs = CommandJobs(database, bus, directory, sender, self.membership, self.clock)
        self.rebalancer = Rebalancer(database, bus, settings, self.membership, self.clock, uuid4)
        self.context = ApiContext(
            store=database,
            settings=settings,
            operations=operations,
            registration=self.registration,
            resource_states=resource_states,
            command_jobs=command_jobs,
            server_orders=ServerOrders(database, self.clock),
            rebalancer=self.rebalancer,
            membership=self.membership,
            clock=self.clock,
            host_roll=HostRoll(database),
            sessions=Sessions(self.clock),
            passwords=Passwords(Attempts(self.clock), self.threads),
        )
        self.context.server_orders.rebalancer = self.rebalancer
        self.site = api_site(self.context)

        async def start() -> None:
            await database.start()
            await self.membership.join()
            operations.server_id = resource_states.server_id = command_jobs.server_id = self.membership.own.id
            await bus.start()
            self.registration.server_id = self.membership.own.id

        self.successResultOf(Deferred.fromCoroutine(start()))
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(database.stop())))
        self.account: Account = self.stored(lambda txn: add_user(txn, "admin", API_KEY))

    def ca_folder(self) -> Path | None:
        """Where the server has the key of its CA."""
        return None

    def stored(self, work: Any) -> Any:
        """Run work in a transaction of its own."""
        return self.successResultOf(self.database.run(work))

    def send(self, request: bytes) -> Response:
        """Send the bytes of a request and read the response."""
        return read_response(self.send_raw(request))

    def send_raw(self, request: bytes) -> bytes:
        """Send the bytes of a request; the bytes of the response, if there is one."""
        transport = StringTransport(peerAddress=IPv4Address("TCP", self.address, 50000))
        channel = self.site.buildProtocol(transport.getPeer())
        assert channel is not None
        channel.makeConnection(transport)
        channel.dataReceived(request)
        written: bytes = transport.value()
        return written

    def get(self, parameters: Mapping[str, str]) -> Response:
        """Send parameters, just as they are, in a query."""
        return self.send(b"GET /client/api?" + encode(parameters) + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    def post(self, parameters: Mapping[str, str]) -> Response:
        """Send parameters, just as they are, in a form."""
        body = encode(parameters)
        head = (
            "POST /client/api HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
        )
        return self.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def call(self, command: str, **parameters: str) -> Any:
        """Call a command that succeeds; what stands in its envelope."""
        response = self.get(sign({"command": command, "response": "json", "apiKey": API_KEY, **parameters}))
        self.assertEqual(200, response.status, response.content)
        ((envelope, body),) = response.json.items()
        self.assertEqual(f"{command.lower()}response", envelope)
        return body

    def refused(self, command: str, **parameters: str) -> str:
        """Call a command that refuses a parameter; the text of its error."""
        return self.failed(431, command, **parameters)

    def failed(self, code: int, command: str, **parameters: str) -> str:
        """Call a command that fails; the text of its error."""
        response = self.get(sign({"command": command, "response": "json", "apiKey": API_KEY, **parameters}))
        ((_, body),) = response.json.items()
        self.assertEqual((code, code), (response.status, body["errorcode"]), response.content)
        text: str = body["errortext"]
        return text

    def add_site(self) -> None:
        """A zone, a pod and a cluster, each with the id 1."""
        self.stored(add_site)

    def add_host(self, name: str, server_id: ServerId | None = None, heard: float = NOW) -> HostId:
        """A host of the site that is Up on a server, this one if None."""

        def work(txn: Transaction) -> HostId:
            admission = Admission(
                facts=HostFacts(
                    guid=f"guid-{name}",
                    name=name,
                    type="Routing",
                    version="1.2",
                    ip_address="10.0.0.7",
                    hypervisor="KVM",
                    arch="x86_64",
                    cpus=4,
                    cpu_speed=2000,
                    memory=2**33,
                    capabilities="hvm",
                ),
                location=Location(zone="1", pod="1", cluster="1"),
                server_id=server_id if server_id is not None else self.membership.own.id,
            )
            (host,) = txn.hosts.admit([admission], NOW)
            assert isinstance(host, Host), host
            ready = StatusChange(
                host_id=host.id,
                session=host.session,
                event=HostEvent.READY,
                server_id=admission.server_id,
                reason="its agent is ready",
            )
            assert txn.hosts.transition([ready], NOW) != [None]
            txn.hosts.touch({host.id: heard})
            return host.id

        host_id: HostId = self.stored(work)
        return host_id
