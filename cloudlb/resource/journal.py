"""The journal of commands that change something: what has an id is carried out once, and its end is never lost.

A command's id is on the disk before the command is carried out, and its answer before it is sent. An id that is known
is not carried out again: it has the answer that is kept, or waits for the one that is to come. What was begun by a
process that died has a definite answer too, which says that the outcome is unknown.

An end is told to servers, with pings, until one of them acknowledges it; only then may it be forgotten. Where there is
no room for more, a new command is refused: nothing is ever forgotten that no server has heard.

What waits for its turn is told, too, so that a server knows of a command that it is not told of that it will never be
carried out. Pings tell turn by turn: when one tells of a command again, all that was there the time before was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import orjson
from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.net.batch import Batch
from cloudlb.net.sparse_log import SparseLog
from cloudlb.resource.journal_answers import answer_of, brackets, kept, unknown_outcome
from cloudlb.resource.journal_file import Entry, JournalFault, JournalFile
from cloudlb.wire import Answer, CommandInfo, wire_name

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
MAX_TOLD = 512 * 2**10
"""Bytes of what one ping tells: well below the 2 MiB that a server takes from an agent."""
MAX_TOLD_BRACKETS = 4000
"""The same for arrays and objects, where a server's limit is 16384."""
UNREAD = "UNREAD"
"""The state of an element of a ping that tells of no command: what an earlier process left behind is not known yet."""
BATCH = 500
"""Most changes of one transaction."""

RunBlocking = Callable[[Callable[[], None]], Deferred[None]]
"""Runs a function that waits for a disk, on a thread or, in tests, at once."""

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
        self._announced: dict[str, tuple[Entry, int]] = {}
        """What waits for its turn, and in how many requests."""
        self._under_way: dict[str, list[Deferred[Answer]]] = {}
        """Who waits for the end of what this process has begun."""
        self._interrupted: set[str] = set()
        self._untold: dict[str, None] = {}
        """What is not acknowledged, in the order in which it is told; announced, under way or ended."""
        self._heard: dict[str, None] = {}
        """What is, the oldest first."""
        self._bare: dict[str, None] = {}
        """What is older still, and whose answers are not kept."""
        self._bytes = 0
        self._writes: Batch[tuple[str, Entry | None], None] = Batch(self._write, BATCH)
        self._unwritten: dict[str, Entry | None] = {}
        """Changes that a fault has kept from the file; the next ones take them along."""
        self._faults = SparseLog(clock, self._log)
        self._read_fault = ""
        """The last one, which was logged."""

    @property
    def untold(self) -> bool:
        """Whether there is anything that no server has acknowledged, waiting, under way or ended."""
        return bool(self._untold)

    @property
    def unread(self) -> bool:
        """Whether a file is there that has not been read."""
        return not self._open and self._file.exists()

    async def recall(self) -> None:
        """Read what an earlier process left behind, if there is a file; a fault is logged once, and tried again."""
        if self.unread:
            try:
                await self._opened()
            except JournalFault as fault:
                if str(fault) != self._read_fault:
                    self._log.error("{fault}. Commands that change something are refused", fault=str(fault))
                self._read_fault = str(fault)

    async def close(self) -> None:
        """Let go of the file once what is being written is there."""
        await self._in_turn(self._file.close)

    def announce(self, id_: str, name: str, *, sequence: int, wait: int) -> None:
        """Take it that a command has come and waits for its turn; as for :meth:`begin`, but nothing is written."""
        if len(id_) > MAX_ID or len(name) > MAX_NAME:
            return
        entry, times = self._announced.get(id_) or (Entry(id_, name, sequence, wait, self._clock.seconds()), 0)
        self._announced[id_] = entry, times + 1
        if id_ not in self._entries:
            self._untold.setdefault(id_)

    def withdraw(self, id_: str) -> None:
        """Take it that a command that was announced waits no more; what has begun is not touched."""
        entry, times = self._announced.pop(id_, (None, 0))
        if entry is not None and times > 1:
            self._announced[id_] = entry, times - 1
        elif id_ not in self._entries:
            self._untold.pop(id_, None)

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
            unheard = len(self._entries) - len(self._heard) - len(self._bare)
            return Answer(
                result=False,
                details=f"The journal is full: of {unheard} commands no server has acknowledged the end",
            )
        entry = Entry(id_, name, sequence, wait, self._clock.seconds())
        self._entries[id_] = entry
        self._untold.setdefault(id_)
        waiters = self._under_way[id_] = []
        try:
            await self._writes.add((id_, entry))
        except JournalFault as fault:
            refused = self._refused(fault)
            # Nothing was carried out, so the same id may come again.
            del self._entries[id_], self._under_way[id_]
            if id_ not in self._announced:
                del self._untold[id_]
            for waiter in waiters:
                waiter.callback(refused)
            return refused
        return None

    async def end(self, id_: str, answer: Answer) -> Answer:
        """Note the end of a command that :meth:`begin` let the caller carry out.

        Args:
            id_: of the command.
            answer: one that can be written.

        Returns:
            The answer to send, which from now on is the one to this id.
        """
        answer, text = kept(answer)
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
        """What the next ping tells: all that is not acknowledged, or, where it is too much for one, the next part.

        While a file is there that has not been read, its only element has the state UNREAD and no id.
        """
        if self.unread:
            return (CommandInfo(state=UNREAD),)
        told: list[Entry] = []
        size = containers = 0
        for id_ in self._untold:
            entry = self._entries.get(id_) or self._announced[id_][0]
            texts = orjson.dumps([entry.id, entry.name, entry.answer_name, entry.answer])
            size += _INFO + len(texts)
            containers += 1 + brackets(entry.answer or "")
            if size > MAX_TOLD or containers > MAX_TOLD_BRACKETS:
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
            if id_ in self._untold and id_ in self._entries and id_ not in self._under_way:
                self._interrupted.discard(id_)
                entry = evolve(self._entries[id_], acknowledged=True)
                self._remember_heard(entry)
                self._change(id_, entry)

    def _known(self, entry: Entry, name: str) -> Answer | UnderWay:
        if entry.name != name:
            return Answer(result=False, details=f"The id {entry.id} is that of another command, {entry.name}")
        waiters = self._under_way.get(entry.id)
        if waiters is None:
            return answer_of(entry)
        waiters.append(Deferred())
        return UnderWay(waiters[-1])

    def _info(self, entry: Entry) -> CommandInfo:
        if entry.id not in self._entries:
            state = "CREATED"
        elif entry.id in self._under_way:
            # Until its answer is on the disk it is not told.
            state, entry = "STARTED", evolve(entry, answer_name=None, answer=None)
        elif entry.id in self._interrupted:
            state = "INTERRUPTED"
        else:
            state = "COMPLETED" if answer_of(entry).result else "FAILED"
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
        self._untold.pop(entry.id, None)
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
                answer, text = kept(unknown_outcome(entry))
                entry = evolve(entry, answer_name=wire_name(answer), answer=text)
                self._interrupted.add(entry.id)
            self._entries[entry.id] = entry
            self._untold.setdefault(entry.id)
        self._bytes += len(entry.answer or "")

    def _change(self, id_: str, entry: Entry | None) -> None:
        self._writes.add((id_, entry)).addErrback(
            lambda failure: self._faults.info("{fault}", fault=failure.getErrorMessage())
        )

    async def _write(self, changes: list[tuple[str, Entry | None]]) -> Sequence[None]:
        # Of the changes of one id the last one counts.
        to_write = {**self._unwritten, **dict(changes)}
        to_keep = [entry for entry in to_write.values() if entry is not None]
        to_forget = [id_ for id_, entry in to_write.items() if entry is None]
        try:
            await self._in_turn(lambda: self._file.write(to_keep, to_forget))
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


def _pop_first(ids: dict[str, None]) -> str:
    first = next(iter(ids))
    del ids[first]
    return first
