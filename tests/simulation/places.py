"""Where hosts are at rest, and what keeps them from being where they should be."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping

from cloudlb.domain.balancing import Algorithm, Place, host_list_for, is_current
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import Host, HostId
from tests.simulation.fleet import DirectHost, Fleet
from tests.support.agent_process import AgentProcess
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.world import Hosted, Picture, World


def misplaced(
    world: World, agent: AgentProcess, picture: Picture, places: Mapping[HostId, int], closed: Collection[str]
) -> Iterator[str]:
    """What keeps an agent from being where it should be, and from holding what it should hold.

    Args:
        world: with the agent, at rest.
        agent: that it is about; a dead or deleted one should be nowhere.
        picture: of this moment.
        places: of the hosts in their zone.
        closed: servers that take no agents, or are to be emptied.
    """
    row = picture.hosts.get(world.host_id(agent) or HostId(0))
    if not agent.alive:
        if row is not None and (believers := world.believers(agent)):
            yield f"{agent.name} is dead, and {believers} hold it"
        return
    if row is None:
        yield f"{agent.name} was never admitted"
        return
    if row.removed is not None:
        if (agent.server, world.believers(agent), row.status.value) != (None, [], "Removed"):
            yield f"{agent.name} is removed, {row.status.value}, on {agent.server}, {world.believers(agent)} hold it"
        return
    yield from world.problems(agent, picture)
    algorithm, held = picture.settings.algorithm, HostList.parse(agent.host_property)
    yield from _mislisted(agent, held, row, picture, places)
    # Under shuffle the head is tried once only.
    if picture.settings.check_interval(None) > 0 and algorithm is not Algorithm.SHUFFLE:
        first = next((address for address in held.addresses if address not in closed), None)
        # Of a drain that ran out of time agents stay where they are.
        if first is not None and agent.server != first and agent.server not in closed:
            yield f"{agent.name} holds {held}, of which {sorted(closed)} take nobody, and is on {agent.server}"


def misplaced_theirs(
    world: World, agent: CloudStackAgent, picture: Picture, places: Mapping[HostId, int]
) -> Iterator[str]:
    """The same of an agent of CloudStack's kind, which looks for no better server by itself."""
    row, believers = picture.hosts.get(world.host_id(agent) or HostId(0)), world.believers(agent)
    if row is None:
        yield f"{agent.name} was never admitted"
    elif row.removed is not None:
        if (agent.server, believers, row.status.value) != (None, [], "Removed"):
            yield f"{agent.name} is removed, {row.status.value}, on {agent.server}, {believers} hold it"
    else:
        if believers != [agent.server]:
            yield f"{agent.name} sees itself on {agent.server}, and {believers} see it on themselves"
        yield from _not_up(world, agent, row, picture)
        yield from _mislisted(agent, agent.hosts, row, picture, places)


def misplaced_direct(world: World, host: DirectHost, picture: Picture) -> Iterator[str]:
    """The same of a host without an agent: one server runs its resource."""
    row, believers = picture.hosts[host.host_id or HostId(0)], world.believers(host)
    if row.removed is not None:
        if (believers, row.status.value) != ([], "Removed"):
            yield f"{host.name} is removed, {row.status.value}, {believers} hold it"
        return
    if len(believers) != 1:
        yield f"{host.name} is held by {believers}"
    yield from _not_up(world, host, row, picture)


def left_running(world: World, fleet: Fleet) -> Iterator[str]:
    """Servers that have not let go of the resources of hosts that have left them."""
    numbers = {host.host_id for host in fleet.direct.values()}
    for server in world.running_servers:
        here = sorted(attache.host.id for attache in server.service.directory if attache.host.id in numbers)
        running = sorted(attache.host.id for attache in server.service.direct_hosts._attaches)
        if running != here:
            yield f"{server.address} runs the resources of {running}, and holds {here}"


def exited(world: World, fleet: Fleet) -> Iterator[str]:
    """Agents that a server has sent away for good, though nobody has deleted their hosts; whenever one looks."""
    for agent in fleet.theirs.values():
        if agent.exited is not None and (world.host_id(agent) is None or world.row(agent).removed is None):
            yield f"{agent.name} was told to exit: {agent.exited}"


def _not_up(world: World, host: Hosted, row: Host, picture: Picture) -> Iterator[str]:
    """What keeps a host from being Up, in the newest session, on the server that has it."""
    address = picture.address_of(row)
    if row.status.value != "Up" or [address] != world.believers(host):
        yield f"{host.name} is on {world.believers(host)}, its row says {row.status.value} on {address}"
    for server in world.servers.values():
        attache = server.attache(row.id) if server.alive else None
        if attache is not None and attache.host.session != row.session:
            yield f"{host.name} has session {row.session} and {server.address} holds {attache.host.session}"


def _mislisted(
    agent: Hosted, held: HostList, row: Host, picture: Picture, places: Mapping[HostId, int]
) -> Iterator[str]:
    """What is wrong with the list that an agent holds."""
    algorithm = picture.settings.algorithm
    wanted = host_list_for(
        algorithm,
        picture.settings.servers,
        Place(row.facts.guid, places[row.id]),
        random.Random(0),
        picture.settings.weights,
    )
    if algorithm is Algorithm.ROUNDROBIN and any(host.removed for host in picture.hosts.values()):
        # A deleted host moves the places of others, who learn of it when they next get a list.
        is_wanted = (set(held.addresses), held.algorithm) == (set(wanted.addresses), wanted.algorithm)
    else:
        is_wanted = is_current(algorithm, wanted, held)
    if not is_wanted:
        yield f"{agent.name} holds {held}, should {wanted}"
