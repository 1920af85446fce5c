"""Which commands a host takes in which resource state.

| state | takes |
| --- | --- |
| Enabled | everything |
| Creating, Disabled, Degraded, Error | all but what needs new resources: what runs there goes on, nothing is added |
| the four states of maintenance | what CloudStack lets through there, and commands that bypass maintenance |
| Unmanaged | nothing, not even what bypasses maintenance |

CloudStack's agent manager knows the rule of maintenance alone; there it is the allocators that spare the others.
What server and agent have to say to each other (ReadyCommand, the lists, ShutdownCommand) is said in every state: it
concerns the agent, not the resource.
"""

from __future__ import annotations

from cloudlb.domain.resource_state import IN_MAINTENANCE, ResourceState

IN_MAINTENANCE_ALLOWED = frozenset(
    {
        "CheckHealthCommand",
        "CheckNetworkCommand",
        "CheckOnHostCommand",
        "CheckVirtualMachineCommand",
        "CleanupNetworkRulesCmd",
        "CleanupPersistentNetworkResourceCommand",
        "CreateStoragePoolCommand",
        "DeleteStoragePoolCommand",
        "HandleConfigDriveIsoCommand",
        "MaintainCommand",
        "MigrateCommand",
        "ModifySshKeysCommand",
        "ModifyStoragePoolCommand",
        "ModifyTargetsCommand",
        "PingTestCommand",
        "PvlanSetupCommand",
        "ReadyCommand",
        "RollingMaintenanceCommand",
        "SetupCommand",
        "SetupMSListCommand",
        "ShutdownCommand",
        "StopCommand",
    }
)
"""[AgentAttache.s_commandsAllowedInMaintenanceMode]"""

NEEDS_NEW_RESOURCES = frozenset(
    {
        "CreateCommand",
        "CreateObjectCommand",
        "MigrateWithStorageReceiveCommand",
        "PrepareForMigrationCommand",
        "PrimaryStorageDownloadCommand",
        "ScaleVmCommand",
        "StartCommand",
    }
)
"""What takes CPU, memory or space of the host that is not taken yet: a VM that starts here, arrives here or grows, a
volume or a template that is made here. Not among them is what serves a VM that runs here already, such as a volume that
is attached to it, and what only leaves: a migration to another host, a snapshot, a stop."""

_TAKES_NOTHING_NEW = frozenset(
    {ResourceState.CREATING, ResourceState.DISABLED, ResourceState.DEGRADED, ResourceState.ERROR}
)


def refusal(command_name: str, state: ResourceState, bypass: bool) -> str | None:
    """Why a host in a resource state does not take a command; None: it does.

    Args:
        command_name: the command's class, with its package or without.
        state: the host's.
        bypass: whether the command bypasses maintenance [Command.isBypassHostMaintenance].
    """
    name = command_name.rpartition(".")[2]
    if state is ResourceState.UNMANAGED:
        return f"{name} is not sent: the host is Unmanaged and takes no command at all"
    if state in IN_MAINTENANCE and name not in IN_MAINTENANCE_ALLOWED and not bypass:
        return f"{name} is not sent: the host is in {state.value}, which does not allow it"
    if state in _TAKES_NOTHING_NEW and name in NEEDS_NEW_RESOURCES:
        return f"{name} is not sent: it needs new resources of the host, which is {state.value}"
    return None
