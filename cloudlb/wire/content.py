"""What a packet carries: the base classes of commands and answers, and the value of a class that nobody modelled.

Values only. Their names on the wire are in :mod:`cloudlb.wire.vocabulary`, their JSON in
:mod:`cloudlb.wire.converter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field

if TYPE_CHECKING:
    from attrs import frozen
else:
    # Frozen for the type checker, who guards it at no cost. At run time it would be a sixth of the time that reading a
    # ping and writing its answer take.
    from attrs import define as frozen

__all__ = [
    "COMMAND_ID",
    "LOGGING_CONTEXT",
    "NOTHING",
    "Answer",
    "Command",
    "Content",
    "Fields",
    "Opaque",
    "context_of",
    "frozen",
]

COMMAND_ID = "cloudlb.id"
"""The key of a context map under which a command that changes something has its id. An agent of ours carries out an id
once, keeps its answer, and answers the same id again with that."""
LOGGING_CONTEXT = "logid"
"""CloudStack's key in the context map for what joins the log lines of one call [AgentManagerImpl.tagCommand]; its logs
show it as ``(logid:...)``."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""The empty mapping that all values share as a default."""


@frozen(kw_only=True)
class Fields:
    """Anything that is a JSON object with known fields on the wire. ``None`` means unset, and is not written."""

    extra: Mapping[str, Any] = field(default=NOTHING, repr=False)
    """Fields that we do not know, as they came, by their wire names. Not in the repr: they may hold secrets."""


@frozen(kw_only=True)
class Content(Fields):
    """One element of a packet's body [Command]."""

    context_map: Mapping[str, str] = NOTHING
    """The sender's logging context, such as ``logid``."""
    wait: int = 0
    """Seconds that the sender waits for the answer; 0: its default."""
    bypass_host_maintenance: bool = False
    """Whether the command also goes to a host in maintenance."""


@frozen(kw_only=True)
class Command(Content):
    """What one side asks of the other [Command]."""


@frozen(kw_only=True)
class Answer(Content):
    """What comes back for one command, and by itself the plain answer [Answer]."""

    result: bool = True
    """Whether the command succeeded."""
    details: str | None = None
    """The reason of a failure, or a remark."""


@frozen
class Opaque:
    """A command or an answer as it came: of a class that is not registered, or not looked into."""

    wire_name: str
    """The sender's class, such as ``com.cloud.agent.api.StartCommand``."""
    fields: Mapping[str, Any] = field(repr=False)
    """Not in the repr: they may hold secrets."""


def context_of(content: Content | Opaque) -> Mapping[str, Any]:
    """The context map; an empty one where an Opaque has something else in its place."""
    context = content.fields.get("contextMap") if isinstance(content, Opaque) else content.context_map
    return context if isinstance(context, Mapping) else NOTHING
