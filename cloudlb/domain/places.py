"""What operators say of zones, pods and clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from cloudlb.domain.models import Cluster, Pod, Zone

ENABLED = "Enabled"
DISABLED = "Disabled"

Place: TypeAlias = Zone | Pod | Cluster


@frozen(kw_only=True)
class PlaceDetails:
    """What is kept of a zone, pod or cluster for whoever places VMs; nothing in here goes by it."""

    allocation_state: str = ENABLED
    """``Enabled``, or ``Disabled`` for nothing new to be placed there."""
    network: Mapping[str, Any] = field(factory=dict)
    """What was said of the network of a zone or pod, by CloudStack's names; texts and truths."""


class StillInUse(Exception):
    """Something is in the way of a removal or a new name; the message says what."""
