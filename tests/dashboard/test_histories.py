"""Histories of changes: a page that has followed all of them knows what one knows that has just come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import evolve
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cloudlb.dashboard.fleet import HOST_FIELDS
from cloudlb.dashboard.watch import INTERVAL, OVERLAP, Watch
from cloudlb.domain.drains import Drain
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId, ServerId, StatusChange
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import AlertType
from cloudlb.domain.server_state import ServerEvent
from cloudlb.domain.settings import HOST, LB_ALGORITHM, WAIT
from tests.dashboard.viewing import ALPHA, BETA, NOW, FleetTestCase, Told, admission, read_events

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
GAMMA = ServerId(13)
_HOSTS = st.integers(1, 6).map(HostId)
_SERVERS = st.sampled_from([ALPHA, BETA])


class _Page:
    """What fleet.js makes of a stream."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._position: str | None = None
        self.hosts: dict[int, Any] = {}
        self.servers: dict[int, Any] = {}
        self.events: list[int] = []
        self.rest: dict[str, Any] = {}

    def follow(self) -> None:
        """Hear what there is; a snapshot that has to be read comes later."""
        if (news := self._watch.after(self._position)) is not None:
            self._position, frames = news
            for told in read_events(b"".join(frame.plain for frame in frames)):
                self._take(told)

    def _take(self, told: Told) -> None:
        data = dict(told.data)
        if told.name == "snapshot":
            columns = [_column(data["hosts"][name]) for name in HOST_FIELDS]
            self.hosts, self.servers, self.events = {}, {}, []
            data["hosts"] = zip(*columns, strict=True)
        self.hosts |= {row[0]: tuple(row) for row in data.get("hosts", ())}
        self.servers |= {server["id"]: server for server in data.get("servers", ())}
        for id_ in data.get("gone", ()):
            del self.hosts[id_]
        for id_ in data.get("left", ()):
            del self.servers[id_]
        self.events = [*(event[0] for event in data.get("events", ())), *self.events]
        self.rest |= {name: data[name] for name in ("listed", "algorithm", "weights", "alerts") if name in data}


def _column(column: Any) -> Any:
    """The values of a field, which may stand there as [values, indexes]."""
    if column and isinstance(column[0], list):
        values, indexes = column
        return [values[index] for index in indexes]
    return column


class HistoryTests(FleetTestCase):
    """A server that is watched while all kinds of things happen."""

    def setUp(self) -> None:
        """Each example has rows of its own."""

    @settings(
        max_examples=25,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(data=st.data())
    def test_history(self, data: st.DataObject) -> None:
        """Who follows, who comes to the same watch, and who comes to another server see the same."""
        super().setUp()
        watch, another = self._watch(), self._watch()
        watch.start()
        page = _Page(watch)
        for _ in range(data.draw(st.integers(1, 25), label="changes")):
            kind = data.draw(st.sampled_from(sorted(_KINDS)), label="kind")
            _KINDS[kind](self, data.draw)
            # Events are forgotten after a while.
            for _ in range(data.draw(st.sampled_from([0, 1, 2, int(OVERLAP) + 2]), label="seconds")):
                self.clock.advance(INTERVAL)
            if data.draw(st.booleans(), label="reads"):
                page.follow()
        another.start()
        come, elsewhere = _Page(watch), _Page(another)
        for _ in range(3):
            self.clock.advance(INTERVAL)
            for each in (page, come, elsewhere):
                each.follow()
        for each in (page, come):
            self.assertEqual(each.hosts, elsewhere.hosts)
            self.assertEqual(each.servers, elsewhere.servers)
            self.assertEqual(each.rest, elsewhere.rest)
            self.assertEqual(sorted(each.events), sorted(elsewhere.events))

    def _watch(self) -> Watch:
        watch = Watch(self.database, self.clock, lambda: f"run-{id(self.clock)}", lambda: None)
        self.addCleanup(watch.stop)
        return watch


def _come(test: HistoryTests, draw: Draw) -> None:
    asked = admission(draw(st.sampled_from("abcdef")), draw(_SERVERS))
    test.write(lambda txn: txn.hosts.admit([asked], NOW))


def _step(test: HistoryTests, draw: Draw) -> None:
    host_id, event = draw(_HOSTS), draw(st.sampled_from(HostEvent))

    def work(txn: Transaction) -> None:
        if (host := txn.hosts.get(host_id)) is not None and host.server_id is not None:
            change = StatusChange(
                host_id=host.id, session=host.session, event=event, server_id=host.server_id, reason="a test"
            )
            txn.hosts.transition([change], NOW)

    test.write(work)


def _remove(test: HistoryTests, draw: Draw) -> None:
    host_id = draw(_HOSTS)
    test.write(lambda txn: txn.hosts.get(host_id) and txn.hosts.remove(host_id, ALPHA, None, NOW))


def _restore(test: HistoryTests, draw: Draw) -> None:
    host_id = draw(_HOSTS)
    test.write(lambda txn: txn.hosts.restore(host_id, ALPHA, None, NOW))


def _commit_late(test: HistoryTests, draw: Draw) -> None:
    """A transaction ends that has changed a host some seconds ago."""
    values = draw(st.sampled_from(["Up", "Alert"])), draw(st.floats(0, OVERLAP - 1)), draw(_HOSTS)
    test.execute(
        "UPDATE host SET status = ?, changed = max(changed, (julianday('now') - 2440587.5) * 86400.0 - ?) "
        "WHERE id = ? AND removed IS NULL",
        values,
    )


def _change_server(test: HistoryTests, draw: Draw) -> None:
    server_id, event = draw(_SERVERS), draw(st.sampled_from(ServerEvent))
    test.write(lambda txn: txn.servers.change_state(server_id, event))


def _join(test: HistoryTests, draw: Draw) -> None:
    test.write(
        lambda txn: txn.servers.register(name="gamma", address="10.0.0.3", port=8250, version="1", candidate_id=GAMMA)
    )


def _leave(test: HistoryTests, draw: Draw) -> None:
    test.write(lambda txn: txn.servers.remove(GAMMA))


def _drain(test: HistoryTests, draw: Draw) -> None:
    drain = Drain(server_id=BETA, timeout=60.0, started=NOW, total=5, left=5)
    moved = draw(st.integers(0, 5))

    def work(txn: Transaction) -> None:
        txn.drains.progress(evolve(txn.drains.put(drain), moved=moved, left=5 - moved))

    test.write(work)


def _alert(test: HistoryTests, draw: Draw) -> None:
    test.write(lambda txn: txn.alerts.send(AlertType.HOST, "down", host_id=None, now=NOW))


def _set(name: str, *values: str) -> Callable[[HistoryTests, Draw], None]:
    def change(test: HistoryTests, draw: Draw) -> None:
        value = draw(st.sampled_from(values))
        test.write(lambda txn: txn.settings.set(name, value, None))

    return change


_KINDS: Mapping[str, Callable[[HistoryTests, Draw], None]] = {
    "come": _come,
    "step": _step,
    "remove": _remove,
    "restore": _restore,
    "commit late": _commit_late,
    "change server": _change_server,
    "join": _join,
    "leave": _leave,
    "drain": _drain,
    "alert": _alert,
    "algorithm": _set(LB_ALGORITHM, "roundrobin", "static", "rendezvous", "shuffle"),
    "list": _set(HOST, "10.0.0.1,10.0.0.2", "10.0.0.2,10.0.0.1,10.0.0.3", "10.0.0.1"),
    "wait": _set(WAIT, "1", "2"),
}
