"""Adding hosts before their agents come: a row, and what the agent needs to be taken for this host and no other."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID, uuid4

from attrs import evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.hooks import Hooks
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.balancing import Place, host_list_for
from cloudlb.domain.models import Cluster, DirectResource, Host, HostFacts, ServerId
from cloudlb.domain.ports import AlreadyExists, AmbiguousName, Location, Store, Transaction
from cloudlb.net.pki import CertificateAuthority, KeyPair, PkiError
from cloudlb.net.properties_text import properties_text

DIRECT = "host.direct"
"""There is a host for the servers to load: {"host_id"}."""


class NoAuthority(Exception):
    """This server cannot issue certificates; the message says what to do."""


@frozen(kw_only=True)
class NewHost:
    """A host that an operator describes."""

    name: str
    """The host's name or IP address; also where it is reached, until its agent says so itself."""
    cluster: Cluster
    resource: str
    """Dotted name of its resource's class."""
    tags: tuple[str, ...] = ()
    direct: Mapping[str, str] | None = field(default=None, repr=False)
    """Properties for the resource, which runs inside a server then; None: the host has an agent."""


@frozen(kw_only=True)
class Bundle:
    """The files of the agent of a new host."""

    certificate: bytes
    private_key: bytes = field(repr=False)
    """Kept nowhere: whoever asked for the host has it, or nobody."""
    ca_certificate: bytes
    properties: str
    """The text of agent.properties, for a folder that also has ca.crt, agent.crt and agent.key."""


class Registration:
    """Adds hosts."""

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        hooks: Hooks,
        clock: IReactorTime,
        rng: random.Random,
        *,
        port: int,
        ca_folder: Path | None,
        new_uuid: Callable[[], UUID] = uuid4,
    ) -> None:
        """Prepare.

        Args:
            port: where all servers listen for agents.
            ca_folder: of the CA with its key, looked into with each host; None: certificates are not issued here.
            new_uuid: makes the GUIDs of hosts.
        """
        self._store = store
        self._settings = settings
        self._hooks = hooks
        self._clock = clock
        self._rng = rng
        self._port = port
        self._ca_folder = ca_folder
        self._new_uuid = new_uuid
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""

    async def add(self, new: NewHost, account_id: int) -> tuple[Host, Bundle | None]:
        """Make the row of a host, and the files of its agent if it has one of its own.

        Raises:
            AlreadyExists: a host of this name exists.
            NoAuthority: the agent needs a certificate, and none can be issued here.
        """
        guid, now, cluster = str(self._new_uuid()), self._clock.seconds(), new.cluster
        # Before the row: a host that nobody can bring up is not to stay behind.
        identity = self._issue(guid) if new.direct is None else None
        facts = HostFacts(
            # As agents put it together [ServerResourceBase, AgentShell].
            guid=f"{guid}-{new.resource.rpartition('.')[2]}",
            name=new.name,
            type="Routing",
            ip_address=new.name,
            hypervisor=cluster.hypervisor,
        )
        location = Location(zone=cluster.pod.zone.uuid, pod=cluster.pod.uuid, cluster=cluster.uuid)
        direct = None
        if new.direct is not None:
            direct = DirectResource(resource=new.resource, properties={**new.direct, "guid": guid, "name": new.name})

        def work(txn: Transaction) -> tuple[Host, int]:
            if _is_taken(txn, new.name):
                raise AlreadyExists(f"there is a host named {new.name} already")
            host = evolve(txn.hosts.preregister(facts, location, direct, now), tags=new.tags)
            txn.hosts.set_tags(host.id, new.tags)
            txn.events.add(
                "HOST.ADD",
                f"Host {new.name} was added",
                now=now,
                account_id=account_id,
                server_id=self.server_id,
                host_id=host.id,
            )
            if direct is not None:
                txn.bus.publish(DIRECT, {"host_id": host.id}, now)
            return host, txn.hosts.places(host.zone.id, [host.id]).get(host.id, 0)

        host, place = await self._store.run(work)
        self._hooks.tell(lambda hook: hook.host_added(host))
        if identity is None:
            return host, None
        bundle = Bundle(
            certificate=identity.pair.certificate,
            private_key=identity.pair.private_key,
            ca_certificate=identity.ca_certificate,
            properties=self._properties(new, host, guid, place),
        )
        return host, bundle

    def _issue(self, guid: str) -> _Identity:
        if self._ca_folder is None:
            raise NoAuthority("this server issues no certificates: its mgmt.properties names no ca.folder")
        try:
            authority = CertificateAuthority.load(self._ca_folder)
            return _Identity(authority.issue_agent(guid), authority.path.read_bytes())
        except (PkiError, OSError) as error:
            raise NoAuthority(f"this server can issue no certificate: {error}") from error

    def _properties(self, new: NewHost, host: Host, guid: str, place: int) -> str:
        settings = self._settings.current
        of_host = Place(host.facts.guid, place)
        hosts = host_list_for(settings.algorithm, settings.servers, of_host, self._rng, settings.weights)
        pod = new.cluster.pod
        return properties_text(
            f"Agent of {new.name}.",
            {
                "guid": guid,
                "name": new.name,
                "host": str(hosts),
                "port": str(self._port),
                "zone": str(pod.zone.id),
                "pod": str(pod.id),
                "cluster": str(new.cluster.id),
                "resource": new.resource,
                "tls.ca": "ca.crt",
                "tls.certificate": "agent.crt",
                "tls.key": "agent.key",
            },
        )


def _is_taken(txn: Transaction, name: str) -> bool:
    try:
        found = txn.hosts.find(name)
    except AmbiguousName:
        return True
    return found is not None and found.facts.name == name


@frozen
class _Identity:
    pair: KeyPair
    ca_certificate: bytes
