"""What the steps of a plan do. One that does not fit, to a server that is dead for instance, does nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred

from cloudlb.agents.resource_states import NotPossible
from cloudlb.cluster.server_orders import ServerOrders
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.models import ServerId
from cloudlb.domain.ports import NotFound, StoreUnavailable
from cloudlb.domain.settings import InvalidSetting
from tests.simulation.traffic import serves
from tests.support.agent_process import AgentProcess
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from tests.simulation.history import History

ACTIONS: dict[str, Callable[..., None]] = {}


def action(function: Callable[..., None]) -> Callable[..., None]:
    """Have plans know a function by its name."""
    ACTIONS[function.__name__] = function
    return function


def order(server: ServerProcess, what: Callable[[], Coroutine[Deferred[Any], Any, Any]], *refusals: type) -> None:
    """Have a server do something, if it runs; it may refuse, or be without its database."""

    def begin() -> None:
        Deferred.fromCoroutine(what()).addErrback(lambda failure: failure.trap(StoreUnavailable, *refusals))

    if serves(server):
        server.machine.callLater(0, begin)


# Servers.


def restart(play: History, server: ServerProcess) -> None:
    """Start a server, anew if it runs."""
    if server.alive:
        play.faults.strike(server.address)
    play.faults.end("death", server.address)
    play.world.restart_server(server)


@action
def kill_server(play: History, address: str) -> None:
    """SIGKILL."""
    if play.world.servers[address].alive:
        play.faults.begin("death", address)
        play.world.kill_server(play.world.servers[address])


@action
def power_off_server(play: History, address: str) -> None:
    """No FIN, no RST."""
    if play.world.servers[address].alive:
        play.faults.begin("death", address)
        play.world.power_off(play.world.servers[address])


@action
def start_server(play: History, address: str) -> None:
    """It starts, but for one that stays dead; one that runs is killed and starts anew."""
    if address not in play.plan.stay_dead:
        restart(play, play.world.servers[address])


@action
def stop_server(play: History, address: str) -> None:
    """SIGTERM; the process ends when it has stopped."""
    server = play.world.servers[address]
    machine, service = server.machine, server.service

    def stopped(_: object) -> None:
        play.world.clock.callLater(0, play.world.network.kill, machine)

    if server.running and service.running:
        play.staying.ends(address)
        machine.callLater(0, lambda: maybeDeferred(service.stopService).addBoth(stopped))


@action
def add_server(play: History, address: str) -> None:
    """A server joins on a new machine."""
    if address not in play.world.servers:
        play.world.add_server(address)


@action
def freeze_server(play: History, address: str) -> None:
    """SIGSTOP."""
    if play.world.servers[address].running:
        play.faults.begin("stand-still", address)
        play.world.freeze(play.world.servers[address])


@action
def thaw_server(play: History, address: str) -> None:
    """SIGCONT."""
    if play.world.servers[address].frozen:
        play.faults.end("stand-still", address)
        play.world.thaw(play.world.servers[address])


# The network.


def _cut(play: History, address: str, others: Sequence[str], way: str) -> None:
    for other in others:
        if way in ("both", "out"):
            play.world.network.cut(address, other, one_way=True)
        if way in ("both", "in"):
            play.world.network.cut(other, address, one_way=True)


def _mend(play: History, address: str, others: Sequence[str]) -> None:
    for other in others:
        play.world.network.mend(address, other)


def _everybody_but(play: History, address: str) -> list[str]:
    everybody = [*play.world.servers.values(), *play.fleet.agents.values()]
    return [process.address for process in everybody if process.address != address]


def _agents(play: History, numbers: Sequence[int]) -> list[AgentProcess | CloudStackAgent]:
    """Those that have a machine of their own."""
    agents = play.fleet.agents
    return [agents[number] for number in numbers if number in agents]


@action
def cut_off_server(play: History, address: str, way: str) -> None:
    """Nobody reaches a server, or it reaches nobody, but for the database."""
    play.faults.begin("cut", address)
    _cut(play, address, _everybody_but(play, address), way)


@action
def reach_server(play: History, address: str) -> None:
    """A server is reached again."""
    play.faults.end("cut", address)
    _mend(play, address, _everybody_but(play, address))


@action
def cut_agents(play: History, address: str, agents: Sequence[int], way: str) -> None:
    """Some agents and a server do not reach each other."""
    cut = _agents(play, agents)
    play.faults.begin("cut", *(agent.name for agent in cut))
    _cut(play, address, [agent.address for agent in cut], way)


@action
def reach_agents(play: History, address: str, agents: Sequence[int]) -> None:
    """They do again."""
    cut = _agents(play, agents)
    play.faults.end("cut", *(agent.name for agent in cut))
    _mend(play, address, [agent.address for agent in cut])


@action
def cut_servers(play: History, one: str, other: str, way: str) -> None:
    """Two servers do not reach each other."""
    _cut(play, one, [other], way)


@action
def reach_servers(play: History, one: str, other: str) -> None:
    """They do again."""
    _mend(play, one, [other])


@action
def delay_server(play: History, address: str, seconds: float) -> None:
    """A server becomes hard to reach, or easy again."""
    (play.faults.begin if seconds else play.faults.end)("delay", address)
    play.world.network.delay(play.world.servers[address].machine, seconds)


# The database.


@action
def slow_database(play: History, address: str, lag: float) -> None:
    """A server waits for it longer, or no longer."""
    (play.faults.begin if lag > play.plan.lag else play.faults.end)("slow database", address)
    play.world.servers[address].slow_database(lag)


@action
def lose_database(play: History, address: str) -> None:
    """A server does not reach it."""
    play.faults.begin("no database", address)
    play.world.servers[address].lose_database(away=True)


@action
def find_database(play: History, address: str) -> None:
    """A server reaches it again."""
    play.faults.end("no database", address)
    play.world.servers[address].lose_database(away=False)


# Agents.


@action
def kill_agent(play: History, number: int) -> None:
    """SIGKILL."""
    for agent in _agents(play, [number]):
        play.faults.begin("death", agent.name)
        play.world.kill_agent(agent)


@action
def power_off_agent(play: History, number: int) -> None:
    """No FIN, no RST."""
    for agent in _agents(play, [number]):
        if agent.alive:
            play.faults.begin("death", agent.name)
            play.world.power_off(agent)


@action
def start_agent(play: History, number: int) -> None:
    """It starts, anew if it runs."""
    for agent in _agents(play, [number]):
        play.faults.strike(agent.name)
        play.faults.end("death", agent.name)
        play.world.restart_agent(agent)


@action
def freeze_agent(play: History, number: int) -> None:
    """SIGSTOP."""
    for agent in _agents(play, [number]):
        if agent.alive and not agent.frozen:
            play.faults.begin("stand-still", agent.name)
            play.world.freeze(agent)


@action
def thaw_agent(play: History, number: int) -> None:
    """SIGCONT."""
    for agent in _agents(play, [number]):
        if agent.frozen:
            play.faults.end("stand-still", agent.name)
            play.world.thaw(agent)


@action
def fill_disk(play: History, number: int) -> None:
    """There is no room for the file of an agent of ours."""
    if number in play.fleet.ours:
        play.fleet.ours[number].disk_full = True


@action
def free_disk(play: History, number: int) -> None:
    """There is again."""
    if number in play.fleet.ours:
        play.fleet.ours[number].disk_full = False


# Orders of operators.


@action
def change_setting(play: History, address: str, name: str, value: str) -> None:
    """Another value; a list of dead servers alone is refused."""
    server = play.world.servers[address]
    order(server, lambda: server.service.settings.change(name, value), InvalidSetting)


@action
def delete_host(play: History, address: str, number: int) -> None:
    """A host is deleted."""
    server, host = play.world.servers[address], play.fleet[number]
    if (host_id := play.world.host_id(host)) is not None:
        play.faults.strike(host.name)
        order(server, lambda: server.service.operations.delete_host(host_id, 1))


@action
def reconnect_host(play: History, address: str, number: int) -> None:
    """A host's agent is to connect again."""
    server, host = play.world.servers[address], play.fleet[number]
    if (host_id := play.world.host_id(host)) is not None:
        play.faults.strike(host.name)
        order(server, lambda: server.service.operations.reconnect_host(host_id, 1), NotFound)


@action
def rebalance(play: History, address: str) -> None:
    """The agents are to be evened out."""
    server = play.world.servers[address]
    order(server, lambda: server.service.rebalancer.request(1))


def _orders(play: History, address: str, target: str) -> tuple[ServerProcess, ServerOrders, ServerId]:
    server = play.world.servers[address]
    rows = play.world.read(lambda txn: txn.servers.all())
    found = next((row.id for row in rows if row.address == target), ServerId(0))
    return server, server.service.server_orders, found


@action
def prepare_for_maintenance(play: History, address: str, target: str, algorithm: str | None, forced: bool) -> None:
    """A server is to be emptied."""
    server, orders, found = _orders(play, address, target)
    by = None if algorithm is None else Algorithm(algorithm)
    order(server, lambda: orders.prepare_for_maintenance(found, 1, algorithm=by, forced=forced), NotFound, NotPossible)


@action
def cancel_maintenance(play: History, address: str, target: str, rebalance: bool) -> None:
    """It is to be used again."""
    server, orders, found = _orders(play, address, target)
    order(server, lambda: orders.cancel_maintenance(found, 1, rebalance=rebalance), NotFound, NotPossible)


@action
def prepare_for_shutdown(play: History, address: str, target: str, algorithm: str | None, forced: bool) -> None:
    """A server is to be emptied."""
    server, orders, found = _orders(play, address, target)
    by = None if algorithm is None else Algorithm(algorithm)
    order(server, lambda: orders.prepare_for_shutdown(found, 1, algorithm=by, forced=forced), NotFound, NotPossible)


@action
def trigger_shutdown(play: History, address: str, target: str, algorithm: str | None, forced: bool) -> None:
    """A server is to be emptied and to end."""
    play.staying.ends(target)
    server, orders, found = _orders(play, address, target)
    by = None if algorithm is None else Algorithm(algorithm)
    order(server, lambda: orders.trigger_shutdown(found, 1, algorithm=by, forced=forced), NotFound, NotPossible)


@action
def cancel_shutdown(play: History, address: str, target: str) -> None:
    """It is to be used again."""
    server, orders, found = _orders(play, address, target)
    order(server, lambda: orders.cancel_shutdown(found, 1), NotFound, NotPossible)


@action
def remove_server(play: History, address: str, target: str) -> None:
    """A dead server is to be forgotten."""
    server, orders, found = _orders(play, address, target)
    order(server, lambda: orders.remove(found, 1), NotFound, NotPossible)


# Commands.


@action
def start_job(play: History, address: str, number: int, changes: bool, key: str | None) -> None:
    """Somebody calls a server; the job carries the command."""
    play.traffic.start_job(play.world.servers[address], play.fleet[number], changes=changes, key=key)


@action
def send(play: History, address: str, number: int, changes: bool) -> None:
    """Code of a server sends a command."""
    play.traffic.send(play.world.servers[address], play.fleet[number], changes=changes)


@action
def send_in_sequence(play: History, address: str, number: int, count: int) -> None:
    """Code of a server sends commands that are to be carried out one after the other."""
    play.traffic.send_in_sequence(play.world.servers[address], play.fleet[number], count)
