"""`twistd cloudlb-agent`: the agent of a host."""

from twisted.application.service import ServiceMaker

cloudlb_agent = ServiceMaker(
    "cloudlb agent",
    "agent.tap",
    "The agent of a hypervisor host: keeps it on a management server of its list.",
    "cloudlb-agent",
)
