"""A journal's file that is none: what it holds outlives the journal, as a disk does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed

from cloudlb.resource.journal_file import Entry, JournalFault, JournalFile


class MemoryFile(JournalFile):
    """Keeps entries as the test says."""

    def __init__(self) -> None:
        self.kept: dict[str, Entry] = {}
        self.fault: str | None = None
        """Set: every call fails with it."""
        self.writes = 0

    def exists(self) -> bool:
        """Once something was written."""
        return self.writes > 0

    def read(self) -> list[Entry]:
        """What was written."""
        self._check()
        return list(self.kept.values())

    def write(self, kept: Sequence[Entry], forgotten: Sequence[str]) -> None:
        """Keep and forget."""
        self._check()
        self.writes += 1
        self.kept.update({entry.id: entry for entry in kept})
        for id_ in forgotten:
            self.kept.pop(id_, None)

    def close(self) -> None:
        """Nothing to let go of."""

    def _check(self) -> None:
        if self.fault is not None:
            raise JournalFault(f"The journal /memory cannot be used: {self.fault}")


def at_once(work: Callable[[], None]) -> Deferred[None]:
    """Run what would wait for a disk."""
    work()
    return succeed(None)
