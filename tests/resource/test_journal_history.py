"""Any history of a journal: commands, repeats, restarts, full disks and acknowledgements."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.resource.interface import Answer
from cloudlb.resource.journal import Journal, UnderWay
from tests.resource.test_journal import NAME, UNKNOWN
from tests.support.memory_file import MemoryFile, at_once

IDS = st.sampled_from([f"id{number}" for number in range(6)])


class Histories(RuleBasedStateMachine):
    """Commands, repeats, restarts, full disks and acknowledgements in any order."""

    MAX_ENTRIES, MAX_BYTES, SIZE = 4, 400, 100

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.file = MemoryFile()
        self.executed: dict[str, int] = {}
        self.answers: dict[str, Answer] = {}
        self.acknowledged: set[str] = set()
        self.repeats: dict[str, list[Deferred[Answer]]] = {}
        self.start()

    def start(self) -> None:
        """A new process."""
        self.running: set[str] = set()
        self.repeats.clear()
        self.journal = Journal(self.file, self.clock, at_once, max_entries=self.MAX_ENTRIES, max_bytes=self.MAX_BYTES)
        _now(self.journal.recall())

    def given(self, id_: str, answer: Answer) -> None:
        """An answer went out."""
        if id_ in self.acknowledged and "is not kept" in (answer.details or ""):
            return
        assert self.answers.setdefault(id_, answer) == answer

    @rule(id_=IDS, full=st.booleans())
    def command(self, id_: str, full: bool) -> None:
        """A command comes, maybe again, maybe while the disk is full."""
        self.file.fault = "full" if full else None
        begun = _now(self.journal.begin(id_, NAME, sequence=1, wait=0))
        self.file.fault = None
        if begun is None:
            # Only what was heard may have been forgotten.
            if id_ in self.acknowledged:
                self.acknowledged.remove(id_)
                del self.answers[id_]
                self.executed[id_] = 0
            self.executed[id_] = self.executed.get(id_, 0) + 1
            self.running.add(id_)
        elif isinstance(begun, UnderWay):
            assert id_ in self.running
            self.repeats.setdefault(id_, []).append(begun.end)
        elif "is full" not in (begun.details or "") and "cannot be used" not in (begun.details or ""):
            self.given(id_, begun)
        else:
            assert id_ not in self.running

    @rule(data=st.data(), result=st.booleans(), size=st.integers(0, SIZE))
    def ends(self, data: st.DataObject, result: bool, size: int) -> None:
        """One of those under way ends."""
        if self.running:
            id_ = data.draw(st.sampled_from(sorted(self.running)))
            self.running.remove(id_)
            self.given(id_, _now(self.journal.end(id_, Answer(result=result, details="x" * size))))
            for repeated in self.repeats.pop(id_, []):
                repeated.addCallback(lambda answer: self.given(id_, answer))
                assert repeated.called

    @rule()
    def killed(self) -> None:
        """The process dies and another one begins."""
        for id_ in self.running:
            self.given(id_, Answer(result=False, details=UNKNOWN))
        self.start()

    @rule(ids=st.sets(IDS))
    def heard(self, ids: set[str]) -> None:
        """A server acknowledges, rightly or not."""
        self.acknowledged |= {id_ for id_ in ids if id_ in self.answers and id_ not in self.running}
        self.journal.acknowledge(ids)

    @invariant()
    def once(self) -> None:
        """No id is carried out twice."""
        assert all(count <= 1 for count in self.executed.values())

    @invariant()
    def nothing_is_lost(self) -> None:
        """What no server has heard is told, with its answer."""
        told = {info.id: info for info in self.journal.infos()}
        assert set(told) == self.running | (set(self.answers) - self.acknowledged)
        for id_, info in told.items():
            if id_ not in self.running:
                assert id_ is not None
                assert orjson.loads(info.answer or "")["details"] == self.answers[id_].details

    @invariant()
    def bounded(self) -> None:
        """The limits hold; what was under way when they were reached may still end."""
        assert len(self.file.kept) <= self.MAX_ENTRIES
        base = 150
        assert sum(len(entry.answer or "") for entry in self.file.kept.values()) <= self.MAX_BYTES + 4 * (
            base + self.SIZE
        )


def _now(coroutine: Any) -> Any:
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addCallback(results.append)
    [result] = results
    return result


class HistoryTests(SynchronousTestCase):
    """Histories that nobody thought of."""

    def test_histories(self) -> None:
        """An id is carried out once, its answer never changes, nothing unheard is lost, and all is bounded."""
        run_state_machine_as_test(Histories, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
