"""`twistd cloudlb-mgmt`: a management server."""

from twisted.application.service import ServiceMaker

cloudlb_mgmt = ServiceMaker(
    "cloudlb management server",
    "cloudlb.tap",
    "A management server of a cloud: agents and their lists of servers, and the API.",
    "cloudlb-mgmt",
)
