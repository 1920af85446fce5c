"""Who is on whose list, and who has to move when servers or hosts come and go."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.balancing import Algorithm, Place, Weights, host_list_for, is_current
from cloudlb.domain.host_list import HostList

SERVERS = tuple(f"10.0.0.{number}" for number in range(1, 7))
GUIDS = tuple(f"{number:08x}-0000-4000-8000-{number * 7919:012x}-LibvirtComputingResource" for number in range(5000))

ALGORITHMS = st.sampled_from(Algorithm)
SOME_SERVERS = st.lists(st.sampled_from([*SERVERS, "ms1.example", "::1"]), min_size=1, max_size=8, unique=True)
PLACES = st.builds(Place, st.text(max_size=30), st.integers(0, 10**6))


def order(
    algorithm: Algorithm, servers: Sequence[str], guid: str = "guid", index: int = 0, seed: int = 1
) -> tuple[str, ...]:
    """The addresses of one host's list."""
    return host_list_for(algorithm, servers, Place(guid, index), random.Random(seed)).addresses


def heads(servers: Sequence[str], guids: Sequence[str] = GUIDS) -> dict[str, str]:
    """The preferred server of each host under rendezvous."""
    return {guid: order(Algorithm.RENDEZVOUS, servers, guid)[0] for guid in guids}


class AllAlgorithms(SynchronousTestCase):
    """What holds for each of them."""

    @given(ALGORITHMS, SOME_SERVERS, PLACES, st.integers(0, 9))
    @settings(max_examples=200)
    def test_every_server_once(self, algorithm: Algorithm, servers: list[str], place: Place, seed: int) -> None:
        """A list has each server once and carries its algorithm's name; the servers given are left as they are."""
        given_servers = list(servers)
        hosts = host_list_for(algorithm, servers, place, random.Random(seed))
        self.assertEqual(sorted(hosts.addresses), sorted(given_servers))
        self.assertEqual(servers, given_servers)
        self.assertEqual(hosts.algorithm, algorithm.value)
        self.assertTrue(is_current(algorithm, hosts, HostList.parse(str(hosts))))

    @given(SOME_SERVERS, PLACES)
    @settings(max_examples=50)
    def test_only_shuffle_is_random(self, servers: list[str], place: Place) -> None:
        """Every server computes the same list, whatever its random numbers."""
        for algorithm in set(Algorithm) - {Algorithm.SHUFFLE}:
            lists = {host_list_for(algorithm, servers, place, random.Random(seed)) for seed in range(5)}
            self.assertEqual(len(lists), 1)


class CloudStacksAlgorithms(SynchronousTestCase):
    """static, roundrobin and shuffle."""

    def test_static(self) -> None:
        """The list as given, for everybody."""
        self.assertEqual({order(Algorithm.STATIC, "CAB", index=i) for i in range(5)}, {("C", "A", "B")})

    def test_roundrobin(self) -> None:
        """The list rotates by the host's place in its zone: A,B,C, then B,C,A, then C,A,B, then from the beginning."""
        lists = ["".join(order(Algorithm.ROUNDROBIN, "ABC", index=index)) for index in range(4)]
        self.assertEqual(lists, ["ABC", "BCA", "CAB", "ABC"])

    def test_roundrobin_is_even(self) -> None:
        """Heads differ by one host at most."""
        counts = Counter(order(Algorithm.ROUNDROBIN, SERVERS, index=index)[0] for index in range(1000))
        self.assertLessEqual(max(counts.values()) - min(counts.values()), 1)
        self.assertEqual(len(counts), len(SERVERS))

    def test_shuffle(self) -> None:
        """Every order comes, each about as often; the seed decides which."""
        rng = random.Random(20)
        counts = Counter(host_list_for(Algorithm.SHUFFLE, "ABC", Place("g", 0), rng).addresses for _ in range(6000))
        self.assertEqual(len(counts), 6)
        # 5 degrees of freedom: 20.5 is exceeded once in a thousand seeds.
        self.assertLess(sum((n - 1000) ** 2 / 1000 for n in counts.values()), 20.5)
        self.assertEqual(order(Algorithm.SHUFFLE, SERVERS, seed=3), order(Algorithm.SHUFFLE, SERVERS, seed=3))


class Rendezvous(SynchronousTestCase):
    """Changes move only who must move."""

    @given(SOME_SERVERS, st.text(max_size=20), st.data())
    @settings(max_examples=100)
    def test_strict_order(self, servers: list[str], guid: str, data: st.DataObject) -> None:
        """The order of two servers depends on nothing but them and the host: not on how or with whom they are given."""
        ranking = order(Algorithm.RENDEZVOUS, servers, guid)
        self.assertEqual(order(Algorithm.RENDEZVOUS, data.draw(st.permutations(servers)), guid, index=7), ranking)
        some = data.draw(st.lists(st.sampled_from(servers), min_size=1, unique=True))
        self.assertEqual(order(Algorithm.RENDEZVOUS, some, guid), tuple(server for server in ranking if server in some))

    def test_fixed_vectors(self) -> None:
        """The order is part of what servers of different versions must agree on."""
        servers = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        lists = [order(Algorithm.RENDEZVOUS, servers, f"agent-{number}") for number in (1, 2, 3)]
        digits = ["".join(address[-1] for address in addresses) for addresses in lists]
        self.assertEqual(digits, ["312", "312", "132"])

    def test_spread(self) -> None:
        """Heads are spread as evenly as chance can, in every place of the list."""
        lists = [order(Algorithm.RENDEZVOUS, SERVERS[:5], guid) for guid in GUIDS]
        for place in range(5):
            counts = Counter(addresses[place] for addresses in lists)
            # 4 degrees of freedom: 18.5 is exceeded once in a thousand fleets.
            self.assertLess(sum((n - 1000) ** 2 / 1000 for n in counts.values()), 18.5, counts)

    def test_server_leaves(self) -> None:
        """From 5 servers to 4 only the agents of the fifth move, which are a fifth of all."""
        before, after = heads(SERVERS[:5]), heads(SERVERS[:4])
        moved = {guid for guid in GUIDS if before[guid] != after[guid]}
        self.assertEqual(moved, {guid for guid in GUIDS if before[guid] == SERVERS[4]})
        self.assertLess(abs(len(moved) / len(GUIDS) - 1 / 5), 0.02)

    def test_server_joins(self) -> None:
        """From 5 servers to 6 a sixth of the agents move, all of them to the new one."""
        before, after = heads(SERVERS[:5]), heads(SERVERS)
        moved = [guid for guid in GUIDS if before[guid] != after[guid]]
        self.assertEqual({after[guid] for guid in moved}, {SERVERS[5]})
        self.assertLess(abs(len(moved) / len(GUIDS) - 1 / 6), 0.02)

    def test_server_dies(self) -> None:
        """The agents of a dead server go on to their second places, which are spread over all the others."""
        lists = [order(Algorithm.RENDEZVOUS, SERVERS[:5], guid) for guid in GUIDS]
        for dead in SERVERS[:5]:
            refugees = Counter(second for first, second, *_ in lists if first == dead)
            self.assertEqual(set(refugees), set(SERVERS[:5]) - {dead})
            expected = refugees.total() / 4
            # 3 degrees of freedom: 16.3 is exceeded once in a thousand fleets.
            self.assertLess(sum((n - expected) ** 2 / expected for n in refugees.values()), 16.3, refugees)
            self.assertLess(max(refugees.values()) / expected, 1.2, refugees)

    def test_host_is_deleted(self) -> None:
        """The places of other hosts in their zone do not matter, so a deletion moves nobody; roundrobin moves all."""
        index = {guid: number for number, guid in enumerate(GUIDS[:300])}
        for algorithm, moved in ((Algorithm.RENDEZVOUS, 0), (Algorithm.ROUNDROBIN, 299)):
            before = {g: order(algorithm, SERVERS, g, i) for g, i in index.items()}
            after = {g: order(algorithm, SERVERS, g, i - 1) for g, i in index.items() if i > 0}
            self.assertEqual(sum(before[g] != after[g] for g in after), moved)


SOME_WEIGHTS = st.lists(st.integers(1, 1000), min_size=5, max_size=5).map(
    lambda few: dict(zip(SERVERS[:5], few, strict=True))
)
FEW_GUIDS = GUIDS[:300]


class Weighted(SynchronousTestCase):
    """Rendezvous with weights."""

    def ranked(self, weights: Weights, guid: str, servers: Sequence[str] = SERVERS) -> tuple[str, ...]:
        """One host's list."""
        return host_list_for(Algorithm.RENDEZVOUS, servers, Place(guid, 0), random.Random(1), weights).addresses

    def heads(self, weights: Weights, servers: Sequence[str] = SERVERS) -> dict[str, str]:
        """The preferred server of each of a few hosts."""
        return {guid: self.ranked(weights, guid, servers)[0] for guid in FEW_GUIDS}

    @given(st.text(max_size=20), st.integers(1, 1000))
    def test_equal_weights(self, guid: str, weight: int) -> None:
        """Equal weights, written or not, give the order of the hashes alone: nobody moves for a number that says
        nothing new."""
        keyed = blake2b(guid.encode(), digest_size=16).digest()
        drawn = {address: blake2b(address.encode(), key=keyed, digest_size=8).digest() for address in SERVERS}
        by_hash = tuple(sorted(SERVERS, key=lambda address: drawn[address], reverse=True))
        self.assertEqual(self.ranked({}, guid), by_hash)
        self.assertEqual(self.ranked(dict.fromkeys(SERVERS, weight), guid), by_hash)

    @given(SOME_WEIGHTS, st.sampled_from(SERVERS), st.integers(1, 1000))
    @settings(max_examples=30, deadline=None)
    def test_heavier(self, weights: dict[str, int], server: str, more: int) -> None:
        """A server that becomes heavier draws hosts to it, and no host goes anywhere else."""
        before = self.heads(weights)
        after = self.heads({**weights, server: weights.get(server, 1) + more})
        moved = [guid for guid in FEW_GUIDS if before[guid] != after[guid]]
        self.assertLessEqual({after[guid] for guid in moved}, {server})

    @given(SOME_WEIGHTS, st.sampled_from(SERVERS))
    @settings(max_examples=30, deadline=None)
    def test_comes_and_goes(self, weights: dict[str, int], server: str) -> None:
        """A server that comes gets hosts from others, one that goes loses its own: those and no others move."""
        without, along = self.heads(weights, [one for one in SERVERS if one != server]), self.heads(weights)
        moved = {guid for guid in FEW_GUIDS if without[guid] != along[guid]}
        self.assertEqual(moved, {guid for guid in FEW_GUIDS if along[guid] == server})

    @given(SOME_WEIGHTS, st.text(max_size=20), st.data())
    @settings(max_examples=50)
    def test_strict_order(self, weights: dict[str, int], guid: str, data: st.DataObject) -> None:
        """The order of two servers depends on nothing but them, their weights and the host."""
        ranking = self.ranked(weights, guid)
        some = data.draw(st.lists(st.sampled_from(SERVERS), min_size=1, unique=True))
        self.assertEqual(self.ranked(weights, guid, some), tuple(server for server in ranking if server in some))

    def test_shares(self) -> None:
        """Heads are shared by weight, and so are the hosts of a server that dies."""
        weights = {SERVERS[0]: 4, SERVERS[1]: 3, SERVERS[2]: 2}
        lists = [self.ranked(weights, guid, SERVERS[:4]) for guid in GUIDS]
        for server, share in zip(SERVERS[:4], (0.4, 0.3, 0.2, 0.1), strict=True):
            found = sum(addresses[0] == server for addresses in lists) / len(GUIDS)
            self.assertLess(abs(found - share), 0.02, server)
        refugees = Counter(second for first, second, *_ in lists if first == SERVERS[0])
        for server, share in zip(SERVERS[1:4], (3 / 6, 2 / 6, 1 / 6), strict=True):
            self.assertLess(abs(refugees[server] / refugees.total() - share), 0.04, server)

    def test_other_algorithms(self) -> None:
        """They take no notice of weights."""
        for algorithm in set(Algorithm) - {Algorithm.RENDEZVOUS}:
            lists = [
                host_list_for(algorithm, SERVERS, Place("g", 4), random.Random(7), weights)
                for weights in ({}, {SERVERS[5]: 9})
            ]
            self.assertEqual(*lists)


class Currency(SynchronousTestCase):
    """is_current: what an agent may keep."""

    def test_rules(self) -> None:
        """Order counts but under shuffle; content and the algorithm's name count always."""
        for algorithm, wanted, held, current in (
            ("static", "a,b,c", "a,b,c@static", True),
            ("static", "a,b,c", "a,c,b@static", False),
            ("static", "a,b,c", "a,b@static", False),
            ("static", "a,b", "a,b,c@static", False),
            ("static", "a,b", "a,b@roundrobin", False),
            ("static", "a,b", "a,b", False),
            ("static", "a,b", "a,b@Static", False),
            ("roundrobin", "b,a", "b,a@roundrobin", True),
            ("roundrobin", "b,a", "a,b@roundrobin", False),
            ("rendezvous", "b,a", "a,b@rendezvous", False),
            ("rendezvous", "b,a", "b,a@rendezvous", True),
            ("shuffle", "a,b,c", "c,a,b@shuffle", True),
            ("shuffle", "a,b,c", "c,a@shuffle", False),
            ("shuffle", "a,b", "c,a,b@shuffle", False),
            ("shuffle", "a,b", "b,a@static", False),
        ):
            wants = HostList.parse(f"{wanted}@{algorithm}")
            found = is_current(Algorithm(algorithm), wants, HostList.parse(held))
            self.assertIs(found, current, (algorithm, wanted, held))
