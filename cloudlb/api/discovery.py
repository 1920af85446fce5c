"""The API's description of itself."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from cloudlb._version import __version__
from cloudlb.api.command import MAX_PAGE_SIZE, Body, Call, Command, single
from cloudlb.api.errors import ApiError, ErrorCode
from cloudlb.api.schema import Long, describe_answer, describe_parameters, marked, optional, shown


@frozen(kw_only=True)
class ApiAnswer:
    """A command of the API."""

    name: str | None = shown("the name of the api command")
    description: str | None = shown("description of the api")
    since: str | None = shown("version of cloudlb the api was introduced in")
    isasync: bool | None = shown("true if api is asynchronous")
    related: str | None = shown("comma separated related apis")
    params: list[dict[str, Any]] | None = shown("the list params the api accepts")
    response: list[dict[str, Any]] | None = shown("api response fields")
    httprequesttype: str | None = shown("the preferred HTTP request type for the api")
    extension: bool | None = shown(
        "true if CloudStack has no such api; parameters and response fields say it as well", extension=True
    )


@frozen(kw_only=True)
class ListApis:
    """Which commands."""

    name: str | None = optional("API name")


async def _list_apis(call: Call, arguments: ListApis) -> Body:
    if arguments.name is not None and arguments.name not in call.commands:
        raise ApiError(ErrorCode.PARAMETER, f"API name not found: {arguments.name!r}")
    asked = [command for name, command in call.commands.items() if arguments.name in (None, name)]
    return {"count": len(asked), "api": [_describe(command, call) for command in asked]}


def _describe(command: Command[Any], call: Call) -> Body:
    related = sorted(
        other.name for other in call.commands.values() if other.answer is command.answer and other is not command
    )
    return {
        "name": command.name,
        "description": marked(command.description, command.extension),
        "since": command.since,
        "isasync": command.is_async,
        "related": ",".join(related),
        "params": describe_parameters(command.arguments),
        "response": describe_answer(command.answer),
        "httprequesttype": "GET" if command.only_reads else "POST",
        "extension": command.extension,
    }


@frozen(kw_only=True)
class CapabilityAnswer:
    """What the cloud can do; of CloudStack's many answers, those that mean something here."""

    cloudstackversion: str | None = shown("version of cloudlb")
    dynamicrolesenabled: bool | None = shown("whether an operator can make roles: false, there are two")
    securitygroupsenabled: bool | None = shown("whether there are security groups: false")
    kvmsnapshotenabled: bool | None = shown("whether there are snapshots: false")
    defaultuipagesize: Long | None = shown("how many rows a page of listings has that people look at")


@frozen(kw_only=True)
class ListCapabilities:
    """No parameters."""


async def _list_capabilities(call: Call, arguments: ListCapabilities) -> Body:
    return single(
        "capability",
        CapabilityAnswer(
            cloudstackversion=__version__,
            dynamicrolesenabled=False,
            securitygroupsenabled=False,
            kvmsnapshotenabled=False,
            defaultuipagesize=Long(MAX_PAGE_SIZE),
        ),
    )


COMMANDS = (
    Command(
        name="listCapabilities",
        description="Lists capabilities",
        arguments=ListCapabilities,
        answer=CapabilityAnswer,
        run=_list_capabilities,
    ),
    Command(
        name="listApis",
        description="lists all available apis on the server",
        arguments=ListApis,
        answer=ApiAnswer,
        run=_list_apis,
    ),
)
