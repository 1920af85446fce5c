# test-case-name: tests.resource.test_journal
"""The journal: an id is carried out once, its answer never changes, and no end is lost."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.resource.interface import Answer, CheckHealthAnswer
from cloudlb.resource.journal import MAX_AGE, MAX_TOLD, MAX_TOLD_BRACKETS, UNREAD, Journal, UnderWay
from cloudlb.resource.journal_answers import MAX_ANSWER
from cloudlb.wire import CommandInfo
from tests.support.memory_file import MemoryFile, at_once

NAME = "com.cloud.agent.api.StartCommand"
UNKNOWN = "The agent was restarted while it carried out StartCommand: what has become of it is unknown"


class JournalTests(SynchronousTestCase):
    """One journal after another on the same file."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.file = MemoryFile()
        self.journal = self.opened()

    def opened(self, **limits: int) -> Journal:
        """A journal, as a new process has it."""
        return Journal(self.file, self.clock, at_once, **limits)

    def begin(self, id_: str, name: str = NAME) -> Answer | UnderWay | None:
        """Note the beginning of a command."""
        return self.successResultOf(Deferred.fromCoroutine(self.journal.begin(id_, name, sequence=7, wait=60)))

    def end(self, id_: str, answer: Answer) -> Answer:
        """Note its end."""
        return self.successResultOf(Deferred.fromCoroutine(self.journal.end(id_, answer)))

    def carried_out(self, id_: str, answer: Answer) -> Answer:
        """Begin and end a command."""
        self.assertIsNone(self.begin(id_))
        return self.end(id_, answer)

    def refused(self, id_: str, reason: str, name: str = NAME) -> None:
        """A command is not to be carried out, and its answer says why."""
        answer = self.begin(id_, name)
        assert isinstance(answer, Answer)
        self.assertIs(answer.result, False)
        self.assertIn(reason, answer.details or "")

    def restart(self) -> None:
        """Another process reads what this one has left."""
        self.journal = self.opened()
        self.successResultOf(Deferred.fromCoroutine(self.journal.recall()))

    def test_durable_before(self) -> None:
        """The id is kept before the command may be carried out, and the answer before it may be sent."""
        self.assertIsNone(self.begin("a"))
        self.assertIsNone(self.file.kept["a"].answer)
        self.end("a", Answer(details="done"))
        self.assertEqual(orjson.loads(self.file.kept["a"].answer or "")["details"], "done")

    def test_repeated(self) -> None:
        """A known id gets the answer that is kept, of the same class, in this process and in later ones."""
        answer = CheckHealthAnswer(result=False, details="no", context_map={"logid": "1"})
        self.assertIs(self.carried_out("a", answer), answer)
        self.assertEqual(self.begin("a"), answer)
        self.restart()
        self.assertEqual(self.begin("a"), answer)

    def test_repeated_under_way(self) -> None:
        """An id that is under way is waited for, by however many."""
        self.begin("a")
        waiting = [self.begin("a"), self.begin("a")]
        for each in waiting:
            assert isinstance(each, UnderWay)
            self.assertNoResult(each.end)
        self.end("a", Answer(details="done"))
        for each in waiting:
            assert isinstance(each, UnderWay)
            self.assertEqual(self.successResultOf(each.end), Answer(details="done"))

    def test_killed(self) -> None:
        """What was begun by a process that died is not carried out again: its outcome is unknown, for ever."""
        self.begin("a")
        for _ in range(2):
            self.restart()
            self.assertEqual(self.begin("a"), Answer(result=False, details=UNKNOWN))
        [info] = self.journal.infos()
        self.assertEqual((info.state, info.id, info.request_seq, info.timeout), ("INTERRUPTED", "a", 7, 60))
        self.assertEqual(orjson.loads(info.answer or "")["details"], UNKNOWN)
        self.journal.acknowledge(["a"])
        self.restart()
        self.assertFalse(self.journal.untold)
        self.assertEqual(self.begin("a"), Answer(result=False, details=UNKNOWN))

    def test_another_command(self) -> None:
        """An id never gets the answer of another command."""
        self.carried_out("a", Answer())
        self.refused("a", "is that of another command", name="com.cloud.agent.api.StopCommand")

    def test_told(self) -> None:
        """What is under way and what has ended is told until it is acknowledged; the command itself is not."""
        self.begin("a")
        self.carried_out("b", Answer(details="done"))
        self.carried_out("c", Answer(result=False))
        self.assertEqual(
            [(i.id, i.state, i.command_name, i.command) for i in self.journal.infos()],
            [("a", "STARTED", NAME, None), ("b", "COMPLETED", NAME, None), ("c", "FAILED", NAME, None)],
        )
        [answer] = [info.answer for info in self.journal.infos() if info.id == "b"]
        self.assertEqual(orjson.loads(answer or "")["details"], "done")
        self.journal.acknowledge(["a", "b", "c", "unheard of"])
        self.assertEqual([info.id for info in self.journal.infos()], ["a"])
        self.end("a", Answer())
        self.journal.acknowledge(["a"])
        self.assertFalse(self.journal.untold)
        self.restart()
        self.assertEqual(self.journal.infos(), ())

    def test_ping_is_bounded(self) -> None:
        """One ping tells a part; the next ones tell the rest, also to a server that acknowledges nothing."""
        large = Answer(details='"' * (MAX_ANSWER // 5))
        many = Answer(details="[" * 1500)
        for answer, sort in ((large, "large"), (many, "many")):
            for number in range(12):
                self.assertIs(self.carried_out(f"{sort}{number}", answer), answer)
        told: list[str | None] = []
        for _ in range(24):
            infos = self.journal.infos()
            self.assertTrue(infos)
            self.assertLess(len(_json(infos)), MAX_TOLD)
            self.assertLess(_json(infos).count(b"[") + _json(infos).count(b"{"), MAX_TOLD_BRACKETS)
            told += [info.id for info in infos]
        self.assertEqual(len(set(told)), 24)

    def test_large_answer(self) -> None:
        """Of an answer that fits no ping the result is kept, and the same is sent."""
        for answer in (Answer(details="x" * MAX_ANSWER), Answer(details="{" * 5000)):
            kept = self.carried_out(f"id{len(answer.details or '')}", answer)
            self.assertIs(kept.result, True)
            self.assertIn("too large to be kept", kept.details or "")
        self.assertLess(len(_json(self.journal.infos())), 2000)

    def test_long_names(self) -> None:
        """An id or a class that is no name is refused and not kept."""
        self.refused("x" * 65, "at most 64")
        self.refused("a", "at most 64", name="x" * 201)
        self.assertEqual(self.file.kept, {})

    def test_answer_class_is_gone(self) -> None:
        """An answer of a class that the agent does not know any more is still the same answer."""
        self.carried_out("a", Answer(details="done"))
        self.file.kept["a"] = evolve(self.file.kept["a"], answer_name="com.example.GoneAnswer")
        self.restart()
        self.assertEqual(self.begin("a"), Answer(details="done"))
        [info] = self.journal.infos()
        self.assertEqual(info.answer_name, "com.example.GoneAnswer")

    def test_damaged_answer(self) -> None:
        """A damaged entry harms neither the agent nor other entries."""
        for number, damaged in enumerate(("{", "[]", '{"result":"S3CRET"}')):
            self.carried_out(f"a{number}", Answer())
            self.file.kept[f"a{number}"] = evolve(self.file.kept[f"a{number}"], answer=damaged)
        self.restart()
        self.refused("a0", "is damaged")
        self.refused("a1", "is damaged")
        self.refused("a2", "is damaged")
        self.assertEqual([info.state for info in self.journal.infos()], ["FAILED"] * 3)

    def test_full(self) -> None:
        """Without room for what no server has heard a command is refused; what was heard makes room, oldest first."""
        self.journal = self.opened(max_entries=3)
        for id_ in "abc":
            self.carried_out(id_, Answer())
        self.refused("d", "The journal is full: of 3 commands no server has acknowledged the end")
        self.assertEqual(self.begin("a"), Answer())
        self.journal.acknowledge(["b", "c"])
        self.carried_out("d", Answer())
        self.assertEqual(set(self.file.kept), {"a", "c", "d"})
        self.carried_out("e", Answer())
        self.refused("f", "is full")
        self.assertEqual(set(self.file.kept), {"a", "d", "e"})

    def test_full_of_bytes(self) -> None:
        """Of answers that were heard the oldest are dropped, and their ids still not carried out again."""
        self.journal = self.opened(max_bytes=2500)
        for id_ in "abc":
            self.carried_out(id_, Answer(details="x" * 1000))
        self.refused("d", "is full")
        self.journal.acknowledge("bc")
        self.carried_out("d", Answer(details="x" * 300))
        self.refused("b", "was carried out before; its answer was acknowledged and is not kept")
        self.assertEqual(self.begin("c"), Answer(details="x" * 1000))
        self.restart()
        self.refused("b", "was carried out before")
        self.assertEqual(self.begin("c"), Answer(details="x" * 1000))

    def test_age(self) -> None:
        """What was heard is forgotten with time; what was not is kept for as long as it takes."""
        self.carried_out("a", Answer())
        self.carried_out("b", Answer())
        self.journal.acknowledge(["b"])
        self.clock.advance(MAX_AGE + 1)
        self.carried_out("c", Answer())
        self.assertEqual(set(self.file.kept), {"a", "c"})

    def test_cannot_be_read(self) -> None:
        """With a bad file the journal says so at the start, refuses with its name, and goes on once it is mended."""
        self.carried_out("a", Answer())
        self.file.fault = "file is not a database"
        with capturedLogs() as events:
            self.restart()
        [line] = [formatEvent(event) for event in events]
        self.assertIn("The journal /memory cannot be used: file is not a database", line)
        self.refused("b", "The journal /memory cannot be used: file is not a database")
        self.file.fault = None
        self.assertEqual(self.begin("a"), Answer())
        self.assertIsNone(self.begin("b"))

    def test_cannot_be_written(self) -> None:
        """On a full disk a command is refused, also to who repeats it, and may come again."""
        self.begin("a")
        self.file.fault = "database or disk is full"
        self.refused("b", "The journal /memory cannot be used: database or disk is full")
        self.file.fault = None
        self.assertIsNone(self.begin("b"))

    def test_end_cannot_be_written(self) -> None:
        """An end that finds the disk full is sent and told all the same, and written with the next change."""
        self.begin("a")
        repeated = self.begin("a")
        assert isinstance(repeated, UnderWay)
        self.file.fault = "database or disk is full"
        self.assertEqual(self.end("a", Answer(details="done")), Answer(details="done"))
        self.assertEqual(self.successResultOf(repeated.end), Answer(details="done"))
        self.assertEqual([info.state for info in self.journal.infos()], ["COMPLETED"])
        self.file.fault = None
        self.begin("b")
        self.restart()
        self.assertEqual(self.begin("a"), Answer(details="done"))

    def test_lines_of_the_log(self) -> None:
        """A disk that stays full is one line, not one for every command."""
        self.begin("a")
        self.file.fault = "database or disk is full"
        with capturedLogs() as events:
            for number in range(20):
                self.refused(f"b{number}", "disk is full")
        self.assertEqual(len(events), 1)

    def test_unread(self) -> None:
        """As long as the file has not been read, a ping says that it does not tell all."""
        self.carried_out("a", Answer())
        self.file.fault = "disk I/O error"
        self.restart()
        self.assertEqual(self.journal.infos(), (CommandInfo(state=UNREAD),))
        self.file.fault = None
        self.successResultOf(Deferred.fromCoroutine(self.journal.recall()))
        self.assertEqual([info.id for info in self.journal.infos()], ["a"])

    def test_announced(self) -> None:
        """What waits for its turn is told until it waits no more, in however many requests, or has begun."""
        for id_ in "aab":
            self.journal.announce(id_, NAME, sequence=7, wait=60)
        self.assertTrue(self.journal.untold)
        self.assertEqual(self.told(), [("a", "CREATED"), ("b", "CREATED")])
        self.journal.acknowledge("ab")
        self.journal.withdraw("a")
        self.begin("b")
        self.journal.withdraw("b")
        self.assertEqual(self.told(), [("a", "CREATED"), ("b", "STARTED")])
        self.journal.withdraw("a")
        self.assertEqual(self.told(), [("b", "STARTED")])
        self.end("b", Answer())
        self.journal.announce("b", NAME, sequence=8, wait=60)
        self.assertEqual(self.told(), [("b", "COMPLETED")])
        self.journal.acknowledge("b")
        self.assertEqual(self.told(), [])
        self.journal.withdraw("b")
        self.assertFalse(self.journal.untold)

    def test_announced_and_refused(self) -> None:
        """A command that the full disk keeps from being begun is told for as long as its request waits."""
        self.begin("z")
        self.journal.announce("a", NAME, sequence=7, wait=60)
        self.file.fault = "database or disk is full"
        self.refused("a", "is full")
        self.assertEqual(self.told(), [("z", "STARTED"), ("a", "CREATED")])
        self.journal.withdraw("a")
        self.assertEqual(self.told(), [("z", "STARTED")])

    def test_repeated_before_the_file_is_read(self) -> None:
        """A command that waits while the file is read is told as what the file says of it."""
        for id_ in "ab":
            self.carried_out(id_, Answer())
        self.journal.acknowledge("b")
        self.journal = self.opened()
        for id_ in "ab":
            self.journal.announce(id_, NAME, sequence=8, wait=60)
        self.successResultOf(Deferred.fromCoroutine(self.journal.recall()))
        self.assertEqual(self.told(), [("a", "COMPLETED")])

    def test_turn_by_turn(self) -> None:
        """When a command is told again, all that was there the time before has been told."""
        for number in range(12):
            self.carried_out(f"a{number}", Answer(details="[" * 1500))
        first = {id_ for id_, _ in self.told()}
        told: set[str | None] = set(first)
        self.carried_out("late", Answer())
        while not first & (ids := {id_ for id_, _ in self.told()}):
            told |= ids
        self.assertEqual(told | {"late"}, {f"a{number}" for number in range(12)} | {"late"})

    def told(self) -> list[tuple[str | None, str | None]]:
        """What the next ping tells."""
        return [(info.id, info.state) for info in self.journal.infos()]

    def test_nothing_journalled(self) -> None:
        """An agent that never sees such a command has no file, and reads none."""
        self.restart()
        self.assertFalse(self.file.exists())
        self.assertEqual(self.journal.infos(), ())

    def slow_disk(self) -> tuple[Callable[[], None], list[Deferred[Answer | UnderWay | None]]]:
        """Two requests begin the same command on a disk that works when the test says so."""
        disk: list[tuple[Callable[[], None], Deferred[None]]] = []

        def later(work: Callable[[], None]) -> Deferred[None]:
            disk.append((work, Deferred()))
            return disk[-1][1]

        def turn() -> None:
            work, done = disk.pop(0)
            maybeDeferred(work).chainDeferred(done)

        self.journal = Journal(self.file, self.clock, later)
        both = [Deferred.fromCoroutine(self.journal.begin("a", NAME, sequence=1, wait=0)) for _ in range(2)]
        self.assertEqual([each.called for each in both], [False, False])
        turn()
        both.sort(key=lambda each: each.called)
        return turn, both

    def test_slow_disk(self) -> None:
        """While the disk is at work, the command waits; who repeats it waits for its end."""
        turn, [first, repeated] = self.slow_disk()
        self.assertIsInstance(self.successResultOf(repeated), UnderWay)
        self.assertNoResult(first)
        turn()
        self.assertIsNone(self.successResultOf(first))

    def test_slow_disk_is_full(self) -> None:
        """A command that could not be begun after all is refused to everybody who waits for it."""
        turn, [first, repeated] = self.slow_disk()
        under_way = self.successResultOf(repeated)
        assert isinstance(under_way, UnderWay)
        self.file.fault = "database or disk is full"
        turn()
        refused = self.successResultOf(first)
        assert isinstance(refused, Answer)
        self.assertIs(refused.result, False)
        self.assertEqual(self.successResultOf(under_way.end), refused)


def _json(infos: tuple[CommandInfo, ...]) -> bytes:
    return orjson.dumps([[info.id, info.command_name, info.answer_name, info.answer] for info in infos])
