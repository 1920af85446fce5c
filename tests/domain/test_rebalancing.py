"""Who would be moved, by how few moves, and what the plan says where nothing helps."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations, product

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.least_moves import least_moves
from cloudlb.domain.models import HostId
from cloudlb.domain.rebalancing import Band, Plan, PlannedHost, PlannedServer, Stay, plan

BAND = Band(agents=2, factor=1.1, seconds=60)
SERVERS = tuple(PlannedServer(address=address, up=True) for address in "ABCD")
A, B, C, _ = SERVERS


def hosts_on(servers: Sequence[str | None]) -> list[PlannedHost]:
    """A host on each of these, the first with the id 1 and the index 0."""
    return [
        PlannedHost(id=HostId(number), place=Place(f"guid-{number}", number - 1), server=server, up=server is not None)
        for number, server in enumerate(servers, start=1)
    ]


def moved(hosts: Sequence[PlannedHost], planned: Plan) -> list[PlannedHost]:
    """The hosts after the plan."""
    targets = {move.host_id: move.target for move in planned.moves}
    return [evolve(host, server=targets.get(host.id, host.server)) for host in hosts]


def after(planned: Plan) -> dict[str, int]:
    """How many hosts each server would have."""
    return {share.server.address: share.after for share in planned.shares}


def first_places(hosts: Sequence[PlannedHost], servers: Sequence[PlannedServer]) -> dict[HostId, str]:
    """Where each host belongs under rendezvous if all servers take agents."""
    rng, weights = random.Random(1), {server.address: server.weight for server in servers}
    addresses = [server.address for server in servers]
    return {
        host.id: host_list_for(Algorithm.RENDEZVOUS, addresses, host.place, rng, weights).preferred for host in hosts
    }


ALGORITHMS = st.sampled_from(Algorithm)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[PlannedHost], list[PlannedServer]]:
    """Hosts and servers in any state."""
    servers = [
        PlannedServer(
            address=address,
            up=draw(st.integers(0, 4)) > 0,
            weight=draw(st.integers(1, 4)),
            draining=draw(st.integers(0, 5)) == 0,
            listed=draw(st.integers(0, 5)) > 0,
        )
        for address in "ABCDE"[: draw(st.integers(1, 5))]
    ]
    places = st.sampled_from([*(server.address for server in servers), "elsewhere", None])
    hosts = [
        evolve(
            host,
            direct=draw(st.integers(0, 9)) == 0,
            up=host.up and draw(st.integers(0, 9)) > 0,
            held=draw(st.none() | st.permutations([server.address for server in servers]).map(tuple)),
        )
        for host in hosts_on(draw(st.lists(places, max_size=40)))
    ]
    return hosts, servers


class Plans(SynchronousTestCase):
    """What holds for every plan."""

    @given(fleets(), ALGORITHMS, st.booleans())
    @settings(max_examples=300, deadline=None)
    def test_sound(
        self, fleet: tuple[list[PlannedHost], list[PlannedServer]], algorithm: Algorithm, new_lists: bool
    ) -> None:
        """Every host is moved once or stays for a reason, only to servers that take agents; the counts add up."""
        hosts, servers = fleet
        planned = plan(hosts, servers, algorithm, BAND, new_lists=new_lists)
        by_address = {server.address: server for server in servers}
        by_id = {host.id: host for host in hosts}
        ids = [*(move.host_id for move in planned.moves), *planned.stays]
        self.assertEqual(sorted(ids), sorted(by_id))
        for move in planned.moves:
            target, host = by_address[move.target], by_id[move.host_id]
            self.assertTrue(target.up and target.listed and not target.draining, target)
            self.assertTrue(host.up and not (host.direct and new_lists), host)
            self.assertEqual(move.source, host.server)
            self.assertNotEqual(move.source, move.target)
        for state, counts in ((hosts, "before"), (moved(hosts, planned), "after")):
            there = Counter(host.server for host in state if host.up)
            for share in planned.shares:
                self.assertEqual(getattr(share, counts), there[share.server.address], counts)

    @given(fleets(), ALGORITHMS, st.booleans())
    @settings(max_examples=300, deadline=None)
    def test_plan_after_plan(
        self, fleet: tuple[list[PlannedHost], list[PlannedServer]], algorithm: Algorithm, new_lists: bool
    ) -> None:
        """Where a plan was carried out there is nothing left to do."""
        hosts, servers = fleet
        first = plan(hosts, servers, algorithm, BAND, new_lists=new_lists)
        again = plan(moved(hosts, first), servers, algorithm, BAND, new_lists=new_lists)
        self.assertEqual(again.moves, ())

    @given(fleets(), ALGORITHMS)
    @settings(max_examples=100, deadline=None)
    def test_lists_are_obeyed(self, fleet: tuple[list[PlannedHost], list[PlannedServer]], algorithm: Algorithm) -> None:
        """A move goes to the first server of the host's list that takes agents, and no further move is possible where
        all go where lists lead."""
        hosts, servers = fleet
        planned = plan(hosts, servers, algorithm, BAND, new_lists=True)
        listed = [server.address for server in servers if server.listed]
        weights = {server.address: server.weight for server in servers}
        taking = {server.address for server in servers if server.takes_agents}
        by_id = {host.id: host for host in hosts}
        for move in planned.moves:
            host = by_id[move.host_id]
            order = host.held
            if algorithm is not Algorithm.SHUFFLE:
                order = host_list_for(algorithm, listed, host.place, random.Random(1), weights).addresses
            self.assertEqual(move.target, next(address for address in order or () if address in taking))
        self.assertNotIn(Stay.NEAR_ENOUGH, planned.stays.values())

    def test_reasons(self) -> None:
        """Why each host stays."""
        servers = [A, B, evolve(C, draining=True), PlannedServer(address="D", up=False)]
        hosts = hosts_on(["A", "C", "D", None, "elsewhere", "B"])
        hosts[0] = evolve(hosts[0], direct=True)
        planned = plan(hosts, servers, Algorithm.STATIC, BAND, new_lists=True)
        reasons = {number: stay.name for number, stay in planned.stays.items()}
        self.assertEqual(reasons, {1: "DIRECT", 2: "DRAINED", 3: "SERVER_DOWN", 4: "NOT_CONNECTED", 5: "SERVER_DOWN"})
        self.assertEqual([(move.host_id, move.target) for move in planned.moves], [(6, "A")])

    def test_nobody_takes_agents(self) -> None:
        """Nothing is planned, and the plan says why."""
        planned = plan(hosts_on("AAA"), [evolve(A, listed=False), evolve(B, up=False)], Algorithm.RENDEZVOUS, BAND)
        self.assertEqual((planned.moves, planned.notes), ((), ("No server of `host` takes agents.",)))
        none = plan(
            hosts_on("AAA"), [evolve(A, listed=False), evolve(B, up=False)], Algorithm.STATIC, BAND, new_lists=True
        )
        self.assertEqual(set(none.stays.values()), {Stay.NOWHERE})

    def test_interleaved(self) -> None:
        """All servers are served at one relative pace."""
        planned = plan(hosts_on("B" * 8 + "C" * 4), [A, B, C], Algorithm.STATIC, BAND)
        self.assertEqual("".join(move.source for move in planned.moves[:6]), "BCBBCB")
        planned = plan(hosts_on("B" * 10 + "C"), [A, B, C], Algorithm.STATIC, BAND)
        self.assertEqual("".join(move.source for move in planned.moves), "BBBBBCBBBBB")

    def test_cost(self) -> None:
        """10,000 hosts and 10 servers, all wrongly weighed."""
        servers = [PlannedServer(address=f"10.0.0.{n}", up=True, weight=1 + n % 3) for n in range(10)]
        hosts = hosts_on([servers[n * n % 9].address for n in range(10_000)])
        began = time.process_time()
        planned = plan(hosts, servers, Algorithm.RENDEZVOUS, Band())
        self.assertLess(time.process_time() - began, 1)
        self.assertGreater(len(planned.moves), 1000)


class DeadBand(SynchronousTestCase):
    """When something is moved at all."""

    @given(st.floats(0, 5000), st.integers(1, 50), st.floats(1, 3))
    def test_bounds(self, average: float, agents: int, factor: float) -> None:
        """A server is off if it is off by the number and by the factor; the average itself never is."""
        least, most = Band(agents=agents, factor=factor).bounds(average)
        for count in {0, least - 1, least, round(average), most, most + 1, int(average * 2)} - {-1}:
            above = count >= average + agents and count >= average * factor
            below = count <= average - agents and count <= average / factor
            self.assertEqual(least <= count <= most, not (above or below), count)

    def test_near_the_average(self) -> None:
        """A spread within the band is left alone, also where agents are not where they belong."""
        hosts = hosts_on("BACD" * 10)
        for algorithm in Algorithm:
            planned = plan([evolve(h, held=("A", "B", "C", "D")) for h in hosts], SERVERS, algorithm, BAND)
            self.assertEqual((planned.moves, planned.notes), ((), ()))
            self.assertEqual(set(planned.stays.values()), {Stay.PLACED, Stay.NEAR_ENOUGH})

    def test_for_a_while(self) -> None:
        """Nothing is moved before servers have been off for long enough; the plan says which are off."""
        hosts = hosts_on("A" * 20 + "B" * 20)
        for seconds, moves in ((0.0, 0), (59.9, 0), (60.0, 1)):
            planned = plan(hosts, SERVERS, Algorithm.RENDEZVOUS, BAND, off_for=seconds)
            self.assertEqual([share.off for share in planned.shares], [True] * 4)
            self.assertEqual(bool(planned.moves), bool(moves), seconds)
            self.assertEqual(Stay.TOO_SOON in planned.stays.values(), not moves)
            self.assertFalse(seconds < 60 and planned.notes)


class CloudStacksAlgorithms(SynchronousTestCase):
    """static, roundrobin and shuffle: who is off the first server of his list that works."""

    def test_static(self) -> None:
        """All go back to the first server; that the spread is bad then is said, and stays."""
        planned = plan(hosts_on("BBBBBACCCC"), [A, B, C], Algorithm.STATIC, BAND)
        self.assertEqual(after(planned), {"A": 10, "B": 0, "C": 0})
        self.assertEqual(len(planned.moves), 9)
        again = plan(hosts_on("A" * 10), [A, B, C], Algorithm.STATIC, BAND)
        self.assertEqual(again.moves, ())
        self.assertIn("The spread cannot be improved further", *again.notes)
        self.assertIn("A, B, C", *again.notes)

    def test_first_that_works(self) -> None:
        """Servers that are down or drained are passed over."""
        servers = [evolve(A, up=False), evolve(B, draining=True), C, PlannedServer(address="D", up=True)]
        planned = plan(hosts_on("D" * 8), servers, Algorithm.STATIC, BAND)
        self.assertEqual({move.target for move in planned.moves}, {"C"})

    def test_roundrobin(self) -> None:
        """After a server's return exactly those go back that belong there."""
        planned = plan(hosts_on("ABBABBABBABB"), [A, B, C], Algorithm.ROUNDROBIN, BAND)
        self.assertEqual(sorted(move.host_id for move in planned.moves), [3, 6, 9, 12])
        self.assertEqual((after(planned), planned.notes), ({"A": 4, "B": 4, "C": 4}, ()))

    def test_shuffle(self) -> None:
        """Agents whose list is known go to its head; of the others the plan can only say how many they are."""
        hosts = [evolve(host, held=("B", "A")) for host in hosts_on("A" * 12)]
        planned = plan(hosts, [A, B], Algorithm.SHUFFLE, BAND)
        self.assertEqual(len(planned.moves), 12)
        unknown = plan(hosts_on("A" * 12), [A, B], Algorithm.SHUFFLE, BAND)
        self.assertEqual((unknown.moves, set(unknown.stays.values())), ((), {Stay.UNKNOWN_LIST}))
        self.assertIn("where 12 of them belong cannot be told", *unknown.notes)

    def test_weights(self) -> None:
        """They mean nothing, and the plan says so."""
        for algorithm in set(Algorithm) - {Algorithm.RENDEZVOUS}:
            hosts = [evolve(host, held=("A", "B")) for host in hosts_on("AB" * 6)]
            planned = plan(hosts, [evolve(A, weight=5), B], algorithm, BAND)
            self.assertEqual([share.average for share in planned.shares], [6, 6])
            self.assertEqual(planned.notes, (f"Weights mean nothing under {algorithm.value}.",))


class Rendezvous(SynchronousTestCase):
    """As few moves as bring every server near the average."""

    def test_join(self) -> None:
        """A server that comes back empty gets just as many as bring it to its lower bound."""
        hosts = hosts_on([None] * 3000)
        old, everybody = SERVERS[:3], SERVERS
        homes = first_places(hosts, old)
        hosts = [evolve(host, server=homes[host.id], up=True) for host in hosts]
        band = Band(agents=10, factor=1.2)
        planned = plan(hosts, everybody, Algorithm.RENDEZVOUS, band)
        least, most = band.bounds(750)
        self.assertEqual((least, most), (626, 899))
        shares = planned.shares
        needed = max(least, sum(max(0, share.before - most) for share in shares))
        self.assertEqual(len(planned.moves), needed)
        self.assertEqual({move.target for move in planned.moves}, {"D"})
        self.assertTrue(all(least <= share.after <= most for share in shares), shares)

    def test_evenly(self) -> None:
        """The others give according to what they have: they are as even afterwards as the fewest moves allow."""
        for seed in range(5):
            hosts = [evolve(host, place=Place(f"{seed}-{host.id}", 0)) for host in hosts_on([None] * 3000)]
            homes = first_places(hosts, SERVERS[:3])
            placed = [evolve(host, server=homes[host.id], up=True) for host in hosts]
            shares = plan(placed, SERVERS, Algorithm.RENDEZVOUS, Band(agents=10, factor=1.2)).shares
            left = [share.after for share in shares[:3]]
            # Between the bounds are 273 hosts, in 16 steps.
            self.assertLessEqual(max(left) - min(left), 3 * 273 / 16, left)

    def test_weights(self) -> None:
        """The average is by weight."""
        servers = [evolve(A, weight=3), B]
        hosts = hosts_on("AB" * 500)
        planned = plan(hosts, servers, Algorithm.RENDEZVOUS, Band(agents=10, factor=1.1))
        self.assertEqual([share.average for share in planned.shares], [750, 250])
        self.assertEqual(after(planned), {"A": 726, "B": 274})

    def test_server_leaves_host(self) -> None:
        """A server that is not in ``host`` any more is left by all its agents, however few they are."""
        planned = plan(hosts_on("AB" * 20 + "C"), [A, B, evolve(C, listed=False)], Algorithm.RENDEZVOUS, BAND)
        self.assertEqual(after(planned)["C"], 0)
        self.assertEqual([move.source for move in planned.moves], ["C"])

    def test_drained_servers_do_not_count(self) -> None:
        """Neither they nor their agents: the drain moves those, and the others are even without them."""
        planned = plan(hosts_on("AB" * 20 + "C" * 30), [A, B, evolve(C, draining=True)], Algorithm.RENDEZVOUS, BAND)
        self.assertEqual(
            [(share.average, share.off) for share in planned.shares], [(20, False), (20, False), (0, False)]
        )
        self.assertEqual((planned.moves, planned.notes), ((), ()))

    def test_new_lists(self) -> None:
        """A change of the lists sends all where they lead, and not only as many as the band needs."""
        hosts = hosts_on("ABCD" * 25)
        homes = first_places(hosts, SERVERS)
        planned = plan(hosts, SERVERS, Algorithm.RENDEZVOUS, BAND, new_lists=True)
        self.assertEqual({host.id: host.server for host in moved(hosts, planned)}, homes)

    def test_hash_is_uneven(self) -> None:
        """Where all are placed as the hash says there is nothing to move, and the plan says so."""
        hosts = hosts_on([None] * 30)
        homes = first_places(hosts, SERVERS)
        hosts = [evolve(host, server=homes[host.id], up=True) for host in hosts]
        planned = plan(hosts, SERVERS, Algorithm.RENDEZVOUS, Band(agents=1, factor=1))
        self.assertEqual(planned.moves, ())
        self.assertIn("cannot be improved", *planned.notes)


class DirectHosts(SynchronousTestCase):
    """Hosts that have no list may run anywhere, and are moved where they help."""

    def direct(self, servers: Sequence[str | None]) -> list[PlannedHost]:
        """Such a host on each of these."""
        return [evolve(host, direct=True, id=HostId(host.id + 1000)) for host in hosts_on(servers)]

    def test_spread(self) -> None:
        """Under any algorithm as few go as bring the others near the average, and the rest stay for that reason."""
        for algorithm in Algorithm:
            planned = plan(self.direct("A" * 20 + "B" * 4), [A, B, C], algorithm, BAND)
            self.assertEqual(after(planned), {"A": 9, "B": 8, "C": 7}, algorithm)
            self.assertEqual(len(planned.moves), 11)
            self.assertEqual(set(planned.stays.values()), {Stay.NEAR_ENOUGH})

    def test_gaps(self) -> None:
        """Where agents go where they belong whatever the spread, such hosts go where they do not."""
        hosts = [*hosts_on("A" * 10 + "B"), *self.direct("A" * 5)]
        planned = plan(hosts, [A, B, C], Algorithm.STATIC, BAND)
        by_id = {host.id: host for host in hosts}
        self.assertEqual([move.host_id for move in planned.moves if not by_id[move.host_id].direct], [11])
        self.assertEqual(after(planned)["A"], 11)
        self.assertIn("cannot be improved", *planned.notes)

    def test_agents_first(self) -> None:
        """Where either would do, the agent goes: it belongs there."""
        hosts = hosts_on("A" * 30)
        homes = first_places(hosts, [A, B])
        going = sum(home == "B" for home in homes.values())
        band = Band(agents=1, factor=1)
        planned = plan([*self.direct("A" * 30), *hosts], [A, B], Algorithm.RENDEZVOUS, band)
        self.assertEqual(len(planned.moves), 30)
        self.assertEqual(sum(move.host_id < 1000 for move in planned.moves), going)
        self.assertLess(going, 30)

    def test_lists_lead_them_nowhere(self) -> None:
        """A change of lists is none for them."""
        planned = plan(self.direct("A" * 20), [A, B], Algorithm.RENDEZVOUS, BAND, new_lists=True)
        self.assertEqual((planned.moves, set(planned.stays.values())), ((), {Stay.DIRECT}))

    def test_server_leaves_host(self) -> None:
        """They too leave a server that is not in ``host`` any more."""
        planned = plan(self.direct("AAABBBC"), [A, B, evolve(C, listed=False)], Algorithm.STATIC, BAND)
        self.assertEqual([move.source for move in planned.moves], ["C"])


def out_of_bounds(counts: Mapping[str, int], bounds: Mapping[str, tuple[int, int]]) -> int:
    """By how many agents in all."""
    return sum(max(0, least - counts[one], counts[one] - most) for one, (least, most) in bounds.items())


class LeastMoves(SynchronousTestCase):
    """The flow against trying everything."""

    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_least(self, data: st.DataObject) -> None:
        """No choice of moves leaves less out of bounds, and none that leaves as little has fewer moves."""
        servers = "ABC"
        counts = {one: data.draw(st.integers(0, 8)) for one in servers}
        bounds = {one: (least := data.draw(st.integers(0, 6)), least + data.draw(st.integers(0, 3))) for one in servers}
        possible: dict[tuple[str, str], int] = {}
        for source in servers:
            left = counts[source]
            for target in servers.replace(source, ""):
                possible[source, target] = data.draw(st.integers(0, min(left, 2)))
                left -= possible[source, target]

        # Besides, hosts that may go anywhere.
        free = {one: data.draw(st.integers(0, 2)) for one in servers if data.draw(st.booleans())}
        for one, number in free.items():
            counts[one] += number

        def judge(moves: Mapping[tuple[str, str], int], free_moves: Mapping[tuple[str, str], int]) -> tuple[int, ...]:
            then = dict(counts)
            for pairs in (moves, free_moves):
                for (source, target), number in pairs.items():
                    then[source] -= number
                    then[target] += number
            free_number = sum(free_moves.values())
            return out_of_bounds(then, bounds), sum(moves.values()) + free_number, free_number

        found, free_found = least_moves(counts, bounds, possible, free)
        self.assertTrue(all(0 < number <= possible[pair] for pair, number in found.items()))
        leaving = Counter[str]()
        for (source, target), number in free_found.items():
            self.assertNotEqual(source, target)
            leaving[source] += number
        self.assertTrue(all(number <= free[source] for source, number in leaving.items()))
        choices = [
            dict(zip(possible, some, strict=True)) for some in product(*(range(room + 1) for room in possible.values()))
        ]
        ways = [pair for pair in possible if free.get(pair[0])]
        free_choices = [
            some
            for numbers in product(*(range(free[source] + 1) for source, _ in ways))
            for some in [dict(zip(ways, numbers, strict=True))]
            if all(sum(number for pair, number in some.items() if pair[0] == source) <= free[source] for source in free)
        ]
        self.assertEqual(judge(found, free_found), min(judge(*some) for some in product(choices, free_choices)))

    def test_chain(self) -> None:
        """Where nobody may go straight from the fullest to the emptiest server, two agents do it in two moves."""
        moves, _ = least_moves({"A": 6, "B": 4, "C": 2}, dict.fromkeys("ABC", (3, 5)), {("A", "B"): 3, ("B", "C"): 3})
        self.assertEqual(moves, {("A", "B"): 1, ("B", "C"): 1})

    def test_second_thoughts(self) -> None:
        """An agent that could go to either of two servers leaves the one to another agent that can go nowhere else."""
        ways = {("A", "C"): 1, ("A", "D"): 1, ("B", "C"): 1}
        bounds = {"A": (1, 1), "B": (0, 0), "C": (1, 1), "D": (1, 1)}
        for order in permutations(ways):
            moves, _ = least_moves({"A": 2, "B": 1, "C": 0, "D": 0}, bounds, {pair: ways[pair] for pair in order})
            self.assertEqual(moves, {("A", "D"): 1, ("B", "C"): 1})
