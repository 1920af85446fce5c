"""The journal of commands that change something: what has an id is carried out once, and its end is never lost.

A command's id is on the disk before the command is carried out, and its answer before it is sent. An id that is known
is not carried out again: it has the answer that is kept, or waits for the one that is to come. What was begun by a
process that died has a definite answer too, which says that the outcome is unknown.

An end is told to servers, with pings, until one of them acknowledges it; only then may it be forgotten. Where there is
no room for more, a new command is refused: nothing is ever forgotten that no server has heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import orjson
from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.net.batch import Batch
from cloudlb.net.sparse_log import SparseLog
from cloudlb.resource.journal_file import Entry, JournalFault, JournalFile
from cloudlb.wire import Answer, BodyError, CommandInfo, Opaque, fields_of, read_content, wire_name

MAX_ENTRIES = 10_000
"""Commands that are remembered."""
MAX_BYTES = 4 * 2**20
"""Of all answers that are kept. What is under way may still end when this is reached."""
MAX_AGE = 7 * 86400.0
"""Seconds from its beginning for which a command is remembered whose end a server has heard."""
MAX_ID = 64
"""Characters of a command's id."""
MAX_NAME = 200
"""Characters of its class on the wire."""
MAX_ANSWER = 256 * 2**10
"""Bytes of one answer as it stands in a ping. Of a larger one only the result is kept and sent."""
MAX_ANSWER_BRACKETS = 2000
"""Arrays and objects of one answer, of which a server reads a limited number in one ping."""
MAX_TOLD = 512 * 2**10
"""Bytes of what one ping tells: well below the 2 MiB that a server takes from an agent."""
MAX_TOLD_BRACKETS = 4000
"""The same for arrays and objects, where a server's limit is 16384."""
BATCH = 500
"""Most changes of one transaction."""

RunBlocking = Callable[[Callable[[], None]], Deferred[None]]
"""Runs a function that waits for a disk, on a thread or, in tests, at once."""

_PLAIN = wire_name(Answer())
_INFO = 300
"""Bytes that the telling of one command needs besides its texts."""


@frozen
class UnderWay:
    """The same command is being carried out."""

    end: Deferred[Answer]
    """Fires with its answer. Cancelling it changes nothing for the command."""


class Journal:
    """The journal of one agent."""

    _log = Logger()

    def __init__(
        self,
        file: JournalFile,
        clock: IReactorTime,
        run_blocking: RunBlocking,
        *,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Prepare; the file is opened with the first command, or by :meth:`recall`.

        Args:
            file: where the journal is kept; its calls are made one at a time.
            clock: for the age of entries.
            run_blocking: runs the file's calls.
            max_entries: commands that are remembered.
            max_bytes: of their answers.
        """
        self._file = file
        self._clock = clock
        self._run_blocking = run_blocking
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._turn = DeferredLock()
        self._open = False
        self._entries: dict[str, Entry] = {}
        self._under_way: dict[str, list[Deferred[Answer]]] = {}
        """Who waits for the end of what this process has begun."""
        self._interrupted: set[str] = set()
        self._untold: dict[str, None] = {}
        """What is not acknowledged, in the order in which it is told."""
        self._heard: dict[str, None] = {}
        """What is, the oldest first."""
        self._bare: dict[str, None] = {}
        """What is older still, and whose answers are not kept."""
        self._bytes = 0
        self._writes: Batch[tuple[str, Entry | None], None] = Batch(self._write, BATCH)
        self._unwritten: dict[str, Entry | None] = {}
        """Changes that a fault has kept from the file; the next ones take them along."""
        self._faults = SparseLog(clock, self._log)

    @property
    def untold(self) -> bool:
        """Whether there is anything that no server has acknowledged, under way or ended."""
        return bool(self._untold)

    async def recall(self) -> None:
        """Read what an earlier process left behind, if there is a file; a fault is logged and tried again later."""
        if not self._open and self._file.exists():
            try:
                await self._opened()
            except JournalFault as fault:
                self._log.error("{fault}. Commands that change something are refused", fault=str(fault))

    async def close(self) -> None:
        """Let go of the file once what is being written is there."""
        await self._in_turn(self._file.close)

    async def begin(self, id_: str, name: str, *, sequence: int, wait: int) -> Answer | UnderWay | None:
        """Note that a command is about to be carried out.

        Args:
            id_: of the command.
            name: of its class on the wire.
            sequence: of the request that it came in.
            wait: of the command, in seconds.

        Returns:
            None: it is on the disk, and the caller carries the command out and calls :meth:`end`. An answer: the one
            that is kept, or a refusal.
        """
        if len(id_) > MAX_ID or len(name) > MAX_NAME:
            return Answer(result=False, details=f"An id has at most {MAX_ID} characters, and a class {MAX_NAME}")
        try:
            await self._opened()
        except JournalFault as fault:
            return self._refused(fault)
        known = self._entries.get(id_)
        if known is not None:
            return self._known(known, name)
        self._make_room()
        if len(self._entries) >= self._max_entries or self._bytes >= self._max_bytes:
            return Answer(
                result=False,
                details=f"The journal is full: of {len(self._untold)} commands no server has acknowledged the end",
            )
        entry = Entry(id_, name, sequence, wait, self._clock.seconds())
        self._entries[id_] = entry
        self._untold[id_] = None
        waiters = self._under_way[id_] = []
        try:
            await self._writes.add((id_, entry))
        except JournalFault as fault:
            refused = self._refused(fault)
            # Nothing was carried out, so the same id may come again.
            del self._entries[id_], self._untold[id_], self._under_way[id_]
            for waiter in waiters:
                waiter.callback(refused)
            return refused
        return None

    async def end(self, id_: str, answer: Answer) -> Answer:
        """Note the end of a command that :meth:`begin` let the caller carry out.

        Returns:
            The answer to send, which from now on is the one to this id.
        """
        answer, text = _kept(answer)
        entry = evolve(self._entries[id_], answer_name=wire_name(answer), answer=text)
        self._entries[id_] = entry
        self._bytes += len(text)
        try:
            await self._writes.add((id_, entry))
        except JournalFault as fault:
            # It was carried out, and to withhold that would not make it undone.
            self._faults.info("The end of {name} is not on the disk: {fault}", name=entry.name, fault=str(fault))
        for waiter in self._under_way.pop(id_):
            waiter.callback(answer)
        return answer

    def infos(self) -> tuple[CommandInfo, ...]:
        """What the next ping tells: all that is not acknowledged, or, where it is too much for one, the next part."""
        told: list[Entry] = []
        size = brackets = 0
        for id_ in self._untold:
            entry = self._entries[id_]
            texts = orjson.dumps([entry.id, entry.name, entry.answer_name, entry.answer])
            size += _INFO + len(texts)
            brackets += 1 + _brackets(entry.answer or "")
            if size > MAX_TOLD or brackets > MAX_TOLD_BRACKETS:
                break
            told.append(entry)
        for entry in told:
            # Behind the others: a server that cannot use it must not keep it from hearing the rest.
            del self._untold[entry.id]
            self._untold[entry.id] = None
        return tuple(map(self._info, told))

    def acknowledge(self, ids: Iterable[str]) -> None:
        """Take it that a server has heard of ends; what has not ended, or is not known, is passed over."""
        for id_ in ids:
            if id_ in self._untold and id_ not in self._under_way:
                del self._untold[id_]
                self._interrupted.discard(id_)
                entry = evolve(self._entries[id_], acknowledged=True)
                self._remember_heard(entry)
                self._change(id_, entry)

    def _known(self, entry: Entry, name: str) -> Answer | UnderWay:
        if entry.name != name:
            return Answer(result=False, details=f"The id {entry.id} is that of another command, {entry.name}")
        waiters = self._under_way.get(entry.id)
        if waiters is None:
            return _answer_of(entry)
        waiters.append(Deferred())
        return UnderWay(waiters[-1])

    def _info(self, entry: Entry) -> CommandInfo:
        if entry.id in self._under_way:
            # Until its answer is on the disk it is not told.
            state, entry = "STARTED", evolve(entry, answer_name=None, answer=None)
        elif entry.id in self._interrupted:
            state = "INTERRUPTED"
        else:
            state = "COMPLETED" if _answer_of(entry).result else "FAILED"
        return CommandInfo(
            request_seq=entry.sequence,
            state=state,
            command_name=entry.name,
            timeout=entry.wait,
            answer_name=entry.answer_name,
            answer=entry.answer,
            id=entry.id,
        )

    def _make_room(self) -> None:
        while self._heard and self._bytes >= self._max_bytes:
            # The id alone is worth keeping: whoever repeats it learns that it was carried out.
            id_ = _pop_first(self._heard)
            entry = self._entries[id_]
            self._bytes -= len(entry.answer or "")
            self._remember_heard(evolve(entry, answer_name=None, answer=None))
            self._change(id_, self._entries[id_])
        while heard := self._bare or self._heard:
            entry = self._entries[next(iter(heard))]
            if len(self._entries) < self._max_entries and entry.begun_at >= self._clock.seconds() - MAX_AGE:
                break
            _pop_first(heard)
            del self._entries[entry.id]
            self._bytes -= len(entry.answer or "")
            self._change(entry.id, None)

    def _remember_heard(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        (self._bare if entry.answer is None else self._heard)[entry.id] = None

    # The file.

    async def _opened(self) -> None:
        if not self._open:
            await self._turn.run(self._read)

    async def _read(self) -> None:
        if self._open:
            return
        entries: list[Entry] = []
        await self._run_blocking(lambda: entries.extend(self._file.read()))
        for entry in entries:
            self._take(entry)
        self._open = True

    def _take(self, entry: Entry) -> None:
        if entry.acknowledged:
            self._remember_heard(entry)
        else:
            if entry.answer is None:
                _, text = _kept(_unknown_outcome(entry))
                entry = evolve(entry, answer_name=_PLAIN, answer=text)
                self._interrupted.add(entry.id)
            self._entries[entry.id] = entry
            self._untold[entry.id] = None
        self._bytes += len(entry.answer or "")

    def _change(self, id_: str, entry: Entry | None) -> None:
        self._writes.add((id_, entry)).addErrback(
            lambda failure: self._faults.info("{fault}", fault=failure.getErrorMessage())
        )

    async def _write(self, changes: list[tuple[str, Entry | None]]) -> Sequence[None]:
        # Of the changes of one id the last one counts.
        to_write = {**self._unwritten, **dict(changes)}
        kept = [entry for entry in to_write.values() if entry is not None]
        forgotten = [id_ for id_, entry in to_write.items() if entry is None]
        try:
            await self._in_turn(lambda: self._file.write(kept, forgotten))
        except JournalFault:
            # What only was to begin does not.
            self._unwritten = {
                id_: entry for id_, entry in to_write.items() if entry is None or entry.answer or entry.acknowledged
            }
            raise
        self._unwritten = {}
        return [None] * len(changes)

    async def _in_turn(self, work: Callable[[], None]) -> None:
        await self._turn.run(self._run_blocking, work)

    def _refused(self, fault: JournalFault) -> Answer:
        self._faults.info("{fault}. The command is refused", fault=str(fault))
        return Answer(result=False, details=str(fault))


def _unknown_outcome(entry: Entry) -> Answer:
    command = entry.name.rpartition(".")[2]
    return Answer(
        result=False,
        details=f"The agent was restarted while it carried out {command}: what has become of it is unknown",
    )


def _kept(answer: Answer) -> tuple[Answer, str]:
    """The answer that is sent and kept, and its text."""
    try:
        wire_name(answer)
        text = orjson.dumps(fields_of(answer)).decode()
    except (KeyError, TypeError) as error:
        return _kept(Answer(result=False, details=f"The answer of the resource cannot be written: {error}"))
    size, brackets = len(orjson.dumps(text)), _brackets(text)
    if size > MAX_ANSWER or brackets > MAX_ANSWER_BRACKETS:
        return _kept(
            Answer(
                result=answer.result,
                details=f"The answer is too large for the journal and was not kept: {size} bytes, {brackets} brackets",
            )
        )
    return answer, text


def _answer_of(entry: Entry) -> Answer:
    if entry.answer is None or entry.answer_name is None:
        return Answer(
            result=False, details="The command was carried out before; its answer was acknowledged and is not kept"
        )
    # The class may be one that this agent does not have any more.
    for name in (entry.answer_name, _PLAIN):
        with suppress(ValueError, TypeError, BodyError):
            answer = read_content(Opaque(name, orjson.loads(entry.answer)))
            if isinstance(answer, Answer):
                return answer
    return Answer(result=False, details="The command was carried out before; its answer in the journal is damaged")


def _pop_first(ids: dict[str, None]) -> str:
    first = next(iter(ids))
    del ids[first]
    return first


def _brackets(text: str) -> int:
    return text.count("[") + text.count("{")
