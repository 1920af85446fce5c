"""What befalls servers and hosts, and for how long it may still be felt."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime


class Faults:
    """Those that are under way, and when the last one of each server and each host was over.

    Servers go by their addresses here, and hosts by their names.
    """

    def __init__(self, clock: IReactorTime, felt: float) -> None:
        """Prepare; ``felt``: seconds after the end of a fault in which something may follow from it."""
        self._clock = clock
        self._felt = felt
        self._under_way: set[tuple[str, str]] = set()
        self._over: dict[str, float] = {}

    def begin(self, kind: str, *whom: str) -> None:
        """A fault begins, unless one of this kind is under way."""
        self._under_way.update((kind, each) for each in whom)

    def end(self, kind: str, *whom: str) -> None:
        """It is over, if there was one."""
        for each in whom:
            if (kind, each) in self._under_way:
                self._under_way.discard((kind, each))
                self.strike(each)

    def strike(self, *whom: str) -> None:
        """One that is over at once."""
        self._over.update((each, self._clock.seconds()) for each in whom)

    def end_all(self) -> None:
        """Everything is well."""
        for kind, each in list(self._under_way):
            self.end(kind, each)

    def explain(self, whom: Iterable[str]) -> bool:
        """Whether what happens now to somebody may follow from what has befallen one of these."""
        befallen = {each for _, each in self._under_way}
        return any(each in befallen or self.is_felt(self._over.get(each, 0.0)) for each in whom)

    def is_felt(self, when: float) -> bool:
        """Whether something may follow now from what happened then."""
        now = self._clock.seconds()
        return now - self._felt < when <= now
