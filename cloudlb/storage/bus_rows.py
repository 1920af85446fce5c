"""Messages of the bus, in a table.

A message's number is given when it is written and its transaction holds the only write lock, so numbers appear in
the order of commits and a reader that has seen one never misses a lower one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from cloudlb.domain.models import Message
from cloudlb.storage.schema import bus_message

_PUBLISH = insert(bus_message)
_AFTER = (
    select(bus_message.c.sequence, bus_message.c.topic, bus_message.c.payload)
    .where(bus_message.c.sequence > bindparam("seen"))
    .order_by(bus_message.c.sequence)
    .limit(bindparam("most"))
)
_LAST = select(func.max(bus_message.c.sequence))
_PRUNE = delete(bus_message).where(bus_message.c.created < bindparam("before"))


class BusTable:
    """Implements the port ``BusRows``."""

    def __init__(self, connection: Connection) -> None:
        self.published = False
        """Whether the transaction has messages for the bus."""
        self._connection = connection

    def publish(self, topic: str, payload: Mapping[str, Any], now: float) -> None:
        """Add a message."""
        self._connection.execute(_PUBLISH, {"topic": topic, "payload": dict(payload), "created": now})
        self.published = True

    def after(self, sequence: int, limit: int) -> Sequence[Message]:
        """Messages that came after one."""
        rows = self._connection.execute(_AFTER, {"seen": sequence, "most": limit})
        return [Message(sequence=number, topic=topic, payload=payload) for number, topic, payload in rows]

    def last_sequence(self) -> int:
        """The number of the newest message that is kept."""
        return self._connection.scalar(_LAST) or 0

    def prune(self, before: float) -> None:
        """Drop old messages."""
        self._connection.execute(_PRUNE, {"before": before})
