"""The investigators that come with the server."""

from __future__ import annotations

from collections.abc import Mapping

from cloudlb.agents.investigation import Investigator, Means
from cloudlb.agents.investigators.icmp import Echo, IcmpInvestigator
from cloudlb.agents.investigators.kvm import KVMInvestigator
from cloudlb.agents.investigators.ping import PingInvestigator
from cloudlb.agents.investigators.redfish import RedfishInvestigator
from cloudlb.agents.investigators.simple import SimpleInvestigator
from cloudlb.net.icmp import Icmp
from cloudlb.net.json_client import JsonClient


def built_in(means: Means, echo: Echo | None = None) -> Mapping[str, Investigator]:
    """All of them, by the names that ``ha.investigators.order`` has for them.

    Args:
        echo: how this machine sends ICMP echo requests; through the kernel if None.
    """
    return {
        "SimpleInvestigator": SimpleInvestigator(means),
        "IcmpInvestigator": IcmpInvestigator(echo or Icmp(means.reactor).echo),
        "PingInvestigator": PingInvestigator(means),
        "KVMInvestigator": KVMInvestigator(means),
        "RedfishInvestigator": RedfishInvestigator(means, JsonClient(means.reactor)),
    }
