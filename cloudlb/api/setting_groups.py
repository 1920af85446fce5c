"""The groups in which CloudStack's dashboard shows settings, as far as we have any of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, listing
from cloudlb.api.schema import Long, as_answer, optional, shown


@frozen
class Subgroup:
    """Some settings of a group."""

    group: str
    name: str
    precedence: int
    """Among the subgroups of the group; CloudStack's, with gaps for those that have no setting here."""
    prefixes: tuple[str, ...]
    """How the names of its settings begin."""


_GROUPS = {"Compute": 2, "Management Server": 6, "Miscellaneous": 999}
"""By name, CloudStack's precedence."""
_OTHERS = Subgroup("Miscellaneous", "Others", 999, ())
_OF_AGENTS = ("host", "agent.", "indirect.agent.", "direct.agent.", "ping.", "wait", "commands.")
SUBGROUPS = (
    Subgroup("Compute", "High Availability", 3, ("ha.", "investigate.")),
    Subgroup("Management Server", "Alerts", 2, ("alert.",)),
    Subgroup("Management Server", "Events", 3, ("event.",)),
    Subgroup("Management Server", "Limits", 6, ("cluster.heartbeat.", "management.server.")),
    Subgroup("Management Server", "Agent", 8, _OF_AGENTS),
    Subgroup("Miscellaneous", "Certificate Authority", 2, ("ca.",)),
    _OTHERS,
)
"""In CloudStack's order."""


def subgroup_of(setting: str) -> Subgroup:
    """Where the setting of a name is shown."""
    return next((subgroup for subgroup in SUBGROUPS if setting.startswith(subgroup.prefixes)), _OTHERS)


@frozen(kw_only=True)
class SubgroupAnswer:
    """A part of a group."""

    name: str | None = shown("the name of the configuration subgroup")
    precedence: Long | None = shown("the precedence of the configuration subgroup")


@frozen(kw_only=True)
class GroupAnswer:
    """A group."""

    name: str | None = shown("the name of the configuration group")
    subgroup: list[dict[str, Any]] | None = shown("the subgroups of the configuration group: name and precedence")
    description: str | None = shown("the description of the configuration group")
    precedence: Long | None = shown("the precedence of the configuration group")


@frozen(kw_only=True)
class ListGroups(ListArguments):
    """Which groups."""

    group: str | None = optional("lists configuration group by group name")


async def _list(_: Call, arguments: ListGroups) -> Body:
    return listing("configurationgroup", list(_groups(arguments)), arguments)


def _groups(arguments: ListGroups) -> Iterator[GroupAnswer]:
    for name, precedence in _GROUPS.items():
        if arguments.group in (None, name) and (arguments.keyword or "").lower() in name.lower():
            yield GroupAnswer(
                name=name,
                subgroup=[
                    as_answer(SubgroupAnswer(name=each.name, precedence=Long(each.precedence)))
                    for each in SUBGROUPS
                    if each.group == name
                ],
                description=f"{name} configuration",
                precedence=Long(precedence),
            )


COMMANDS = (
    Command(
        name="listConfigurationGroups",
        description="Lists all configuration groups (primarily used for UI).",
        arguments=ListGroups,
        answer=GroupAnswer,
        run=_list,
    ),
)
