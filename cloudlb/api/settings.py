"""Settings, which CloudStack's API calls configurations."""

from __future__ import annotations

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, has_keyword, listing, single
from cloudlb.api.errors import invalid_parameter
from cloudlb.api.places import find_cluster
from cloudlb.api.schema import Key, optional, required, shown
from cloudlb.api.setting_groups import subgroup_of
from cloudlb.domain.models import Cluster
from cloudlb.domain.ports import Transaction
from cloudlb.domain.settings import SETTINGS, InvalidSetting, Setting, setting_named
from cloudlb.domain.settings_in_force import Settings

VALUE_LENGTH = 4096
"""Room for a long list of servers; CloudStack's length of the same parameter [UpdateCfgCmd]."""
_ELSEWHERE = "a scope of CloudStack's that no setting has here: refused"


@frozen(kw_only=True)
class ConfigurationAnswer:
    """A setting and its value."""

    name: str | None = shown("the name of the configuration")
    value: str | None = shown("the value of the configuration")
    defaultvalue: str | None = shown("the default value of the configuration")
    scope: str | None = shown("scope of the configuration: where it can be set, or for what the value was asked")
    id: str | None = shown("the id of what the value was asked for")
    category: str | None = shown("the category of the configuration")
    description: str | None = shown("the description of the configuration")
    type: str | None = shown("the type of the configuration value")
    options: str | None = shown("the possible options of the configuration value")
    isdynamic: bool | None = shown("true if the configuration is dynamic")
    group: str | None = shown("the group of the configuration")
    subgroup: str | None = shown("the subgroup of the configuration")
    displaytext: str | None = shown("the display text of the configuration")
    extension: bool | None = shown("true if CloudStack has no such configuration", extension=True)


@frozen(kw_only=True, slots=False)  # no slots: it is mixed into arguments that have some
class ScopeArguments:
    """For what a setting is listed, set or reset. A scope that is not ours must not silently become global."""

    clusterid: Key | None = optional("the ID of the cluster", related="listClusters")
    zoneid: Key | None = optional(_ELSEWHERE)
    storageid: Key | None = optional(_ELSEWHERE)
    domainid: Key | None = optional(_ELSEWHERE)
    accountid: Key | None = optional(_ELSEWHERE)
    imagestoreid: Key | None = optional(_ELSEWHERE)
    imagestoreuuid: Key | None = optional(_ELSEWHERE)
    managementserverid: Key | None = optional(_ELSEWHERE)


_FOREIGN_SCOPES = (
    "zoneid",
    "storageid",
    "domainid",
    "accountid",
    "imagestoreid",
    "imagestoreuuid",
    "managementserverid",
)


def _find_scope(txn: Transaction, arguments: ScopeArguments) -> Cluster | None:
    return find_cluster(txn, arguments.clusterid) if arguments.clusterid is not None else None


def _refuse_foreign(arguments: ScopeArguments) -> None:
    for name in _FOREIGN_SCOPES:
        if getattr(arguments, name) is not None:
            raise invalid_parameter(name, "settings are global or of a cluster")


def _show(setting: Setting, settings: Settings, cluster: Cluster | None) -> ConfigurationAnswer:
    subgroup = subgroup_of(setting.name)
    scopes = "cluster" if cluster else ",".join(scope.value.lower() for scope in setting.scopes)
    return ConfigurationAnswer(
        name=setting.name,
        value=settings.value(setting.name, cluster.id if cluster else None),
        defaultvalue=setting.default,
        scope=scopes,
        id=cluster.uuid if cluster else None,
        category=setting.category,
        description=setting.description,
        type=setting.type,
        options=",".join(setting.options) or None,
        isdynamic=True,
        group=subgroup.group,
        subgroup=subgroup.name,
        displaytext=setting.name.replace(".", " ").capitalize(),
        extension=setting.extension,
    )


@frozen(kw_only=True)
class ListConfigurations(ListArguments, ScopeArguments):
    """Which settings."""

    name: str | None = optional("lists configuration by name")
    category: str | None = optional("lists configurations by category")
    group: str | None = optional("lists configuration by group name")
    subgroup: str | None = optional("lists configuration by subgroup name")
    parent: str | None = optional("lists configuration by parent name; here none has a parent")


async def _list_configurations(call: Call, arguments: ListConfigurations) -> Body:
    _refuse_foreign(arguments)

    # From the database, not from this server's snapshot, so that a value just set on another server is seen.
    def work(txn: Transaction) -> Body:
        cluster = _find_scope(txn, arguments)
        settings = txn.settings.load()
        rows = [
            _show(setting, settings, cluster)
            for setting in SETTINGS.values()
            if arguments.name in (None, setting.name)
            and (arguments.category is None or arguments.category.lower() == setting.category.lower())
            and arguments.group in (None, subgroup_of(setting.name).group)
            and arguments.subgroup in (None, subgroup_of(setting.name).name)
            and arguments.parent is None
            and (cluster is None or setting.cluster_scope)
            and has_keyword(setting.name, arguments)
        ]
        return listing("configuration", rows, arguments)

    return await call.store.read(work)


@frozen(kw_only=True)
class UpdateConfiguration(ScopeArguments):
    """A setting's new value."""

    name: str = required("the name of the configuration")
    value: str | None = optional("the value of the configuration; without it nothing changes", length=VALUE_LENGTH)
    forced: bool | None = optional(
        "set `host` also to a list of which no address belongs to a live server", extension=True
    )


async def _update_configuration(call: Call, arguments: UpdateConfiguration) -> Body:
    _refuse_foreign(arguments)
    cluster = await call.store.read(lambda txn: _find_scope(txn, arguments))
    try:
        setting_named(arguments.name)
        if arguments.value is not None:
            await call.context.settings.change(
                arguments.name,
                arguments.value,
                cluster.id if cluster else None,
                forced=bool(arguments.forced),
                account_id=call.account.id,
            )
    except InvalidSetting as error:
        raise _refused(arguments.name, "value", error) from error
    return await _one(call, arguments.name, cluster)


@frozen(kw_only=True)
class ResetConfiguration(ScopeArguments):
    """Which setting."""

    name: str = required("the name of the configuration")


async def _reset_configuration(call: Call, arguments: ResetConfiguration) -> Body:
    _refuse_foreign(arguments)
    cluster = await call.store.read(lambda txn: _find_scope(txn, arguments))
    try:
        await call.context.settings.reset(arguments.name, cluster.id if cluster else None, call.account.id)
    except InvalidSetting as error:
        raise _refused(arguments.name, "name", error) from error
    return await _one(call, arguments.name, cluster)


def _refused(name: str, parameter: str, error: InvalidSetting) -> Exception:
    return invalid_parameter(parameter if name in SETTINGS else "name", str(error))


async def _one(call: Call, name: str, cluster: Cluster | None) -> Body:
    settings = await call.store.read(lambda txn: txn.settings.load())
    return single("configuration", _show(setting_named(name), settings, cluster))


COMMANDS = (
    Command(
        name="listConfigurations",
        description="Lists all configurations.",
        arguments=ListConfigurations,
        answer=ConfigurationAnswer,
        run=_list_configurations,
    ),
    Command(
        name="updateConfiguration",
        description="Updates a configuration, live on every server.",
        arguments=UpdateConfiguration,
        answer=ConfigurationAnswer,
        run=_update_configuration,
    ),
    Command(
        name="resetConfiguration",
        description="Resets a configuration to its default, or for a cluster to the global value.",
        arguments=ResetConfiguration,
        answer=ConfigurationAnswer,
        run=_reset_configuration,
    ),
)
