"""addHost: hosts are registered before their agents come, or get a resource inside the servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen

from cloudlb.agents.registration import Bundle, NewHost, NoAuthority
from cloudlb.api.command import Body, Call, Command
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter
from cloudlb.api.host_answer import HostAnswer, servers_by_id, show_host
from cloudlb.api.places import ARCHITECTURES, HYPERVISORS, find_cluster, find_pod, find_zone, new_name, one_of
from cloudlb.api.schema import Key, as_answer, optional, required, shown
from cloudlb.domain.addresses import InvalidAddress, normalize_address
from cloudlb.domain.models import Cluster
from cloudlb.domain.ports import AlreadyExists, Transaction
from cloudlb.resource.loading import SIMULATOR

DIRECT_HYPERVISOR = "Simulator"
"""Its hosts have no agent."""


@frozen(kw_only=True)
class AddHost:
    """A new host."""

    zoneid: Key = required("the Zone ID for the host", related="listZones")
    podid: Key = required("the Pod ID for the host", related="listPods")
    url: str = required("the host URL: http:// and the host's name or IP address")
    hypervisor: str = required(f"hypervisor type of the host: {', '.join(HYPERVISORS)}")
    clusterid: Key | None = optional("the cluster ID for the host", related="listClusters")
    clustername: str | None = optional("the cluster name for the host; the cluster is added if there is none")
    username: str | None = optional("the username for the host, for a resource that asks for it")
    password: str | None = optional("the password for the host, for a resource that asks for it", secret=True)
    hosttags: list[str] | None = optional("list of tags to be added to the host")
    allocationstate: str | None = optional("Enabled: what every new host is; see updateHost")
    resource: str | None = optional("the class of the host's resource, by its dotted name", extension=True)


@frozen(kw_only=True)
class NewHostAnswer(HostAnswer):
    """A host, and what its agent needs."""

    agentbundle: dict[str, Any] | None = shown(
        "files for the host's agent, in this answer only: certificate, privatekey, cacertificates and agentproperties",
        secret=True,
        extension=True,
    )


async def _add_host(call: Call, arguments: AddHost) -> Body:
    hypervisor = one_of(HYPERVISORS, "hypervisor", arguments.hypervisor)
    if arguments.allocationstate not in (None, "Enabled"):
        raise invalid_parameter("allocationstate", "a new host is Enabled; disable it with updateHost once it is Up")
    name, parameters = _read_url(arguments.url)
    direct = None
    if hypervisor == DIRECT_HYPERVISOR:
        given = {"url": arguments.url, "username": arguments.username, "password": arguments.password}
        direct = {**parameters, **{key: value for key, value in given.items() if value is not None}}
        direct["hypervisor.type"] = hypervisor
    new = NewHost(
        name=name,
        cluster=await call.store.run(lambda txn: _cluster(txn, arguments, hypervisor)),
        resource=arguments.resource or SIMULATOR,
        tags=tuple(arguments.hosttags or ()),
        direct=direct,
    )
    try:
        host, bundle = await call.context.registration.add(new, call.account.id)
    except AlreadyExists as error:
        raise invalid_parameter("url", str(error)) from error
    except NoAuthority as error:
        raise ApiError(ErrorCode.RESOURCE_UNAVAILABLE, str(error)) from error
    servers = await call.store.read(servers_by_id)
    answer = as_answer(show_host(servers)(host))
    if bundle is not None:
        answer["agentbundle"] = _show_bundle(bundle)
    # A list, as in CloudStack, where one call may find several hosts.
    return {"count": 1, "host": [answer]}


def _read_url(url: str) -> tuple[str, Mapping[str, str]]:
    """The host's name or address, and properties for its resource, as CloudStack's simulator takes them."""
    try:
        parts = urlsplit(url)
        last = parts.path.rpartition("/")[2]
        properties = dict(parse_qsl(last, strict_parsing=True)) if last else {}
        name = normalize_address(parts.hostname or "")
    except (ValueError, InvalidAddress) as error:
        raise invalid_parameter("url", str(error)) from error
    if parts.scheme not in ("http", "https"):
        raise invalid_parameter("url", "it does not begin with http://")
    return name, properties


def _cluster(txn: Transaction, arguments: AddHost, hypervisor: str) -> Cluster:
    zone, pod = find_zone(txn, arguments.zoneid), find_pod(txn, arguments.podid)
    if pod.zone.id != zone.id:
        raise invalid_parameter("podid", f"pod {pod.name} is not in zone {zone.name}")
    if (arguments.clusterid is None) == (arguments.clustername is None):
        raise ApiError(ErrorCode.PARAMETER, "addHost needs either clusterid or clustername")
    if arguments.clusterid is not None:
        parameter, cluster = "clusterid", find_cluster(txn, arguments.clusterid)
        if cluster.pod.id != pod.id:
            raise invalid_parameter(parameter, f"cluster {cluster.name} is not in pod {pod.name}")
    else:
        parameter, name = "clustername", new_name("clustername", arguments.clustername or "")
        found = [each for each in txn.topology.clusters() if each.pod.id == pod.id and each.name == name]
        cluster = (
            found[0] if found else txn.topology.add_cluster(name, pod.id, hypervisor=hypervisor, arch=ARCHITECTURES[0])
        )
    if cluster.hypervisor != hypervisor:
        raise invalid_parameter(parameter, f"cluster {cluster.name} is of {cluster.hypervisor} and not of {hypervisor}")
    return cluster


def _show_bundle(bundle: Bundle) -> dict[str, str]:
    # Names of CloudStack's issueCertificate, where it has one.
    return {
        "certificate": bundle.certificate.decode("ascii"),
        "privatekey": bundle.private_key.decode("ascii"),
        "cacertificates": bundle.ca_certificate.decode("ascii"),
        "agentproperties": bundle.properties,
    }


COMMANDS = (
    Command(name="addHost", description="Adds a new host.", arguments=AddHost, answer=NewHostAnswer, run=_add_host),
)
