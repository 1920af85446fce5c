"""Any history of admissions, statuses, times and removals, against a model of plain values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from cloudlb.domain.host_status import STATUS_TABLE, HostEvent, HostStatus
from cloudlb.domain.models import Host, HostId, ServerId, Session, StatusChange
from cloudlb.domain.ports import Location, Refused, Store, Transaction
from cloudlb.domain.record_ports import EventFilter
from tests.contracts.case import StoreContract, admission, now

_LOST = {HostStatus.DISCONNECTED, HostStatus.DOWN, HostStatus.ALERT}


@define
class _Row:
    id: HostId
    place: str
    server_id: ServerId | None = None
    status: HostStatus = HostStatus.CREATING
    session: int = 0
    heard: float | None = None
    disconnected: float | None = None
    removed: bool = False
    told: list[tuple[str, str]] = field(factory=list)
    """From and to of each change of status, in order."""

    def move(self, status: HostStatus) -> None:
        """Change the status, which is told once if it does change."""
        if status is not self.status:
            self.told.append((self.status.value, status.value))
            self.status = status


def _add_zone(txn: Transaction, name: str) -> None:
    txn.topology.add_zone(name)


class HostHistories(RuleBasedStateMachine):
    """Servers admit and lose hosts, and write under sessions that may be long over."""

    sessions = Bundle("sessions")

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.rows: dict[str, _Row] = {}
        self.time = 0.0
        for place in ("1", "2"):
            self.run(partial(_add_zone, name=f"zone {place}"))

    def run(self, work: Callable[[Transaction], Any]) -> Any:
        """Run work and return its result."""
        self.time += 1.0
        return now(self.store.run(work))

    @rule(
        target=sessions,
        guid=st.sampled_from("abcd"),
        server=st.sampled_from([1, 2**47, 2**48 - 1]),
        place=st.sampled_from(["1", "1", "1", "2"]),
    )
    def admit(self, guid: str, server: int, place: str) -> tuple[HostId, int]:
        """A server takes a host in, unless it was deleted or stands elsewhere."""
        asked = admission(guid, Location(zone=place), type="ConsoleProxy", server_id=ServerId(server))
        (host,) = self.run(lambda txn: txn.hosts.admit([asked], self.time))
        row = self.rows.get(guid)
        if row is not None and (row.removed or row.place != place):
            assert isinstance(host, Refused)
            return row.id, row.session
        assert isinstance(host, Host)
        if row is None:
            assert host.id not in {other.id for other in self.rows.values()}
            row = self.rows[guid] = _Row(host.id, place)
        row.session += 1
        row.server_id = ServerId(server)
        if row.status is not HostStatus.UP:
            row.move(HostStatus.CONNECTING)
        return host.id, host.session

    @rule(steps=st.lists(st.tuples(sessions, st.sampled_from(HostEvent)), max_size=4))
    def transition(self, steps: list[tuple[tuple[HostId, int], HostEvent]]) -> None:
        """Some server tells what happened to hosts, perhaps to ones that it has lost."""
        changes = [
            StatusChange(host_id=host_id, session=Session(number), event=event, server_id=ServerId(1), reason="")
            for (host_id, number), event in steps
        ]
        taken = self.run(lambda txn: txn.hosts.transition(changes, self.time))
        for change, step in zip(changes, taken, strict=True):
            row = self.row(change.host_id)
            owns = change.session == row.session and not row.removed
            after = STATUS_TABLE.get((row.status, change.event)) if owns else None
            if after is None or after is HostStatus.REMOVED:
                assert step is None
                continue
            assert (step.change, step.before, step.after) == (change, row.status, after)
            row.move(after)
            if after is HostStatus.UP:
                row.disconnected = None
            elif after in _LOST and row.disconnected is None:
                row.disconnected = self.time

    @rule(heard=st.dictionaries(st.integers(1, 5), st.floats(0, 1e9)))
    def touch(self, heard: dict[int, float]) -> None:
        """A server flushes when it heard from hosts."""
        self.run(lambda txn: txn.hosts.touch({HostId(number): at for number, at in heard.items()}))
        for row in self.rows.values():
            at = heard.get(row.id)
            if at is not None and not row.removed:
                row.heard = at if row.heard is None else max(row.heard, at)

    @rule(session=consumes(sessions))
    def remove(self, session: tuple[HostId, int]) -> None:
        """An operator deletes a host."""
        row = self.row(session[0])
        removed = self.run(lambda txn: txn.hosts.remove(row.id, ServerId(1), None, self.time))
        assert removed is not row.removed
        if removed:
            row.removed, row.session = True, row.session + 1
            row.move(HostStatus.REMOVED)

    @rule(session=sessions)
    def restore(self, session: tuple[HostId, int]) -> None:
        """An operator lets a deleted host come back."""
        row = self.row(session[0])
        restored = self.run(lambda txn: txn.hosts.restore(row.id, ServerId(1), None, self.time))
        assert restored is row.removed
        if restored:
            row.removed, row.disconnected = False, None
            row.move(HostStatus.CREATING)

    def row(self, host_id: HostId) -> _Row:
        """The model of a host."""
        return next(row for row in self.rows.values() if row.id == host_id)

    def told(self, host_id: HostId) -> list[tuple[str, str]]:
        """From and to of each event row of a host, in order."""
        events, _ = now(self.store.read(lambda txn: txn.events.list(EventFilter(host_id=host_id), 0, None)))
        return [(event.details["from"], event.details["to"]) for event in reversed(events)]

    @invariant()
    def every_row_is_the_model_s(self) -> None:
        """Nothing but what the rules did is in the store, every change of status was told once, and lists are whole."""
        ids = [row.id for row in self.rows.values()]
        stored = now(self.store.read(lambda txn: [txn.hosts.get(host_id) for host_id in ids]))
        for (guid, row), host in zip(self.rows.items(), stored, strict=True):
            assert host is not None
            assert host.facts.guid == guid
            found = (host.zone.id, host.server_id, host.status, host.session, host.last_heard, host.disconnected)
            assert found == (int(row.place), row.server_id, row.status, row.session, row.heard, row.disconnected)
            assert (host.removed is not None) is row.removed
            assert self.told(row.id) == row.told
        there = sorted(row.id for row in self.rows.values() if not row.removed)
        assert [host.id for host in now(self.store.read(lambda txn: txn.hosts.all()))] == there


class HostHistoriesContract(StoreContract):
    """HostRows over time."""

    def test_histories(self) -> None:
        """Whatever happens, a session that is over changes no row."""
        run_state_machine_as_test(
            lambda: HostHistories(self.open_store()),  # type: ignore[arg-type] # any factory will do
            settings=settings(max_examples=25, stateful_step_count=25, deadline=None),
        )
