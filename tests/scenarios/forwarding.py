"""What scenarios of commands to hosts of other servers start from: commands that leave a trace, and who sent them."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred

from cloudlb.agents.errors import AgentBusy, AgentTimedOut, AgentUnavailable, CommandError, LinkLost
from cloudlb.agents.moves import MoveReason
from cloudlb.agents.requests import Answers
from cloudlb.domain.host_list import HostList
from cloudlb.wire import COMMAND_ID, LOGGING_CONTEXT, CheckHealthCommand, Command, Opaque
from tests.support.agent_process import AgentProcess
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PING = 6
TIMEOUT = 20
KINDS = ("query", "change", "unheard of")


def command(kind: str, mark: str) -> Command | Opaque:
    """A command that the simulator records by its mark; all but queries are journalled."""
    if kind == "query":
        return CheckHealthCommand(context_map={LOGGING_CONTEXT: mark})
    name = "com.cloud.agent.api.MaintainCommand" if kind == "change" else "com.example.UnheardOfCommand"
    return Opaque(name, {"contextMap": {COMMAND_ID: mark}, "vm": {"name": mark}})


def move(world: World, agent: AgentProcess, target: str) -> None:
    """Have the server of an agent ask it to go to another one."""
    owner = world.servers[agent.server or ""]
    attache = owner.attache(world.row(agent).id)
    assert attache is not None
    hosts = HostList(tuple(dict.fromkeys((target, *world.servers))), "shuffle")
    owner.service.moves.move(attache, hosts, avoid=(owner.address,), reason=MoveReason.LIST, why="a test wants it")


@define(eq=False)
class Sent:
    """One command, as who sent it sees it."""

    server: ServerProcess
    mark: str
    deadline: float
    answer: Deferred[Answers]
    ends: list[Answers | CommandError] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Note each end."""
        self.answer.addCallbacks(self.ends.append, lambda failure: self.ends.append(failure.value))

    @property
    def never_sent(self) -> bool:
        """Whether its end says that it was not carried out, and never will be."""
        end = self.ends[0] if self.ends else None
        if isinstance(end, AgentTimedOut):
            return "not sent" in str(end)
        return isinstance(end, AgentBusy) or (isinstance(end, AgentUnavailable) and not isinstance(end, LinkLost))


class Play:
    """A world whose hosts record what they carry out, and what was sent there."""

    def __init__(self, world: World, record: Path) -> None:
        self.world = world
        self.record = record
        self.sent: list[Sent] = []

    def send(
        self,
        server: str,
        agent: AgentProcess,
        kind: str = "query",
        *,
        in_sequence: bool = False,
        timeout: float = TIMEOUT,
    ) -> Sent:
        """Send a command by a server."""
        process = self.world.servers[server]
        line = f"{server}>{agent.number}" if in_sequence else "-"
        mark = f"{line}/{len(self.sent)}"
        answer = process.service.sender.send(
            self.world.row(agent).id, [command(kind, mark)], timeout=timeout, in_sequence=in_sequence
        )
        sent = Sent(process, mark, self.world.clock.seconds() + timeout, answer)
        self.sent.append(sent)
        return sent

    def executed(self) -> list[str]:
        """The marks of what was carried out, in order."""
        if not self.record.exists():
            return []
        marks = (line.split()[1] for line in self.record.read_text(encoding="utf-8").splitlines())
        return [mark for mark in marks if "/" in mark]
