"""One history: a cluster, what befalls it, and whether everything held."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections import Counter
from itertools import chain, islice
from pathlib import Path

from attrs import frozen

from cloudlb.domain.balancing import Algorithm
from tests.simulation.actions import ACTIONS, restart
from tests.simulation.checks import Ownership, broken, leaks, uneven, unsettled
from tests.simulation.drains import Drains
from tests.simulation.faults import Faults
from tests.simulation.fleet import Fleet
from tests.simulation.places import exited
from tests.simulation.plan import Plan
from tests.simulation.staying import Staying
from tests.simulation.trace import Trace
from tests.simulation.traffic import Traffic, serves
from tests.support.world import World

LOOK = 0.5
"""Seconds between looks at who owns which host, and at drains."""
BOUND = 240.0
"""Seconds after the last fault in which all has come to rest, beyond those of the moves at their rate: the longest
time-outs, and what follows from them."""
STARTED = 5.0
"""Seconds in which a server starts."""
EVENED = 60.0
"""Seconds beyond those of the moves at their rate in which agents are evened out on order, where nothing fails."""
REST = 10.0
"""Seconds between looks whether it has; two in a row have to find nothing."""
FELT, FELT_PINGS = 30.0, 5
"""Seconds, and intervals of pings, in which something may follow from a fault that is over."""
MEMORY = Path("/dev/shm")
SHOWN = 8
"""Problems of one kind of look that are told."""


@frozen(kw_only=True)
class Report:
    """What came of a history."""

    plan: Plan
    problems: tuple[str, ...]
    last: tuple[str, ...]
    """Lines of the log before the end, or before the first problem."""
    digest: str
    settled: float
    """Seconds after the last fault in which the cluster had come to rest."""
    counts: Counter[str]


class History:
    """Runs a plan."""

    def __init__(self, plan: Plan, *, show: bool = False) -> None:
        """Prepare; ``show``: print every line that is logged."""
        self.plan = plan
        self._trace = Trace(show=show)
        self._problems: list[str] = []
        self._settled = 0.0

    def run(self) -> Report:
        """Run it to its end, or to the first problem."""
        folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        collecting = gc.isenabled()
        # When garbage is found must not depend on what ran before.
        gc.collect()
        gc.disable()
        self._trace.start()
        try:
            self._start(folder)
            try:
                self._pass_through()
                counts, digest = self.traffic.counts(), self._trace.digest
            finally:
                self._trace.end()
                self.world.close()
            # Failures that nobody took are told of when they are found.
            gc.collect()
            self._note_defects()
        finally:
            self._trace.stop()
            if collecting:
                gc.enable()
            shutil.rmtree(folder)
        return Report(
            plan=self.plan,
            problems=tuple(self._problems),
            last=tuple(self._trace.last),
            digest=digest,
            settled=self._settled,
            counts=counts,
        )

    def _start(self, folder: Path) -> None:
        plan = self.plan
        record = folder / "executed"
        self.world = World(
            folder / "world",
            servers=plan.servers,
            agents=plan.agents - plan.theirs - plan.direct,
            seed=plan.seed,
            algorithm=plan.algorithm,
            check_interval=plan.check_interval,
            ping_interval=plan.ping_interval,
            database_lag=plan.lag,
            told=plan.told,
            settings=plan.settings,
            properties="backoff.seconds=1\nbackoff.max.seconds=5\n"
            f"simulator.delay={plan.delay}\nsimulator.record={record}\n",
            ready=self._trace.follow,
        )
        self.fleet = Fleet(self.world, theirs=plan.theirs, direct=plan.direct, delay=plan.delay, record=record)
        self.traffic = Traffic(self.world, record, list(self.fleet.theirs.values()))
        self.faults = Faults(self.world.clock, FELT + FELT_PINGS * plan.ping_interval)
        self.staying = Staying(self.world, self.fleet, self.faults)
        self._ownership = Ownership(self.world)
        self._drains = Drains(self.world)

    def _pass_through(self) -> None:
        start = self.world.clock.seconds()
        for step in self.plan.steps:
            self._advance(start + step.at)
            if self._problems:
                return
            self._trace.note(f"--- {step}")
            ACTIONS[step.action](self, *step.args)
        self._advance(start + self.plan.seconds)
        if not self._problems:
            self._trace.note("--- the faults are over")
            self._end_faults()
            self._come_to_rest()

    def _advance(self, until: float) -> None:
        """Let time pass, and look at what must hold all the while."""
        while (now := self.world.clock.seconds()) < until and not self._problems:
            self.world.advance(min(LOOK, until - now))
            self._problems += self._ownership.look()
            self._problems += self._drains.look()
            self._problems += self.staying.look()
            self._problems += exited(self.world, self.fleet)
            self._note_defects()

    def _end_faults(self) -> None:
        """Everything is well again but for servers that stay dead, as long as there is one that the agents know."""
        world = self.world
        self.faults.end_all()
        world.network.heal()
        for server in world.servers.values():
            server.lose_database(away=False)
            server.slow_database(self.plan.lag)
            if server.frozen:
                world.thaw(server)
        for ours in self.fleet.ours.values():
            ours.disk_full = False
        for agent in self.fleet.agents.values():
            if agent.frozen:
                world.thaw(agent)
            if not agent.alive:
                world.restart_agent(agent)
        stay_dead = set(self.plan.stay_dead)
        listed = world.read(lambda txn: txn.settings.load()).servers
        if all(address in stay_dead and not world.servers[address].alive for address in listed):
            stay_dead.difference_update(listed)
        for server in world.servers.values():
            # One that is just starting may have found no database, and ends before long.
            ends = server.is_stopping or not serves(server)
            if ends if server.alive else server.address not in stay_dead:
                restart(self, server)
            elif not server.alive and self.fleet.theirs:
                # Somebody has to say that nobody is there: CloudStack's agents wait for a quarter of an hour.
                world.network.machine(server.address)
        if self.plan.uses_all:
            self._advance(world.clock.seconds() + STARTED)
            for server in world.running_servers:
                ACTIONS["cancel_maintenance"](self, server.address, server.address, True)
                ACTIONS["cancel_shutdown"](self, server.address, server.address)

    def _come_to_rest(self) -> None:
        end, bound = self.world.clock.seconds(), BOUND + self._moving()
        rested = False
        while not self._problems:
            self._advance(self.world.clock.seconds() + REST)
            # Until time is up the first that is found is enough.
            found = list(islice(unsettled(self.world, self.fleet, self.traffic), 1))
            since = self.world.clock.seconds() - end
            if rested and not found:
                break
            # Agents may begin to move when the band was left for long enough.
            rested = not found
            if rested:
                self._settled = since
            elif since > bound:
                found = list(islice(unsettled(self.world, self.fleet, self.traffic), SHOWN))
                self._problems += [f"the cluster has not come to rest in {bound:.0f} s: {each}" for each in found]
        if not self._problems:
            self._even_out()
        self._problems += broken(self.world, self.traffic)
        self._problems += leaks(self.world)

    def _even_out(self) -> None:
        """Where a plan would move hosts, an order has them moved, and all is as it should be afterwards.

        Under shuffle a plan does not know where its agents go, and only the next one has direct hosts fill their gaps.
        """
        algorithm = self.world.read(lambda txn: txn.settings.load()).algorithm
        found = list(uneven(self.world))
        for _ in range(2 if algorithm is Algorithm.SHUFFLE else 1):
            if found and not self._problems:
                found = self._order_to_even_out()
        self._problems += [f"the agents were to be evened out: {each}" for each in found]

    def _order_to_even_out(self) -> list[str]:
        """What is not as it should be when the time for it is over."""
        world = self.world
        self._trace.note("--- the agents are to be evened out")
        ACTIONS["rebalance"](self, world.running_servers[0].address)
        end = world.clock.seconds() + EVENED + self._moving()
        while True:
            self._advance(world.clock.seconds() + REST)
            found = list(islice(chain(uneven(world), unsettled(world, self.fleet, self.traffic)), SHOWN))
            if not found or self._problems or world.clock.seconds() > end:
                return found

    def _moving(self) -> float:
        """Seconds in which a server that has all agents moves them, at the rate of the settings."""
        return len(self.fleet) / self.world.read(lambda txn: txn.settings.load()).move_rate

    def _note_defects(self) -> None:
        self._problems += self._trace.defects[:SHOWN]
        self._trace.defects.clear()
