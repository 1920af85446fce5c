"""What an operator lets a host do, what changes that, and which commands it leaves possible.

The table is CloudStack's [com.cloud.resource.ResourceState], with two additions: a Disabled host may go into
maintenance, and Unmanaged, in CloudStack the state of a cluster, is a host's: its resource is left alone altogether.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias


class ResourceState(Enum):
    """What an operator lets a host do [com.cloud.resource.ResourceState]."""

    CREATING = "Creating"
    ENABLED = "Enabled"
    DISABLED = "Disabled"
    """Nothing new is placed here; what runs goes on."""
    PREPARE_FOR_MAINTENANCE = "PrepareForMaintenance"
    ERROR_IN_PREPARE_FOR_MAINTENANCE = "ErrorInPrepareForMaintenance"
    ERROR_IN_MAINTENANCE = "ErrorInMaintenance"
    MAINTENANCE = "Maintenance"
    ERROR = "Error"
    DEGRADED = "Degraded"
    """An operator declared that it cannot be relied on."""
    UNMANAGED = "Unmanaged"
    """Its resource gets no command at all."""


class ResourceEvent(Enum):
    """What is done to a host [com.cloud.resource.ResourceState.Event]."""

    INTERNAL_CREATED = "InternalCreated"
    """Its agent was admitted."""
    ENABLE = "Enable"
    DISABLE = "Disable"
    ADMIN_ASK_MAINTENANCE = "AdminAskMaintenance"
    ADMIN_CANCEL_MAINTENANCE = "AdminCancelMaintenance"
    INTERNAL_ENTER_MAINTENANCE = "InternalEnterMaintenance"
    """No VM is left on it."""
    UNABLE_TO_MIGRATE = "UnableToMigrate"
    UNABLE_TO_MAINTAIN = "UnableToMaintain"
    ERRORS_CORRECTED = "ErrorsCorrected"
    ERROR = "Error"
    DECLARE_HOST_DEGRADED = "DeclareHostDegraded"
    ENABLE_DEGRADED_HOST = "EnableDegradedHost"
    DELETE_HOST = "DeleteHost"
    UNMANAGE = "Unmanage"
    MANAGE = "Manage"


ResourceTable: TypeAlias = Mapping[tuple[ResourceState, ResourceEvent], ResourceState]


def _table() -> ResourceTable:
    s, e = ResourceState, ResourceEvent
    rows: dict[ResourceState, dict[ResourceEvent, ResourceState]] = {
        s.CREATING: {e.INTERNAL_CREATED: s.ENABLED, e.ERROR: s.ERROR, e.DELETE_HOST: s.DISABLED},
        s.ENABLED: {
            e.ENABLE: s.ENABLED,
            e.DISABLE: s.DISABLED,
            e.ADMIN_ASK_MAINTENANCE: s.PREPARE_FOR_MAINTENANCE,
            e.INTERNAL_ENTER_MAINTENANCE: s.MAINTENANCE,
            e.DECLARE_HOST_DEGRADED: s.DEGRADED,
            e.DELETE_HOST: s.DISABLED,
            e.UNMANAGE: s.UNMANAGED,
        },
        s.DISABLED: {
            e.ENABLE: s.ENABLED,
            e.DISABLE: s.DISABLED,
            e.ADMIN_ASK_MAINTENANCE: s.PREPARE_FOR_MAINTENANCE,
            e.DECLARE_HOST_DEGRADED: s.DEGRADED,
            e.DELETE_HOST: s.DISABLED,
            e.UNMANAGE: s.UNMANAGED,
        },
        s.PREPARE_FOR_MAINTENANCE: {
            e.INTERNAL_ENTER_MAINTENANCE: s.MAINTENANCE,
            e.ADMIN_CANCEL_MAINTENANCE: s.ENABLED,
            e.UNABLE_TO_MIGRATE: s.ERROR_IN_PREPARE_FOR_MAINTENANCE,
            e.UNABLE_TO_MAINTAIN: s.ERROR_IN_MAINTENANCE,
        },
        s.ERROR_IN_PREPARE_FOR_MAINTENANCE: {
            e.DISABLE: s.DISABLED,
            e.INTERNAL_ENTER_MAINTENANCE: s.MAINTENANCE,
            e.ADMIN_CANCEL_MAINTENANCE: s.ENABLED,
            e.UNABLE_TO_MIGRATE: s.ERROR_IN_PREPARE_FOR_MAINTENANCE,
            e.UNABLE_TO_MAINTAIN: s.ERROR_IN_MAINTENANCE,
            e.ERRORS_CORRECTED: s.PREPARE_FOR_MAINTENANCE,
            e.DELETE_HOST: s.DISABLED,
        },
        s.ERROR_IN_MAINTENANCE: {
            e.ADMIN_ASK_MAINTENANCE: s.PREPARE_FOR_MAINTENANCE,
            e.DISABLE: s.DISABLED,
            e.ADMIN_CANCEL_MAINTENANCE: s.ENABLED,
            e.DELETE_HOST: s.DISABLED,
        },
        s.MAINTENANCE: {
            e.ADMIN_CANCEL_MAINTENANCE: s.ENABLED,
            e.DECLARE_HOST_DEGRADED: s.DEGRADED,
            e.DELETE_HOST: s.DISABLED,
        },
        s.DEGRADED: {
            e.ENABLE_DEGRADED_HOST: s.ENABLED,
            e.ADMIN_ASK_MAINTENANCE: s.MAINTENANCE,
            e.DELETE_HOST: s.DISABLED,
        },
        s.ERROR: {e.DELETE_HOST: s.DISABLED},
        s.UNMANAGED: {e.MANAGE: s.ENABLED, e.DELETE_HOST: s.DISABLED},
    }
    for state in s:
        if state is not s.CREATING:
            # An agent that comes back changes nothing of what its operator wants.
            rows[state][e.INTERNAL_CREATED] = state
    return {(state, event): after for state, row in rows.items() for event, after in row.items()}


RESOURCE_TABLE: ResourceTable = _table()
"""Where each event leads from each state; a pair that is missing is refused and changes nothing."""

IN_MAINTENANCE = frozenset(
    {
        ResourceState.MAINTENANCE,
        ResourceState.PREPARE_FOR_MAINTENANCE,
        ResourceState.ERROR_IN_MAINTENANCE,
        ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE,
    }
)
"""[ResourceState.isMaintenanceState]"""
