"""How long to make agents wait that come again without pause, because they are refused or do not stay.

The first times cost nothing: whoever mends a configuration tries a few times. Then each doubles the delay, up to
MAX_DELAY, and with time they are forgiven one by one. Keys are what strangers say of themselves (GUIDs) or show
(addresses): they are kept as digests, and no more than a fixed number of them, of which the one that was counted
longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from attrs import frozen

FREE = 3.0
"""Times without a delay."""
FIRST_DELAY = 1.0
"""Seconds of the first one."""
MAX_DELAY = 60.0
"""Seconds; CloudStack's agent waits 180 for an answer to its StartupCommand."""
FORGIVEN_AFTER = 60.0
"""Seconds until one time less counts."""
MAX_COUNT = FREE + 7
"""Times that count at most, one more than MAX_DELAY needs: ten minutes of quiet make up for any past."""
MAX_KEYS = 10_000


@frozen
class _Record:
    count: float
    """Times that counted at ``time``; they become fewer steadily."""
    time: float

    def count_at(self, now: float) -> float:
        # A clock that was set back forgives nothing.
        return max(0.0, self.count - max(0.0, now - self.time) / FORGIVEN_AFTER)


class Penalties:
    """Who came in vain how often. Every operation takes constant time, spread over many."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        """Prepare; ``max_keys`` are at least 1."""
        self._max_keys = max_keys
        # In the order of the last time. Not dict: finding its first key gets slow where many first keys went.
        self._records: OrderedDict[bytes, _Record] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._records)

    def count(self, key: str, now: float) -> None:
        """Count one time more, at a time in seconds."""
        digest = _digest(key)
        before = self._records.pop(digest, None)
        count = before.count_at(now) if before is not None else 0.0
        self._records[digest] = _Record(min(count + 1, MAX_COUNT), now)
        self._forget(now)

    def delay(self, key: str, now: float) -> float:
        """Seconds that the next answer to a key is to be held back; 0 for one that was not counted lately."""
        record = self._records.get(_digest(key))
        beyond = record.count_at(now) - FREE if record is not None else -1.0
        # The count that has just reached a whole one more has its full delay; time makes it shorter, steadily.
        return 0.0 if beyond <= 0 else min(MAX_DELAY, FIRST_DELAY * 2.0 ** (beyond - 1))

    def _forget(self, now: float) -> None:
        """Drop whom nothing is held against any more, and whoever is too many."""
        while self._records:
            oldest = next(iter(self._records))
            if len(self._records) <= self._max_keys and self._records[oldest].count_at(now) > 0:
                break
            del self._records[oldest]


def _digest(key: str) -> bytes:
    """As long for a GUID of a megabyte as for any other; what is no Unicode is a key as well."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
