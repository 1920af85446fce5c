"""Which agents should be on another server: a plan, made of values alone and carried out by nobody here.

An agent only ever goes to the first server of its list that takes agents: anywhere else it would not stay, since its
own checks bring it back. So where everybody is placed as the lists say, and the spread is uneven all the same, there is
nothing to move, and the plan says so.

Servers that are near the average are left alone. One that is off it makes the plan move agents: under rendezvous as
few as bring every server near the average again, under the other algorithms, whose lists follow no weights, all that
are not where their lists lead. A host without an agent has no list and may run on any server that takes agents: of
such hosts as few are moved as are needed besides.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from attrs import frozen

from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.least_moves import least_moves
from cloudlb.domain.models import HostId


@frozen(kw_only=True)
class PlannedHost:
    """A host as a plan sees it."""

    id: HostId
    place: Place
    server: str | None
    """The address of the server that it is on."""
    up: bool
    direct: bool = False
    """It has no agent of its own, and so no list: it may run anywhere."""
    held: tuple[str, ...] | None = None
    """The list that its agent holds, where that is known; under shuffle it alone says where the agent belongs."""


@frozen(kw_only=True)
class PlannedServer:
    """A server as a plan sees it."""

    address: str
    """As ``host`` has it."""
    up: bool
    weight: int = 1
    draining: bool = False
    """It takes no agents, and those that it has are moved by the drain."""
    listed: bool = True
    """It stands in ``host``. One that does not should have no agents."""

    @property
    def takes_agents(self) -> bool:
        """Agents may be sent to it."""
        return self.up and self.listed and not self.draining


@frozen(kw_only=True)
class Band:
    """How far off the average, by weight, a server may be: by fewer than so many agents, or by less than the factor."""

    agents: int = 10
    factor: float = 1.2
    """With 1.2: from average / 1.2 to average * 1.2."""
    seconds: float = 60.0
    """How long a server must have been off before anything is moved."""

    def bounds(self, average: float) -> tuple[int, int]:
        """The least and the most agents of a server that is not off."""
        least = math.floor(min(average - self.agents, average / self.factor)) + 1
        most = math.ceil(max(average + self.agents, average * self.factor)) - 1
        return max(0, least), most


class Stay(Enum):
    """Why a host is not moved."""

    NOT_CONNECTED = "it is not Up"
    SERVER_DOWN = "its server is down: its agent finds another by itself"
    DRAINED = "its server is drained, which moves it"
    DIRECT = "it has no agent of its own, and so no list"
    NOWHERE = "no server of its list takes agents"
    UNKNOWN_LIST = "its list is in random order, which only its agent knows"
    PLACED = "it is on the first server of its list that takes agents"
    NEAR_ENOUGH = "the spread is even enough without its moving"
    TOO_SOON = "the spread has not been uneven for long enough"


@frozen
class Move:
    """One host's change of servers."""

    host_id: HostId
    source: str
    target: str


@frozen(kw_only=True)
class Share:
    """One server's part in a plan: numbers of hosts that are Up on it."""

    server: PlannedServer
    before: int
    after: int
    average: float
    """What it would have if all were spread by weight alone."""
    off: bool
    """Before the plan; whoever calls measures for how long."""


@frozen(kw_only=True)
class Plan:
    """Who moves, in this order, and why the others do not."""

    moves: tuple[Move, ...]
    stays: Mapping[HostId, Stay]
    shares: tuple[Share, ...]
    notes: tuple[str, ...]
    """What else whoever reads the plan should know, a sentence each."""


def plan(
    hosts: Sequence[PlannedHost],
    servers: Sequence[PlannedServer],
    algorithm: Algorithm,
    band: Band,
    *,
    off_for: float = math.inf,
    new_lists: bool = False,
) -> Plan:
    """Plan moves.

    Args:
        hosts: each once.
        servers: each once; those of ``host`` in its order.
        algorithm: what orders the lists.
        band: how uneven the spread may be.
        off_for: seconds for which servers have been off without a break.
        new_lists: the lists have just been changed, which sends every agent where its list leads, however even the
            spread is.
    """
    spread = _Spread(Counter(host.server for host in hosts if host.up and host.server), servers, algorithm, band)
    stays, wishes, free = _sort_hosts(hosts, servers, algorithm)
    off_before = spread.off(spread.before)
    if new_lists:
        moves, left = wishes, Stay.DIRECT
    elif not off_before:
        moves, left = [], Stay.NEAR_ENOUGH
    elif off_for < band.seconds:
        moves, left = [], Stay.TOO_SOON
    else:
        moves, left = _fewest(wishes, free, spread, algorithm), Stay.NEAR_ENOUGH
    moving = {move.host_id for move in moves}
    stays.update((move.host_id, left) for move in wishes if move.host_id not in moving)
    stays.update((host_id, left) for host_id, _ in free if host_id not in moving)
    after = _after(spread.before, moves)
    off_after = spread.off(after)
    return Plan(
        moves=tuple(_interleaved(moves)),
        stays=stays,
        shares=tuple(
            Share(
                server=server,
                before=spread.before[server.address],
                after=after[server.address],
                average=spread.averages.get(server.address, 0.0),
                off=server.address in off_before,
            )
            for server in servers
        ),
        notes=tuple(_notes(servers, algorithm, stays, off_after if left is not Stay.TOO_SOON else [])),
    )


def off_average(
    counts: Mapping[str, int], servers: Sequence[PlannedServer], algorithm: Algorithm, band: Band
) -> list[str]:
    """Servers that are off the average now, however long.

    Args:
        counts: hosts that are Up, by the address of their server.
        servers: each once.
        algorithm: what orders the lists; the average is by weight only under rendezvous.
        band: how uneven the spread may be.
    """
    spread = _Spread(counts, servers, algorithm, band)
    return spread.off(spread.before)


class _Spread:
    """How many hosts each server has, and how many it should have."""

    def __init__(
        self, counts: Mapping[str, int], servers: Sequence[PlannedServer], algorithm: Algorithm, band: Band
    ) -> None:
        self.before = Counter({server.address: counts.get(server.address, 0) for server in servers})
        taking = [server for server in servers if server.takes_agents]
        weights = {server.address: server.weight if algorithm is Algorithm.RENDEZVOUS else 1 for server in taking}
        serving = [server.address for server in servers if server.up and not server.draining]
        total = sum(self.before[address] for address in serving)
        self.averages = {address: total * weight / sum(weights.values()) for address, weight in weights.items()}
        self.bounds = {
            address: band.bounds(self.averages[address]) if address in self.averages else (0, 0)
            for address in (serving if taking else [])
        }

    def off(self, counts: Mapping[str, int]) -> list[str]:
        """Servers out of their bounds."""
        return [address for address, (least, most) in self.bounds.items() if not least <= counts[address] <= most]


def _sort_hosts(
    hosts: Sequence[PlannedHost], servers: Sequence[PlannedServer], algorithm: Algorithm
) -> tuple[dict[HostId, Stay], list[Move], list[tuple[HostId, str]]]:
    """Tell hosts that stay in any case from those that belong elsewhere, and from those that belong nowhere."""
    by_address = {server.address: server for server in servers}
    listed = [server.address for server in servers if server.listed]
    weights = {server.address: server.weight for server in servers}
    rng = random.Random(0)  # noqa: S311 - shuffle, which alone would use it, is not asked

    def first(host: PlannedHost) -> str | Stay:
        if algorithm is Algorithm.SHUFFLE:
            order = host.held
        else:
            order = host_list_for(algorithm, listed, host.place, rng, weights).addresses if listed else ()
        if order is None:
            return Stay.UNKNOWN_LIST
        taking = (one for one in order if one in by_address and by_address[one].takes_agents)
        return next(taking, Stay.NOWHERE)

    stays: dict[HostId, Stay] = {}
    wishes, free = [], []
    for host in hosts:
        server = by_address.get(host.server) if host.server is not None else None
        if not host.up or host.server is None:
            stays[host.id] = Stay.NOT_CONNECTED
        elif server is None or not server.up:
            stays[host.id] = Stay.SERVER_DOWN
        elif server.draining:
            stays[host.id] = Stay.DRAINED
        elif host.direct:
            free.append((host.id, host.server))
        elif isinstance(target := first(host), Stay):
            stays[host.id] = target
        elif target == host.server:
            stays[host.id] = Stay.PLACED
        else:
            wishes.append(Move(host.id, host.server, target))
    return stays, wishes, free


def _after(before: Counter[str], moves: Sequence[Move]) -> Counter[str]:
    after = before + Counter(move.target for move in moves)
    after.subtract(move.source for move in moves)
    return after


def _fewest(
    wishes: Sequence[Move], free: Sequence[tuple[HostId, str]], spread: _Spread, algorithm: Algorithm
) -> list[Move]:
    """As many moves as the bounds need; of those between the same two servers, the first.

    Without weights the lists do not follow the spread: all agents go where they belong, and free hosts fill the gaps.
    """
    settled = [] if algorithm is Algorithm.RENDEZVOUS else list(wishes)
    counts = _after(spread.before, settled)
    led, rest = least_moves(
        {address: counts[address] for address in spread.bounds},
        spread.bounds,
        {} if settled else Counter((move.source, move.target) for move in wishes),
        Counter(source for _, source in free),
    )
    wanted = Counter(led)
    moves = settled or [move for move in wishes if _take(wanted, (move.source, move.target))]
    targets: dict[str, deque[str]] = defaultdict(deque)
    for (source, target), number in rest.items():
        targets[source].extend([target] * number)
    return moves + [Move(host_id, source, targets[source].popleft()) for host_id, source in free if targets[source]]


def _take(wanted: Counter[tuple[str, str]], pair: tuple[str, str]) -> bool:
    if not wanted[pair]:
        return False
    wanted[pair] -= 1
    return True


def _interleaved(moves: Sequence[Move]) -> Iterator[Move]:
    """All servers at the same relative pace: none is flooded first, and a plan that is broken off has served all."""
    pairs: dict[tuple[str, str], list[Move]] = defaultdict(list)
    for move in moves:
        pairs[move.source, move.target].append(move)
    paced = (
        ((number + 0.5) / len(several), pair, move)
        for pair, several in pairs.items()
        for number, move in enumerate(several)
    )
    return (move for _, _, move in sorted(paced, key=lambda one: one[:2]))


def _notes(
    servers: Sequence[PlannedServer], algorithm: Algorithm, stays: Mapping[HostId, Stay], off: Sequence[str]
) -> Iterator[str]:
    taking = [server for server in servers if server.takes_agents]
    if not taking:
        yield "No server of `host` takes agents."
    if algorithm is not Algorithm.RENDEZVOUS and any(server.weight != 1 for server in servers):
        yield f"Weights mean nothing under {algorithm.value}."
    unknown = sum(stay is Stay.UNKNOWN_LIST for stay in stays.values())
    if unknown and taking:
        yield (
            f"Under shuffle lists are in random order, which only the agents know: where {unknown} of them belong "
            f"cannot be told. Each of {len(taking)} servers is the first for about as many."
        )
    elif off:
        yield (
            f"Off the average after all moves: {', '.join(off)}. The spread cannot be improved further: agents go only "
            f"where their lists lead, and {algorithm.value} does not reorder them for the spread."
        )
