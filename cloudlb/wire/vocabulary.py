"""The vocabulary of the wire: which class has which name there, and which attribute which field.

An attribute's field has its name in camelCase (``host_id``: ``hostId``) unless the registration says otherwise. A class
of another package joins with :func:`register`, as all of ours do below.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import fields

from cloudlb.wire import answers, cluster_commands, commands, host_commands, security_commands, startup
from cloudlb.wire.answers import UnsupportedAnswer
from cloudlb.wire.content import Answer, Command, Content, Fields, Opaque

_classes: dict[str, type[Command | Answer]] = {}
_names: dict[type[Content], str] = {}
_renames: dict[type[Fields], Mapping[str, str]] = {}


def register(class_: type[Command | Answer], name: str, /, **renames: str) -> None:
    """Have elements of a packet named ``name`` read as ``class_``, and the other way round.

    ``renames`` gives, by attribute, the fields whose names on the wire do not follow the rule; subclasses inherit them.

    Raises:
        ValueError: the name or the class is registered already, or a renamed attribute does not exist.
    """
    if name in _classes:
        raise ValueError(f"{name} is registered already, for {_classes[name].__qualname__}")
    if class_ in _names:
        raise ValueError(f"{class_.__qualname__} is registered already, as {_names[class_]}")
    rename(class_, **renames)
    _classes[name] = class_
    _names[class_] = name


def rename(class_: type[Fields], /, **renames: str) -> None:
    """Name the fields of a class that stands inside others where they do not follow the rule.

    Raises:
        ValueError: an attribute does not exist.
    """
    if unknown := renames.keys() - {attribute.name for attribute in fields(class_)}:
        raise ValueError(f"{class_.__qualname__} has no attribute {min(unknown)}")
    _renames[class_] = renames


def class_named(name: str) -> type[Command | Answer] | None:
    """The class registered under a wire name."""
    return _classes.get(name)


def command_names() -> list[str]:
    """The wire names of all registered commands, in order."""
    return sorted(name for name, class_ in _classes.items() if issubclass(class_, Command))


def wire_name(content: Command | Answer | Opaque) -> str:
    """The name of a command's or an answer's class on the wire.

    Raises:
        KeyError: its class is not registered.
    """
    return content.wire_name if isinstance(content, Opaque) else _names[type(content)]


def simple_name(name: str) -> str:
    """The name of a class without its package, as operators use it."""
    return name.rpartition(".")[2]


def field_names(class_: type[Fields]) -> Mapping[str, str]:
    """The field of each attribute; ``extra``, which is none of them, left out."""
    renames = {
        name: field for base in reversed(class_.__mro__) if base in _renames for name, field in _renames[base].items()
    }
    return {a.name: renames.get(a.name) or _camel(a.name) for a in fields(class_) if a.name != "extra"}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def unsupported(content: Command | Answer | Opaque) -> UnsupportedAnswer:
    """Say, in CloudStack's words, that a command is not known [Answer.createUnsupportedCommandAnswer]."""
    return UnsupportedAnswer(
        details=f"Unsupported command issued: {wire_name(content)}.  Are you sure you got the right type of server?"
    )


_API = "com.cloud.agent.api."

register(startup.StartupCommand, _API + "StartupCommand", host_type="type", host_id="id")
register(startup.StartupRoutingCommand, _API + "StartupRoutingCommand")
register(startup.StartupStorageCommand, _API + "StartupStorageCommand")
register(startup.StartupSecondaryStorageCommand, _API + "StartupSecondaryStorageCommand")
register(startup.StartupProxyCommand, _API + "StartupProxyCommand")

register(commands.ReadyCommand, _API + "ReadyCommand", details="_details")
register(commands.PingCommand, _API + "PingCommand")
register(
    commands.PingRoutingCommand,
    _API + "PingRoutingCommand",
    host_vm_state_report="_hostVmStateReport",
    gateway_accessible="_gatewayAccessible",
    vnet_accessible="_vnetAccessible",
)
register(commands.PingStorageCommand, _API + "PingStorageCommand")
register(commands.ShutdownCommand, _API + "ShutdownCommand")
register(commands.SetupMSListCommand, "org.apache.cloudstack.agent.lb.SetupMSListCommand")
register(commands.MigrateAgentConnectionCommand, _API + "MigrateAgentConnectionCommand")
register(commands.TransferAgentCommand, _API + "TransferAgentCommand")
register(commands.CancelCommand, _API + "CancelCommand")
register(commands.AgentControlCommand, _API + "AgentControlCommand")
register(commands.MaintainCommand, _API + "MaintainCommand")
register(commands.BadCommand, _API + "BadCommand")

register(host_commands.CheckHealthCommand, _API + "CheckHealthCommand")
register(host_commands.CheckOnHostCommand, _API + "CheckOnHostCommand")
register(
    host_commands.PingTestCommand,
    _API + "PingTestCommand",
    computing_host_ip="_computingHostIp",
    router_ip="_routerIp",
    private_ip="_privateIp",
)
register(host_commands.CheckNetworkCommand, _API + "CheckNetworkCommand")
register(host_commands.GetHostStatsCommand, _API + "GetHostStatsCommand")

register(security_commands.SetupKeyStoreCommand, "org.apache.cloudstack.ca.SetupKeyStoreCommand")
register(security_commands.SetupCertificateCommand, "org.apache.cloudstack.ca.SetupCertificateCommand")
register(
    security_commands.ConsoleAccessAuthenticationCommand,
    _API + "ConsoleAccessAuthenticationCommand",
    host="_host",
    port="_port",
    vm_id="_vmId",
    sid="_sid",
    ticket="_ticket",
    is_reauthenticating="_isReauthenticating",
)

register(Answer, _API + "Answer")
register(answers.StartupAnswer, _API + "StartupAnswer")
register(answers.ReadyAnswer, _API + "ReadyAnswer")
register(answers.PingAnswer, _API + "PingAnswer", command="_command")
register(answers.SetupMSListAnswer, "org.apache.cloudstack.agent.lb.SetupMSListAnswer")
register(answers.MigrateAgentConnectionAnswer, _API + "MigrateAgentConnectionAnswer")
register(answers.MaintainAnswer, _API + "MaintainAnswer")
register(answers.UnsupportedAnswer, _API + "UnsupportedAnswer")
register(answers.AgentControlAnswer, _API + "AgentControlAnswer")
register(
    answers.ConsoleAccessAuthenticationAnswer,
    _API + "ConsoleAccessAuthenticationAnswer",
    success="_success",
    is_reauthenticating="_isReauthenticating",
    host="_host",
    port="_port",
    tunnel_url="_tunnelUrl",
    tunnel_session="_tunnelSession",
)
register(answers.CheckHealthAnswer, _API + "CheckHealthAnswer")
register(answers.CheckOnHostAnswer, _API + "CheckOnHostAnswer")
register(answers.CheckNetworkAnswer, _API + "CheckNetworkAnswer", reconnect="_reconnect")
register(answers.GetHostStatsAnswer, _API + "GetHostStatsAnswer")
register(answers.SetupKeystoreAnswer, "org.apache.cloudstack.ca.SetupKeystoreAnswer")
register(answers.SetupCertificateAnswer, "org.apache.cloudstack.ca.SetupCertificateAnswer")
rename(
    answers.HostStats,
    network_read_kbs="networkReadKBs",
    network_write_kbs="networkWriteKBs",
    total_memory_kbs="totalMemoryKBs",
    free_memory_kbs="freeMemoryKBs",
)

_CLUSTER = "cloudlb.cluster."

register(cluster_commands.PeerCommand, _CLUSTER + "PeerCommand")
register(cluster_commands.PeerAnswer, _CLUSTER + "PeerAnswer")
register(cluster_commands.NoAnswer, _CLUSTER + "NoAnswer")
