"""Messages of the bus, in a table.

A reader that has seen a number never looks for a lower one again, so numbers must appear in the order of commits. In
SQLite they do: they are given under the only write lock. In PostgreSQL a transaction takes its numbers under an
advisory lock that it holds until it has ended, when others see what it has committed; so nobody takes a higher number
before the lower ones are to be seen, or never will be. A transaction's messages are written at its very end: the lock
is the last one that it takes, which closes no circle of waiting, and is held for one insertion and the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text

from cloudlb.domain.models import Message
from cloudlb.storage.schema import bus_message

CHANNEL = "cloudlb_bus"
"""PostgreSQL's channel on which each commit with messages is told of."""

_PUBLISH = insert(bus_message)
# "cloudlb" and a number. The notification is sent with the commit.
_TAKE_TURN = text(f"SELECT pg_advisory_xact_lock({0x636C6F75646C6202}), pg_notify('{CHANNEL}', '')")
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
        self._connection = connection
        self._messages: list[Mapping[str, Any]] = []

    @property
    def published(self) -> bool:
        """Whether the transaction has messages for the bus."""
        return bool(self._messages)

    def publish(self, topic: str, payload: Mapping[str, Any], now: float) -> None:
        """Add a message."""
        self._messages.append({"topic": topic, "payload": dict(payload), "created": now})

    def flush(self) -> None:
        """Write the messages; nothing but the commit may follow."""
        if not self._messages:
            return
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(_TAKE_TURN)
        self._connection.execute(_PUBLISH, self._messages)

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
