"""What each investigator makes of what it sees; Redfish has tests of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable
from cloudlb.agents.investigation import Case, Investigator, Investigators
from cloudlb.agents.investigators import built_in
from cloudlb.agents.investigators.icmp import PATIENCE, IcmpInvestigator
from cloudlb.agents.investigators.kvm import KVMInvestigator
from cloudlb.agents.investigators.ping import PingInvestigator
from cloudlb.agents.investigators.simple import SimpleInvestigator
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import DirectResource, Host, ServerId, Session
from cloudlb.domain.records import Verdict
from cloudlb.domain.resource_state import ResourceState
from cloudlb.domain.settings import INVESTIGATORS_ORDER
from cloudlb.domain.settings_in_force import Settings
from cloudlb.net.icmp import NotPermitted
from cloudlb.wire import (
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    CheckOnHostAnswer,
    CheckOnHostCommand,
    Command,
    Opaque,
    PingTestCommand,
    UnsupportedAnswer,
)
from tests.agents.investigating import FakeSender, FakeStore, case, host, means, with_facts

DOWN, UP, UNKNOWN = Verdict.DOWN, Verdict.UP, Verdict.UNKNOWN
Reply = Callable[[Command], Answer | None]


class InvestigatorTestCase(SynchronousTestCase):
    """One investigator, a store and neighbours."""

    def setUp(self) -> None:
        """Host 1 is looked into; hosts 2 to 4 are beside it."""
        self.clock = Clock()
        self.store = FakeStore(*map(host, range(1, 5)))
        self.sender = FakeSender()
        self.means = means(self.store, self.sender, self.clock)

    def begin(self, investigator: Investigator, of: Host | None = None, **values: Any) -> Deferred[tuple[Verdict, str]]:
        """Have a case looked into."""
        return Deferred.fromCoroutine(investigator.investigate(case(of or host(1), **values)))

    def assert_said(self, begun: Deferred[tuple[Verdict, str]], verdict: Verdict, *words: str) -> None:
        """Check a verdict, and what its reason tells."""
        said, reason = self.successResultOf(begun)
        self.assertIs(said, verdict, reason)
        for word in words:
            self.assertIn(word, reason)


class BuiltInTests(SynchronousTestCase):
    """Those that come with the server."""

    def test_order(self) -> None:
        """The setting's default names them all, and only them."""
        names = Settings().value(INVESTIGATORS_ORDER).split(",")
        self.assertEqual(names, list(built_in(means(FakeStore(), reactor=Clock()))))


class BudgetTests(InvestigatorTestCase):
    """The time that the built-in ones have with the settings' defaults."""

    def test_the_last_one_has_its_whole_time(self) -> None:
        """Where a rack has lost its power all others wait for nothing, and the BMCs are asked all the same."""
        self.sender.answers = dict.fromkeys((2, 3, 4), mute)

        async def echo(_: str, seconds: float) -> float | None:
            await deferLater(self.clock, seconds)
            return None

        asked: list[float] = []

        class Bmc(Investigator):
            async def investigate(self, case: Case) -> tuple[Verdict, str]:
                asked.append(case.seconds)
                return DOWN, "its power is off"

        attache: Any = FakeAttache()
        investigators = Investigators(
            self.store.store,
            cast("LiveSettings", SimpleNamespace(current=Settings())),
            self.clock,
            random.Random(1),
            {**built_in(self.means, echo), "RedfishInvestigator": Bmc()},
        )
        begun = Deferred.fromCoroutine(investigators.investigate(case(host(1), attache=attache)))
        self.clock.pump([0.5] * 80)
        self.assertEqual([finding.verdict for finding in self.successResultOf(begun).findings], [*[UNKNOWN] * 4, DOWN])
        self.assertEqual(asked, [float(Settings().investigator_timeout)])


class FakeAttache:
    """A link on which the agent answers as the test says."""

    def __init__(self, *, connected: bool = True) -> None:
        self.connected = connected
        self.sent: list[Command] = []
        self.waiter: Deferred[list[Answer | Opaque]] = Deferred()

    def send(self, commands: list[Command], *, timeout: float) -> Deferred[list[Answer | Opaque]]:
        self.sent += commands
        self.timeout = timeout
        return self.waiter


class SimpleTests(InvestigatorTestCase):
    """The agent itself, and other servers."""

    def test_agent_answers(self) -> None:
        """An agent that answers CheckHealthCommand is Up; the host's maintenance does not matter."""
        attache = FakeAttache()
        begun = self.begin(SimpleInvestigator(self.means), attache=attache, seconds=7)
        self.assertEqual(attache.sent, [CheckHealthCommand(bypass_host_maintenance=True)])
        self.assertEqual(attache.timeout, 7)
        self.assertNoResult(begun)
        attache.waiter.callback([CheckHealthAnswer()])
        self.assert_said(begun, UP, "answers CheckHealthCommand")

    def test_agent_is_not_well(self) -> None:
        """A failed answer is no proof of life, nor of death."""
        answers: tuple[Answer | Opaque, ...] = (
            CheckHealthAnswer(result=False, details="no libvirt"),
            Opaque("com.x.Odd", {"result": True}),
        )
        for answer, word in zip(answers, ("no libvirt", "without a reason"), strict=True):
            attache = FakeAttache()
            attache.waiter.callback([answer])
            self.assert_said(self.begin(SimpleInvestigator(self.means), attache=attache), UNKNOWN, word)

    def test_agent_is_mute(self) -> None:
        """One that does not answer says nothing of its host."""
        for error in (AgentTimedOut("host-1 did not answer in time"), AgentUnavailable("the link was lost")):
            attache = FakeAttache()
            attache.waiter.errback(error)
            self.assert_said(self.begin(SimpleInvestigator(self.means), attache=attache), UNKNOWN, str(error))

    def test_link_is_gone(self) -> None:
        """Without a link there is nobody to ask."""
        gone = FakeAttache(connected=False)
        for attache in (None, gone):
            self.assert_said(self.begin(SimpleInvestigator(self.means), attache=attache), UNKNOWN, "link is gone")
        self.assertEqual(gone.sent, [])

    def test_elsewhere(self) -> None:
        """A newer session that is Up is another server's word, and the agent is not even asked."""
        self.store.servers = [SimpleNamespace(id=ServerId(9), name="ms-9")]
        self.store.hosts[host(1).id] = host(1, session=Session(2), server_id=ServerId(9))
        attache = FakeAttache()
        begun = self.begin(SimpleInvestigator(self.means), attache=attache)
        self.assert_said(begun, UP, "has come to ms-9 (session 2)")
        self.assertEqual(attache.sent, [])

    def test_not_elsewhere(self) -> None:
        """A newer session that is not Up, or the same one, says nothing."""
        for row in (host(1, session=Session(2), status=HostStatus.CONNECTING), host(1)):
            self.store.hosts[row.id] = row
            self.assert_said(self.begin(SimpleInvestigator(self.means)), UNKNOWN)


class IcmpTests(InvestigatorTestCase):
    """Echoes from the management server."""

    def ask(self, result: float | Exception | None, address: str = "192.0.2.1") -> Deferred[tuple[Verdict, str]]:
        """Have an echo end so."""
        self.asked: list[tuple[str, float]] = []

        async def echo(address: str, patience: float) -> float | None:
            self.asked.append((address, patience))
            if isinstance(result, Exception):
                raise result
            return result

        return self.begin(IcmpInvestigator(echo), with_facts(host(1), ip_address=address))

    def test_answer(self) -> None:
        """Who answers is Up."""
        self.assert_said(self.ask(0.0123), UP, "192.0.2.1 answers", "12.3 ms")
        self.assertEqual(self.asked, [("192.0.2.1", PATIENCE)])
        self.assert_said(self.ask(0.001, "2001:db8::1"), UP)

    def test_no_answer(self) -> None:
        """Who does not may be up all the same."""
        self.assert_said(self.ask(None), UNKNOWN, "does not answer")
        self.assert_said(self.ask(OSError("No route to host")), UNKNOWN, "No route to host")

    def test_not_permitted(self) -> None:
        """What would let the server ask is on record."""
        self.assert_said(self.ask(NotPermitted("sysctl x")), UNKNOWN, "sysctl x")

    def test_addresses_that_say_nothing(self) -> None:
        """An address that is not the host's alone is not asked."""
        nobody = "0.0.0.0"  # noqa: S104 - nothing is bound
        for address in ("", "unknown", "127.0.0.1", "::1", nobody, "::", "224.0.0.1", "255.255.255.255"):
            self.assert_said(self.ask(0.001, address), UNKNOWN)
            self.assertEqual(self.asked, [])


def reaches(_: Command) -> Answer:
    """What a neighbour says that reaches the host."""
    return Answer()


def cannot(_: Command) -> Answer:
    """What one says that does not."""
    return Answer(result=False, details="no answer")


def mute(_: Command) -> None:
    """What one says that says nothing."""


class PingTests(InvestigatorTestCase):
    """Neighbours that ping."""

    def ask(self, answers: Mapping[int, Any], of: Host | None = None) -> Deferred[tuple[Verdict, str]]:
        """Have neighbours answer so."""
        self.sender.answers = dict(answers)
        return self.begin(PingInvestigator(self.means), of)

    def test_reached(self) -> None:
        """Whom one of them reaches is Up, whatever the others say or whether they say it."""
        self.assert_said(self.ask({2: cannot, 3: reaches, 4: mute}), UP, "host-3 reaches 192.0.2.1")
        command = PingTestCommand(computing_host_ip="192.0.2.1", bypass_host_maintenance=True)
        self.assertIn((3, [command]), self.sender.sent)

    def test_first_word(self) -> None:
        """The first that reaches it ends the wait for those that are mute."""
        self.assert_said(self.ask({2: mute, 3: mute, 4: reaches}), UP, "host-4")
        self.assertEqual((self.sender.cancelled, self.clock.getDelayedCalls()), ([2, 3], []))

    def test_not_reached(self) -> None:
        """Whom none reaches may be up all the same."""
        self.assert_said(self.ask({2: cannot, 3: cannot}), UNKNOWN, "host-2, host-3 cannot reach 192.0.2.1")

    def test_time(self) -> None:
        """What was said counts when the investigator's time is nearly over."""
        begun = self.ask({2: cannot, 3: mute})
        self.clock.advance(8.9)
        self.assertNoResult(begun)
        self.clock.advance(0.1)
        self.assert_said(begun, UNKNOWN, "host-2 cannot reach")

    def test_nobody_speaks(self) -> None:
        """Neighbours that cannot be asked are told from those that see nothing."""
        self.assert_said(self.ask({}), UNKNOWN, "none of 3 neighbours could be asked")

    def test_who_is_asked(self) -> None:
        """Up hosts of the cluster, those of this server and behind the host first, and not too many."""
        others: list[Host] = [
            host(5),
            host(6),
            host(7, status=HostStatus.DISCONNECTED),
            host(8, server_id=ServerId(2)),
            host(9, cluster=None),
            host(10, direct=DirectResource(resource="x.Y", properties={})),
            host(11),
        ]
        self.store.hosts |= {each.id: each for each in others}
        self.assert_said(self.ask({}, host(5)), UNKNOWN)
        self.assertEqual([number for number, _ in self.sender.sent], [6, 11, 1])

    def test_other_servers(self) -> None:
        """Hosts of other live servers are asked, after those of this one; what a dead server had is not."""
        self.store.servers = [SimpleNamespace(id=ServerId(number), alive=number != 3) for number in (2, 3, 4)]
        owners = {1: 9, 2: 4, 3: 3, 4: 2, 5: 1, 6: 2}
        self.store.hosts = {host(n).id: host(n, server_id=ServerId(owner)) for n, owner in owners.items()}
        self.assert_said(self.ask({2: cannot, 4: reaches}, host(1, server_id=ServerId(9))), UP, "host-4")
        self.assertEqual([number for number, _ in self.sender.sent], [5, 2, 4])

    def test_who_may_not_be_asked(self) -> None:
        """A host that takes no command at all has no place among those that are asked; one in maintenance has."""
        states = (ResourceState.UNMANAGED, ResourceState.MAINTENANCE, ResourceState.DISABLED, ResourceState.UNMANAGED)
        changed = {n: host(n, resource_state=state) for n, state in enumerate(states, 2)}
        self.store.hosts |= {each.id: each for each in [*changed.values(), host(6)]}
        self.assert_said(self.ask({6: reaches}), UP, "host-6")
        self.assertEqual([number for number, _ in self.sender.sent], [3, 4, 6])

    def test_nobody_to_ask(self) -> None:
        """A host alone in its cluster, or in none, has no neighbours."""
        self.assert_said(self.ask({}, host(1, cluster=None)), UNKNOWN, "no neighbour")
        self.store.hosts = {host(1).id: host(1)}
        self.assert_said(self.ask({}), UNKNOWN, "no neighbour")

    def test_cancelled(self) -> None:
        """When the investigation ends, the neighbours' commands do."""
        begun = self.ask({2: mute, 3: mute, 4: mute})
        begun.cancel()
        self.failureResultOf(begun, CancelledError)
        self.assertEqual((self.sender.cancelled, self.clock.getDelayedCalls()), ([2, 3, 4], []))


def look(own: bool | None = True, other: bool | None = True, kind: type[Answer] = CheckOnHostAnswer) -> Reply:
    """A neighbour that sees or misses its own heartbeat and that of host 1; None: cannot say."""

    def answer(command: Command) -> Answer:
        assert isinstance(command, CheckOnHostCommand)
        assert command.host is not None
        assert command.host.private_network is not None
        seen = other if command.host.guid == host(1).facts.guid else own
        if kind is not CheckOnHostAnswer:
            return kind(result=bool(seen))
        return CheckOnHostAnswer(result=seen is not None, determined=seen is not None, alive=bool(seen))

    return answer


class KvmTests(InvestigatorTestCase):
    """Neighbours that look for the heartbeat."""

    def ask(self, *answers: Any, of: Host | None = None) -> Deferred[tuple[Verdict, str]]:
        """Have neighbours 2, 3 and 4 answer so."""
        self.sender.answers = dict(enumerate(answers, 2))
        return self.begin(KVMInvestigator(self.means), of)

    def test_seen(self) -> None:
        """Whose heartbeat is seen is Up."""
        self.assert_said(self.ask(look(), look(), look()), UP, "host-2, host-3, host-4")

    def test_missed(self) -> None:
        """Whose heartbeat is missed by those that see their own is Down."""
        self.assert_said(self.ask(look(other=False), look(other=False)), DOWN, "host-2, host-3")

    def test_command(self) -> None:
        """Each neighbour is asked about itself and about the host, by GUID and address."""
        self.assert_said(self.ask(look()), UP)
        (_, commands) = self.sender.sent[0]
        asked = [(c.host.guid, c.host.private_network.ip) for c in commands]  # type: ignore[attr-defined]
        self.assertEqual(asked, [(host(n).facts.guid, host(n).facts.ip_address) for n in (2, 1)])
        self.assertTrue(all(command.bypass_host_maintenance for command in commands))

    def test_blind_neighbour(self) -> None:
        """One that does not see itself, or cannot say, has no word in it."""
        blind = (
            look(own=False, other=False),
            look(own=None, other=False),
            look(other=None),
            look(own=None, other=None),
        )
        for neighbour in blind:
            self.assert_said(self.ask(neighbour), UNKNOWN, "none of 3 neighbours could look")
            self.assert_said(self.ask(neighbour, look(other=False)), DOWN, "host-3")
            self.assert_said(self.ask(neighbour, look()), UP, "host-3")

    def test_bare_answers(self) -> None:
        """What may be an error as well as a finding does not count."""
        for kind in (Answer, UnsupportedAnswer):
            for seen in (True, False):
                self.assert_said(self.ask(look(True, seen, kind)), UNKNOWN)

    def test_disagreement(self) -> None:
        """Where they disagree nobody knows, and who said what is on record."""
        begun = self.ask(look(), look(other=False))
        self.assert_said(begun, UNKNOWN, "host-2 see its heartbeat, host-3 do not")

    def test_all_are_heard(self) -> None:
        """The first word does not decide; one that is mute does not keep the others from it."""
        begun = self.ask(look(other=False), look(other=False), mute)
        self.clock.advance(8.9)
        self.assertNoResult(begun)
        self.clock.advance(0.1)
        self.assert_said(begun, DOWN, "host-2, host-3")

    def test_other_hypervisors(self) -> None:
        """Hosts whose agents leave no heartbeat are not looked for."""
        self.assert_said(self.ask(look(other=False), of=with_facts(host(1), hypervisor="XenServer")), UNKNOWN)
        self.assertEqual(self.sender.sent, [])
        lxc = evolve(host(1), facts=evolve(host(1).facts, hypervisor="LXC"))
        self.assert_said(self.ask(look(other=False), of=lxc), DOWN)

    def test_nobody_to_ask(self) -> None:
        """Without neighbours nobody knows."""
        self.assert_said(self.ask(of=host(1, cluster=None)), UNKNOWN, "no neighbour")
