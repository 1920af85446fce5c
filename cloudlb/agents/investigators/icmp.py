"""The host's machine is pinged from the management server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from cloudlb.agents.investigation import Case, Investigator
from cloudlb.domain.records import Verdict
from cloudlb.net.icmp import NotPermitted

PATIENCE = 3.0
"""Seconds until there is no answer: three requests."""

Echo = Callable[[str, float], Awaitable[float | None]]
"""Sends echo requests to an address for some seconds; see :meth:`cloudlb.net.icmp.Icmp.echo`."""


class IcmpInvestigator(Investigator):
    """Up is whose machine answers. No answer says nothing: firewalls drop echoes, and networks fail."""

    def __init__(self, echo: Echo) -> None:
        self._echo = echo

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """See :class:`Investigator`."""
        address = case.host.facts.ip_address
        if (problem := unfit(address)) is not None:
            return Verdict.UNKNOWN, problem
        try:
            seconds = await self._echo(address, min(PATIENCE, case.seconds))
        except (NotPermitted, OSError) as error:
            return Verdict.UNKNOWN, str(error)
        if seconds is None:
            return Verdict.UNKNOWN, f"{address} does not answer ICMP echo requests"
        return Verdict.UP, f"{address} answers ICMP echo requests, after {1000 * seconds:.1f} ms"


def unfit(address: str) -> str | None:
    """Why an echo from an address would say nothing of the host that has given it as its own; None: it would."""
    if not address:
        return "the host's address is not known"
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"{address!r} is no IP address"
    if parsed.is_loopback:
        # Whoever sends there hears himself.
        return f"{address} is an address that every machine has"
    if parsed.is_unspecified or parsed.is_multicast or str(parsed) == "255.255.255.255":
        return f"{address} is not the address of one machine"
    return None
