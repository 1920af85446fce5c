"""The ordered list of servers that an agent holds: ``A,B,C@algorithm``.

The same text stands in the agent's ``host`` property and in ``msHostList`` of its StartupCommands
[CloudStack: IndirectAgentLBServiceImpl, AgentShell].
"""

from __future__ import annotations

from attrs import frozen

from cloudlb.domain.addresses import InvalidAddress, normalize_address


class InvalidHostList(ValueError):
    """A list of servers is empty, or has a malformed or repeated address."""


MAX_ADDRESSES = 256
"""Servers of one list; clusters have a handful."""


@frozen
class HostList:
    """Addresses in the order in which an agent tries them, and the algorithm's name that made the order."""

    addresses: tuple[str, ...]
    algorithm: str = ""
    """Empty where the agent was set up by hand and never got a list from a server."""

    @classmethod
    def parse(cls, text: str) -> HostList:
        """Read ``A,B,C`` or ``A,B,C@algorithm``. Any name of an algorithm is taken: the server decides which exist.

        Raises:
            InvalidHostList: the message names the offending address.
        """
        addresses, _, algorithm = text.partition("@")
        return cls(parse_addresses(addresses), algorithm.strip())

    def __str__(self) -> str:
        """The property's text; :meth:`parse` reads it back."""
        joined = ",".join(self.addresses)
        return f"{joined}@{self.algorithm}" if self.algorithm else joined

    @property
    def preferred(self) -> str:
        """The head of the list: the server that the agent should be on."""
        return self.addresses[0]


def parse_addresses(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of addresses into normalized ones.

    Raises:
        InvalidHostList: empty list, empty element, malformed or repeated address.
    """
    if not text.strip():
        raise InvalidHostList("the list of servers is empty")
    # Counted before anything is looked at: the text may be a stranger's.
    if text.count(",") >= MAX_ADDRESSES:
        raise InvalidHostList(f"the list has more than {MAX_ADDRESSES} servers")
    # In order, each once.
    addresses: dict[str, None] = {}
    for position, part in enumerate(text.split(","), start=1):
        if not part.strip():
            raise InvalidHostList(f"address {position} of the list is empty")
        try:
            address = normalize_address(part)
        except InvalidAddress as error:
            raise InvalidHostList(f"address {position}: {error}") from error
        if address in addresses:
            raise InvalidHostList(f"{address} stands twice in the list")
        addresses[address] = None
    return tuple(addresses)
