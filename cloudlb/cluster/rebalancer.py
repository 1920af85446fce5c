"""Evening out how many hosts each server has: when, and by which plan.

The live server of the lowest id looks every few seconds how many hosts are Up on each server. If the spread has been
off for long enough it plans, and tells all servers; each of them moves its own hosts (:mod:`.plan_parts`). No new plan
is made by itself while one is being carried out. Nobody looks after an outage of the database before the servers have
had the time to show that they live, and the time for which the spread was off begins anew.

An operator may have a plan made at once, by any server (``rebalanceAgents``). It replaces one that is under way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.live_settings import LiveSettings
from cloudlb.cluster.membership import Membership
from cloudlb.cluster.plan_parts import MOVE, MOVED, Tally
from cloudlb.cluster.planning import Picture, picture, plan_moves
from cloudlb.domain.models import Job, JobStatus, Server, ServerId
from cloudlb.domain.ports import Bus, Store, Transaction
from cloudlb.domain.rebalancing import Plan, Stay
from cloudlb.net.periodic import Periodic

REBALANCE = "rebalanceAgents"
"""The command of the API, and of its jobs."""
EVENT = "AGENTS.REBALANCE"
INTERVAL = 5.0
"""Seconds between looks at the spread."""
PROGRESS_INTERVAL = 1.0
"""Seconds between what a job tells of its progress."""
SLACK = 120.0
"""Seconds that a plan has beyond what its moves take at their rate: for the slowest hosts."""
MARGIN = 30.0
"""Seconds that a job has beyond its plan's time to end."""
VAIN_PAUSE = 300.0
"""Seconds without a plan after one by which nobody moved, unless servers or settings have changed: where lists keep the
spread uneven, the next plan would say the same."""
_NAMED_WAYS = 10
"""Ways from server to server that an event names."""


@define(eq=False)
class _Progress:
    """What is heard of a plan that is being carried out."""

    plan: str
    parts: dict[ServerId, Tally]
    until: float
    told: set[ServerId] = field(factory=set)
    """Servers that have told of their parts."""

    @property
    def tally(self) -> Tally:
        """The sum of the parts."""
        parts = self.parts.values()
        return Tally(
            planned=sum(part.planned for part in parts),
            moved=sum(part.moved for part in parts),
            stayed=sum(part.stayed for part in parts),
            lost=sum(part.lost for part in parts),
        )

    def take(self, payload: Mapping[str, Any]) -> None:
        """Hear of a part."""
        if payload["plan"] == self.plan:
            server_id = ServerId(payload["server_id"])
            self.parts[server_id] = Tally(**{name: payload[name] for name in ("planned", "moved", "stayed", "lost")})
            self.told.add(server_id)

    def ended(self, now: float, lives: Callable[[ServerId], bool]) -> bool:
        """Nothing more will be heard of it that matters."""
        return now > self.until or all(
            not lives(server_id) or (server_id in self.told and part.ended) for server_id, part in self.parts.items()
        )


@define(eq=False)
class _Asked:
    """A job that waits for the end of its plan."""

    job: str
    progress: _Progress
    planned: Plan
    told: Tally | None = None


@frozen(kw_only=True)
class _Proposal:
    """A plan that is to be told to all servers."""

    plan: str
    seen: Picture
    planned: Plan

    @property
    def held(self) -> bool:
        """The servers know who else is to move: the order of lists is random."""
        return any(share.off for share in self.planned.shares) and Stay.UNKNOWN_LIST in self.planned.stays.values()

    @property
    def vain(self) -> bool:
        """Nobody moves."""
        return not self.planned.moves and not self.held

    def payload(self) -> dict[str, Any]:
        """For MOVE."""
        ids = {address: server_id for server_id, address in self.seen.addresses.items()}
        moves: dict[str, list[tuple[int, str]]] = defaultdict(list)
        sizes = [0]
        if self.held:
            serving = [share for share in self.planned.shares if share.server.up and not share.server.draining]
            moves.update({str(ids[share.server.address]): [] for share in serving})
            sizes += [share.before for share in serving]
        for move in self.planned.moves:
            moves[str(ids[move.source])].append((move.host_id, move.target))
        sizes += map(len, moves.values())
        seconds = max(sizes) / self.seen.settings.move_rate * 1.5 + SLACK
        return {"plan": self.plan, "moves": moves, "held": self.held, "seconds": seconds}

    def describe(self) -> str:
        """What an event says."""
        if self.held:
            return "Agents that are off the first server of the list that they hold are to be moved"
        ways = Counter((move.source, move.target) for move in self.planned.moves)
        named = [f"{source} to {target}: {number}" for (source, target), number in ways.most_common(_NAMED_WAYS)]
        more = [f"{len(ways) - _NAMED_WAYS} more ways"] if len(ways) > _NAMED_WAYS else []
        return f"{len(self.planned.moves)} hosts are to be moved ({', '.join(named + more)})"


class Rebalancer:
    """Makes plans of moves, and follows them."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        bus: Bus,
        settings: LiveSettings,
        membership: Membership,
        clock: IReactorTime,
        new_uuid: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._settings = settings
        self._membership = membership
        self._clock = clock
        self._new_uuid = new_uuid
        self._off_since: float | None = None
        self._vain: tuple[object, float] = (None, 0.0)
        """What a plan that moved nobody was made of, and until when another one of the same would be as useless."""
        self._progress: _Progress | None = None
        """Of the newest plan that was heard of."""
        self._asked: dict[str, _Asked] = {}
        """By plan."""
        self._looks = Periodic(clock, "look how even the spread is", self.look)
        self._tells = Periodic(clock, "tell how far a rebalancing is", self._tell)
        bus.subscribe(MOVE, self._heard)
        bus.subscribe(MOVED, self._heard_of_part)

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(INTERVAL)

    def stop(self) -> None:
        """Look no more; other servers end the jobs that wait for plans."""
        self._looks.stop()
        self._tells.stop()

    # By itself.

    async def look(self) -> None:
        """Plan, if the spread has been off for long enough and this is the server to do it."""
        now = self._clock.seconds()
        if not self._settings.current.rebalances or not self._membership.steady or not self._membership.first:
            self._off_since = None
            return
        if self._progress is not None and not self._progress.ended(now, self._membership.lives):
            return
        progress, self._progress = self._progress, None
        own = self._membership.own.id

        def work(txn: Transaction) -> tuple[Picture, bool]:
            seen = picture(servers := txn.servers.all(), txn.settings.load())
            return seen, _is_first(own, servers) and bool(seen.off(txn.hosts.up_by_server()))

        seen, off = await self._store.read(work)
        if progress is not None and not progress.tally.moved:
            self._vain = _made_of(seen), now + VAIN_PAUSE
        if not off:
            self._off_since = None
        elif self._off_since is None:
            self._off_since = now
        in_vain = self._vain[0] == _made_of(seen) and now < self._vain[1]
        if self._off_since is not None and now - self._off_since >= seen.settings.band.seconds and not in_vain:
            await self._plan(now)

    async def _plan(self, now: float) -> None:
        proposal, own = await self._propose(), self._membership.own.id
        if proposal.vain:
            self._vain = _made_of(proposal.seen), now + VAIN_PAUSE
            self.log.info("the spread stays uneven: {notes}", notes=" ".join(proposal.planned.notes))
            return

        def work(txn: Transaction) -> None:
            # Since the look another server may have come to be the first.
            if _is_first(own, txn.servers.all()):
                _publish(txn, proposal, own, None, now)

        await self._store.run(work)
        self._off_since = None

    async def _propose(self) -> _Proposal:
        plan = str(self._new_uuid())

        def work(txn: Transaction) -> _Proposal:
            seen = picture(txn.servers.all(), txn.settings.load())
            return _Proposal(plan=plan, seen=seen, planned=plan_moves(txn, seen))

        # Where nobody waits for it: 10,000 hosts take a second.
        return await self._store.read(work)

    # By command.

    async def request(self, account_id: int) -> Job:
        """Even out now, whether or not the spread has been off for long enough, as a job.

        It ends when every move has ended. Its result says how many hosts moved, stayed where they were or failed, and
        why the others were not to be moved.
        """
        proposal = await self._propose()
        own, now = self._membership.own.id, self._clock.seconds()
        progress = _progress(proposal.payload(), now)

        def work(txn: Transaction) -> Job:
            job, _ = txn.jobs.start(
                command=REBALANCE,
                account_id=account_id,
                server_id=own,
                host_id=None,
                now=now,
                deadline=txn.time() + progress.until - now + MARGIN,
            )
            if proposal.vain:
                txn.jobs.finish(job.uuid, JobStatus.SUCCEEDED, 0, _result(proposal.planned, Tally()), now)
            else:
                _publish(txn, proposal, own, account_id, now)
            return job

        job = await self._store.run(work)
        if not proposal.vain:
            self._asked[proposal.plan] = _Asked(job.uuid, progress, proposal.planned)
            self._tells.start(PROGRESS_INTERVAL)
        return job

    async def _tell(self) -> None:
        for plan, asked in list(self._asked.items()):
            await self._tell_of(plan, asked)
        if not self._asked:
            self._tells.stop()

    async def _tell_of(self, plan: str, asked: _Asked) -> None:
        now, tally = self._clock.seconds(), asked.progress.tally
        ended = asked.progress.ended(now, self._membership.lives)
        result = _result(asked.planned, tally, ended=ended)
        if ended:
            await self._store.run(lambda txn: txn.jobs.finish(asked.job, JobStatus.SUCCEEDED, 0, result, now))
            del self._asked[plan]
        elif tally != asked.told:
            if not await self._store.run(lambda txn: txn.jobs.tell(asked.job, result)):
                # Another server has ended it, which held this one dead.
                del self._asked[plan]
            asked.told = tally

    # What is heard of plans.

    def _heard(self, payload: Mapping[str, Any]) -> None:
        if self._progress is None or self._progress.plan != payload["plan"]:
            self._progress = _progress(payload, self._clock.seconds())

    def _heard_of_part(self, payload: Mapping[str, Any]) -> None:
        if self._progress is not None:
            self._progress.take(payload)
        if (asked := self._asked.get(payload["plan"])) is not None:
            asked.progress.take(payload)


def _is_first(own: ServerId, servers: Sequence[Server]) -> bool:
    return own == min((server.id for server in servers if server.alive), default=None)


def _made_of(seen: Picture) -> object:
    """What a plan follows from, but for the hosts."""
    return seen.planned, seen.settings.algorithm, seen.settings.band


def _progress(payload: Mapping[str, Any], now: float) -> _Progress:
    parts = {ServerId(int(server_id)): Tally(planned=len(moves)) for server_id, moves in payload["moves"].items()}
    return _Progress(payload["plan"], parts, now + payload["seconds"])


def _publish(txn: Transaction, proposal: _Proposal, own: ServerId, account_id: int | None, now: float) -> None:
    details = {"plan": proposal.plan, "moves": str(len(proposal.planned.moves))}
    txn.events.add(EVENT, proposal.describe(), now=now, account_id=account_id, server_id=own, details=details)
    txn.bus.publish(MOVE, proposal.payload(), now)


def _result(planned: Plan, tally: Tally, *, ended: bool = True) -> dict[str, Any]:
    """What a job says: of its moves, and of the hosts that are not to be moved."""
    left = tally.planned - tally.moved - tally.stayed - tally.lost
    stays = Counter(planned.stays.values())
    return {
        "rebalance": {
            "planned": tally.planned,
            "moved": tally.moved,
            "stayed": tally.stayed,
            # Of those whose server has died meanwhile nobody tells any more.
            "failed": tally.lost + (left if ended else 0),
            "left": 0 if ended else left,
            "stay": [{"reason": stay.value, "count": count} for stay, count in stays.most_common()],
            "note": list(planned.notes),
        }
    }
