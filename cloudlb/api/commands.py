"""Every command of the API. A new topic is a module with COMMANDS and a name here."""

from __future__ import annotations

from cloudlb.api import (
    alerts,
    clusters,
    discovery,
    events,
    hosts,
    jobs,
    keys,
    login,
    maintenance,
    new_hosts,
    out_of_band,
    plan,
    pods,
    rebalance,
    send,
    server_states,
    servers,
    setting_groups,
    settings,
    users,
    zones,
)
from cloudlb.api.command import table_of

TOPICS = (
    zones,
    pods,
    clusters,
    hosts,
    new_hosts,
    maintenance,
    out_of_band,
    send,
    plan,
    rebalance,
    servers,
    server_states,
    settings,
    setting_groups,
    events,
    alerts,
    jobs,
    login,
    users,
    keys,
    discovery,
)
COMMANDS = table_of(command for topic in TOPICS for command in topic.COMMANDS)
