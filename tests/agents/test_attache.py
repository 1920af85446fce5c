"""The attache of a link: how requests travel, how a session ends, and what pings bring."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, BadAnswer, LinkLost
from cloudlb.agents.link_attache import LINGER
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.resource_state import ResourceState
from cloudlb.wire import (
    Answer,
    CancelCommand,
    CheckHealthCommand,
    CommandInfo,
    Flag,
    MaintainCommand,
    PingAnswer,
    PingCommand,
    fields_of,
    write_packet,
)
from tests.agents.sessions import RESPONSE, session


class LinkAttacheTests(SynchronousTestCase):
    """One session of one host."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.session = session(self.clock)
        self.attache, self.link, self.owner = self.session.attache, self.session.link, self.session.owner

    def test_a_packet(self) -> None:
        """All commands of a request in one, with the flags that were asked for."""
        flags = Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE
        self.attache.send([CheckHealthCommand(), MaintainCommand()], timeout=5, flags=flags)
        [(header, contents)] = self.session.requests()
        self.assertEqual(header.flags, Flag.REQUEST | Flag.FROM_SERVER | flags)
        self.assertEqual((header.server_id, header.agent_id, header.via), (7, 1, 1))
        self.assertEqual([type(content) for content in contents], [CheckHealthCommand, MaintainCommand])

    def test_a_command_that_is_late_is_called_off(self) -> None:
        """With a CancelCommand that names its request, and whose own answer nobody waits for."""
        sent = self.attache.send([CheckHealthCommand()], timeout=5)
        [(request, _)] = self.link.take()
        self.clock.advance(5)
        self.assertIn("host host-1 did not answer in time", str(self.failureResultOf(sent, AgentTimedOut).value))
        [(header, cancel)] = self.link.take()
        self.assertEqual(cancel, CancelCommand(sequence=request.sequence, reason="timed out"))
        self.session.answer(header.sequence)
        self.session.answer(request.sequence)
        self.assertIsNone(self.link.ended)

    def test_an_answer_that_does_not_parse(self) -> None:
        """It fails its request, and nothing else: the link stays."""
        sent = self.attache.send([CheckHealthCommand()], timeout=5)
        [(header, _)] = self.link.take()
        body = b'[{"com.cloud.agent.api.Answer":{"result":"yes"}}]'
        answer = write_packet(sequence=header.sequence, server_id=-1, agent_id=-1, via=-1, flags=RESPONSE, body=body)
        self.attache.message_received(self.link, answer)  # type: ignore[arg-type]
        self.assertIn("does not parse", str(self.failureResultOf(sent, BadAnswer).value))
        self.assertIsNone(self.link.ended)

    def test_an_answer_that_nobody_waits_for_is_not_read(self) -> None:
        """It may be forged, and to inflate it costs: this one, if it were read, would end the link."""
        packet = write_packet(sequence=99, server_id=1, agent_id=1, via=1, flags=RESPONSE, body=b"[]") + b"more"
        self.attache.message_received(self.link, packet)  # type: ignore[arg-type]
        self.assertIsNone(self.link.ended)

    def test_a_lost_link(self) -> None:
        """What is under way fails at once, and nothing new is sent."""
        sent = self.attache.send([CheckHealthCommand()], timeout=5)
        self.session.lose()
        self.assertIn("reset by the peer", str(self.failureResultOf(sent, LinkLost).value))
        refused = self.failureResultOf(self.attache.send([CheckHealthCommand()], timeout=5), AgentUnavailable)
        self.assertIn("host host-1 is not connected here", str(refused.value))
        self.assertEqual(self.owner.told, ["reset by the peer"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_superseded(self) -> None:
        """It answers what it was asked, then closes, a little later."""
        sent = self.attache.send([CheckHealthCommand()], timeout=5)
        self.attache.supersede()
        self.failureResultOf(self.attache.send([CheckHealthCommand()], timeout=5), AgentUnavailable)
        self.clock.advance(LINGER)
        self.assertIsNone(self.link.ended)
        [(header, _)] = self.link.take()
        self.session.answer(header.sequence)
        self.successResultOf(sent)
        self.clock.advance(LINGER)
        self.assertIsNotNone(self.link.ended)

    def test_superseded_with_nothing_under_way(self) -> None:
        """It closes as well."""
        self.attache.supersede()
        self.clock.advance(LINGER)
        self.assertIsNotNone(self.link.ended)

    def test_states(self) -> None:
        """The row in memory follows what is written of it."""
        self.attache.take_status(HostStatus.ALERT)
        self.attache.take_state(ResourceState.MAINTENANCE)
        host = self.attache.host
        self.assertEqual((host.status, host.resource_state), (HostStatus.ALERT, ResourceState.MAINTENANCE))

    def test_what_does_not_come_from_cloudlb_does_not_journal(self) -> None:
        """CloudStack's agents have no journal of ours."""
        self.assertTrue(self.attache.journals)
        self.assertFalse(session(self.clock, ours=False).attache.journals)


class PingTests(SynchronousTestCase):
    """What pings bring, and what they cost."""

    def setUp(self) -> None:
        clock = Clock()
        self.session = session(clock)
        clock.advance(40)
        self.owner, self.link = self.session.owner, self.session.link

    def test_a_ping_is_not_looked_into(self) -> None:
        """It is quoted back, as little sense as it makes; it says that the agent lives, and has nothing to tell."""
        self.owner.avoid = ("10.0.0.3",)
        body = b'[{"com.cloud.agent.api.PingRoutingCommand":{"hostId":"one","commandInfos":[]}}]'
        ping = write_packet(sequence=4, server_id=-1, agent_id=1, via=1, flags=Flag.REQUEST, body=body)
        self.session.attache.message_received(self.link, ping)  # type: ignore[arg-type]
        [(header, answer)] = self.link.take()
        assert isinstance(answer, PingAnswer)
        self.assertEqual((header.sequence, answer.avoid_ms_list), (4, ("10.0.0.3",)))
        self.assertEqual((answer.command or {})["hostId"], "one")
        self.assertEqual((answer.reconcile_commands, self.owner.told), ((), ["heard"]))
        self.assertEqual(self.session.attache.nothing_to_tell, 40)

    def test_a_ping_tells_of_commands(self) -> None:
        """The owner hears of them, and the agent hears which it may forget."""
        infos = (CommandInfo(id="one", state="COMPLETED"), CommandInfo(id="two", state="STARTED"))
        self.owner.settled = ("one",)
        self.link.receive([PingCommand(host_id=1, command_infos=infos)], sequence=4)
        [(_, answer)] = self.link.take()
        assert isinstance(answer, PingAnswer)
        self.assertEqual(answer.reconcile_commands, ("one",))
        # The rest of the ping is quoted; this may be half a megabyte.
        self.assertEqual(answer.command, fields_of(PingCommand(host_id=1)))
        self.assertEqual(self.owner.told, ["heard", infos])

    def test_a_ping_that_tells_nonsense(self) -> None:
        """It is noted, and answered as what it is."""
        body = b'[{"com.cloud.agent.api.PingCommand":{"hostId":1,"commandInfos":"all done"}}]'
        ping = write_packet(sequence=4, server_id=-1, agent_id=1, via=1, flags=Flag.REQUEST, body=body)
        self.session.attache.message_received(self.link, ping)  # type: ignore[arg-type]
        [(_, answer)] = self.link.take()
        assert isinstance(answer, Answer)
        self.assertFalse(answer.result)
        self.assertIn("commandInfos", answer.details or "")
