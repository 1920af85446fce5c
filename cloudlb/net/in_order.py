"""A set that remembers the order of its additions."""

from __future__ import annotations

from collections.abc import Iterator, MutableSet
from typing import TypeVar

T = TypeVar("T")


class InOrder(MutableSet[T]):
    """A set that is iterated from the oldest member to the newest, so that who came first is seen to first.

    Equal runs of a program go through it in equal ways. A set's order depends on where its members are in memory.
    """

    def __init__(self) -> None:
        self._members: dict[T, None] = {}

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[T]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: T) -> None:
        """Make it the newest, unless it is there."""
        self._members.setdefault(member)

    def discard(self, member: T) -> None:
        """Forget it, if it is there."""
        self._members.pop(member, None)
