"""How often an address may give a wrong password; of IPv6, a network of 64 bits, which one machine has for itself."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

ALLOWED = 5
"""Wrong passwords from one address for one user before it has to wait."""
ALLOWED_IN_ALL = 20
"""The same for all users together: each costs the server a hash."""
FORGOTTEN_AFTER = 300.0
"""Seconds after the last wrong one."""
_MOST = 10_000


@frozen
class _Failures:
    number: int
    last: float


class Attempts:
    """Counts wrong passwords by address and user: an attacker who locks a user out does so for its own address only."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str | None], _Failures] = OrderedDict()

    def wait(self, address: str, username: str) -> float:
        """Seconds for which an address is to give no password of a user."""
        source = _source(address)
        return max(self._wait((source, username), ALLOWED), self._wait((source, None), ALLOWED_IN_ALL))

    def _wait(self, which: tuple[str, str | None], allowed: int) -> float:
        failures = self._failures.get(which)
        if failures is None or failures.number < allowed:
            return 0.0
        return max(0.0, failures.last + FORGOTTEN_AFTER - self._clock.seconds())

    def failed(self, address: str, username: str) -> None:
        """A wrong password was given."""
        source, now = _source(address), self._clock.seconds()
        for which in ((source, username), (source, None)):
            failures = self._failures.pop(which, None)
            if failures is None or now - failures.last > FORGOTTEN_AFTER:
                failures = _Failures(0, now)
            self._failures[which] = _Failures(failures.number + 1, now)
        while len(self._failures) > _MOST:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, username: str) -> None:
        """What was counted as wrong was right."""
        source = _source(address)
        self._failures.pop((source, username), None)
        if (in_all := self._failures.get((source, None))) is not None:
            self._failures[source, None] = evolve(in_all, number=in_all.number - 1)


def _source(address: str) -> str:
    """Whose address it is, as far as it tells."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped is not None else parsed.packed[:8].hex(":", 2)
