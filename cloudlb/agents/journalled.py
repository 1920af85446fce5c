"""Which commands change something on a host, and are therefore journalled.

A journalled command carries an id in its context map. An agent of ours carries out an id once, keeps its answer, and
tells it when it has a link again.

The rule goes by names, because it must hold for commands that nobody here has modelled: every command is journalled,
except

* queries, whose names begin with one of ``QUERIES`` as a word of its own: to ask again costs nothing;
* what keeps agent and server together (``LINK``, and all of ``Startup`` and ``AgentControl``): it is about this link
  and means nothing after it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cloudlb.wire import simple_name

QUERIES = (
    "Check",
    "Compute",
    "Describe",
    "Find",
    "Get",
    "Has",
    "Is",
    "List",
    "Ping",
    "Query",
    "Read",
    "Reconcile",
    "Search",
    "Validate",
    "Verify",
    "Watch",
)
LINK = frozenset(
    {
        "BadCommand",
        "CancelCommand",
        "MigrateAgentConnectionCommand",
        "PeerCommand",
        "ReadyCommand",
        "SetupMSListCommand",
        "ShutdownCommand",
        "TransferAgentCommand",
    }
)
CHANGES = frozenset({"CheckAndRepairVolumeCommand"})
"""Named like queries, and none."""
_QUERY = re.compile(rf"(?:{'|'.join(QUERIES)}|Startup|AgentControl)(?![a-z])")


@lru_cache(maxsize=1024)
def is_journalled(name: str) -> bool:
    """Whether a command of this class is journalled.

    Args:
        name: of the class on the wire, with its package or without.
    """
    simple = simple_name(name)
    return simple in CHANGES or (simple not in LINK and _QUERY.match(simple) is None)
