"""What the loss of a host's agent leads to: the table by which every disconnect is decided.

cause                                 asked?  verdict      agent heard?  event
------------------------------------  ------  -----------  ------------  ---------------------------------------
PingTimeout                           yes     any          yes           Ping: stays Up, the link stays open
PingTimeout                           yes     Up, Unknown  no            PingTimeout: link closed, Disconnected
PingTimeout                           yes     Down         no            HostDown: link closed, Down
AgentDisconnected                     yes     Up, Unknown  -             AgentDisconnected: Disconnected
AgentDisconnected                     yes     Down         -             AgentDisconnected at once, then HostDown
either, in a state that is left alone no      -            -             PingTimeout or AgentDisconnected: Disconnected
ShutdownRequested                     no      -            -             ShutdownRequested: Disconnected
ManagementServerDown                  no      -            -             ManagementServerDown: Disconnected
AgentTransferred                      no      -            -             none: unchanged

A host that is Rebalancing knows no loss but RebalanceFailed, which is written before what the table says. The link of
an agent that was asked to break it (cloudlb.agents.departures) ends by AgentDisconnected, and leaves the host
Rebalancing, until its agent is given up.

While a host that was lost (UNANNOUNCED) stays Disconnected, and its state is not left alone, it is asked about again
and again: Down leads to HostDown, anything else to nothing.
"""

from __future__ import annotations

from attrs import frozen

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.records import Verdict
from cloudlb.domain.resource_state import ResourceState

LEFT_ALONE = frozenset(
    {
        ResourceState.DISABLED,
        ResourceState.MAINTENANCE,
        ResourceState.ERROR_IN_MAINTENANCE,
        ResourceState.DEGRADED,
        ResourceState.ERROR,
        ResourceState.UNMANAGED,
    }
)
"""States in which nobody asks whether a lost host lives: its operator has taken it out of service. The first three are
CloudStack's [AgentManagerImpl.MonitorTask]."""

UNANNOUNCED = frozenset(
    {
        HostEvent.PING_TIMEOUT,
        HostEvent.AGENT_DISCONNECTED,
        HostEvent.MANAGEMENT_SERVER_DOWN,
        HostEvent.REBALANCE_FAILED,
    }
)
"""What takes a host's agent away without anybody's request. Whether such a host lives is worth asking until it is known
to be down or its agent is back."""


@frozen
class FirstStep:
    """What is done at once."""

    event: HostEvent | None
    """What is written; None: nothing yet, or nothing at all."""
    investigate: bool


def first_step(cause: HostEvent, state: ResourceState) -> FirstStep:
    """Decide on what is done before anything is known of the host.

    Args:
        cause: PING_TIMEOUT, AGENT_DISCONNECTED, SHUTDOWN_REQUESTED, MANAGEMENT_SERVER_DOWN or AGENT_TRANSFERRED.
        state: the host's.
    """
    match cause:
        case HostEvent.PING_TIMEOUT | HostEvent.AGENT_DISCONNECTED if state in LEFT_ALONE:
            return FirstStep(cause, investigate=False)
        case HostEvent.PING_TIMEOUT:
            return FirstStep(None, investigate=True)
        case HostEvent.AGENT_DISCONNECTED:
            return FirstStep(HostEvent.AGENT_DISCONNECTED, investigate=True)
        case HostEvent.SHUTDOWN_REQUESTED | HostEvent.MANAGEMENT_SERVER_DOWN:
            return FirstStep(cause, investigate=False)
        case HostEvent.AGENT_TRANSFERRED:
            return FirstStep(None, investigate=False)
        case _:
            raise ValueError(f"no host is lost by {cause.value}")


def conclusion(cause: HostEvent, verdict: Verdict, *, heard: bool) -> HostEvent:
    """Decide on what an investigation leads to; PING: the agent keeps its link.

    Args:
        cause: PING_TIMEOUT or AGENT_DISCONNECTED, whichever was investigated.
        verdict: what came out.
        heard: the agent itself has said something on its link meanwhile, which no verdict can deny.
    """
    if cause is HostEvent.PING_TIMEOUT and heard:
        return HostEvent.PING
    return HostEvent.HOST_DOWN if verdict is Verdict.DOWN else cause
