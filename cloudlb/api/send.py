"""A command for a host, sent from outside: our extension, CloudStack's API has nothing like it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import orjson
from attrs import frozen

from cloudlb.agents.command_orders import Order, ServerBusy, TooManyJobs
from cloudlb.agents.sender import MAX_TIMEOUT
from cloudlb.api.command import Body, Call, Command, started
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter
from cloudlb.api.schema import Key, optional, required, shown
from cloudlb.domain.ports import AmbiguousName, KeyTaken, NotFound
from cloudlb.wire import (
    AgentControlCommand,
    BodyError,
    MigrateAgentConnectionCommand,
    Opaque,
    PingCommand,
    ReadyCommand,
    SetupMSListCommand,
    ShutdownCommand,
    StartupCommand,
    TransferAgentCommand,
    class_named,
    command_names,
    read_content,
)
from cloudlb.wire import Command as WireCommand

MAX_ARGUMENTS = 65_536
"""Characters."""
_CLASS = re.compile(r"[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)+", re.ASCII)
_NOT_FOR_SENDING = (
    AgentControlCommand,
    MigrateAgentConnectionCommand,
    PingCommand,
    ReadyCommand,
    SetupMSListCommand,
    ShutdownCommand,
    StartupCommand,
    TransferAgentCommand,
)
"""What agents send, and what keeps an agent and its server together: the server sends these itself, and keeps count."""


@frozen(kw_only=True)
class SendCommand:
    """Which command, and to which host."""

    hostid: Key = required("the id, uuid or name of the host", related="listHosts")
    name: str = required("the class of the command: its simple name, such as CheckHealthCommand, or all of it")
    arguments: str | None = optional("the command's fields, a JSON object as on the wire", length=MAX_ARGUMENTS)
    timeout: int | None = optional(f"seconds that the command may take, 1 to {MAX_TIMEOUT}")
    id: str | None = optional(
        "the caller's own name for the call: called again with the same id and command, it is the same job"
    )


@frozen(kw_only=True)
class CommandAnswer:
    """What the host answered."""

    class_: str | None = shown("the class of the answer")
    result: bool | None = shown("whether the command succeeded")
    details: str | None = shown("the reason of a failure, or a remark")
    answer: dict[str, Any] | None = shown("the answer's fields as they were on the wire")


async def _send_command(call: Call, arguments: SendCommand) -> Body:
    if arguments.timeout is not None and not 1 <= arguments.timeout <= MAX_TIMEOUT:
        raise invalid_parameter("timeout", f"{arguments.timeout} is not between 1 and {MAX_TIMEOUT} seconds")
    if arguments.id is not None and not arguments.id.strip():
        raise invalid_parameter("id", "it is empty")
    order = Order(
        host=arguments.hostid,
        command=_command(_class_of(arguments.name), arguments.arguments),
        timeout=arguments.timeout,
        key=arguments.id,
        account_id=call.account.id,
    )
    try:
        job = await call.context.command_jobs.start(order)
    except NotFound as error:
        raise invalid_parameter("hostid", f"{error}; listHosts has their ids, uuids and names") from error
    except AmbiguousName as error:
        raise invalid_parameter("hostid", str(error)) from error
    except KeyTaken as error:
        raise invalid_parameter("id", str(error)) from error
    except ServerBusy as error:
        raise ApiError(ErrorCode.NO_CAPACITY, str(error)) from error
    except TooManyJobs as error:
        raise ApiError(ErrorCode.TOO_MANY, str(error)) from error
    return started(job.uuid)


def _class_of(name: str) -> str:
    """The class on the wire that a name means."""
    if "." in name:
        if not _CLASS.fullmatch(name):
            raise invalid_parameter("name", f"{name!r} is not the name of a class")
        return name
    by_simple_name = {known.rpartition(".")[2]: known for known in command_names()}
    if name not in by_simple_name:
        lowered = {simple.lower(): simple for simple in by_simple_name}
        near = [lowered[match] for match in get_close_matches(name.lower(), lowered, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else "give the whole name of a class that is not known here"
        raise invalid_parameter("name", f"there is no command {name!r}; {hint}")
    return by_simple_name[name]


def _command(class_name: str, arguments: str | None) -> WireCommand | Opaque:
    class_ = class_named(class_name)
    if class_ is not None and not issubclass(class_, WireCommand):
        raise invalid_parameter("name", f"{class_name} is an answer, not a command")
    if class_ is not None and issubclass(class_, _NOT_FOR_SENDING):
        raise invalid_parameter("name", f"{class_name} is not for sending: it would mislead the host's server")
    try:
        fields = _fields(arguments)
        _check(fields)
        command = read_content(Opaque(class_name, fields))
    except BodyError as error:
        raise invalid_parameter("arguments", str(error)) from error
    assert isinstance(command, WireCommand | Opaque)
    return command


def _check(fields: Mapping[str, Any]) -> None:
    """Refuse what no command can have, of a class that is not known here either."""
    context, wait = fields.get("contextMap"), fields.get("wait")
    texts = isinstance(context, dict) and all(isinstance(value, str) for value in context.values())
    if context is not None and not texts:
        raise invalid_parameter("arguments", "contextMap: an object whose values are texts is expected")
    if wait is not None and type(wait) is not int:
        raise invalid_parameter("arguments", "wait: an integer is expected")
    if wait is not None and not 0 <= wait <= MAX_TIMEOUT:
        raise invalid_parameter("arguments", f"wait: {wait} is not between 0 and {MAX_TIMEOUT} seconds")


def _fields(arguments: str | None) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError as error:
        raise invalid_parameter("arguments", f"it is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise invalid_parameter("arguments", "it is not a JSON object")
    return fields


COMMANDS = (
    Command(
        name="sendCommand",
        description="Sends a command to a host, whichever server the host is on.",
        arguments=SendCommand,
        answer=CommandAnswer,
        run=_send_command,
        is_async=True,
        extension=True,
    ),
)
