"""Events and investigations."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, listing, page_listing, recent_page
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter, unknown_entity
from cloudlb.api.host_answer import servers_by_id
from cloudlb.api.places import WITHOUT_EFFECT
from cloudlb.api.schema import Date, Key, Long, date, optional, shown
from cloudlb.api.times import FORMS, since, until
from cloudlb.domain.models import HostId
from cloudlb.domain.ports import AmbiguousName, Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import EVENT_TYPES, Event, Investigation, Level

HOST = "Host"
COMPLETED = "Completed"
SYSTEM = "system"
"""The user of what nobody asked for, as in CloudStack."""


@frozen(kw_only=True)
class EventAnswer:
    """An event."""

    id: str | None = shown("the ID of the event")
    type: str | None = shown("the type of the event (see event types)")
    level: str | None = shown("the event level (INFO, WARN, ERROR)")
    description: str | None = shown("a brief description of the event")
    username: str | None = shown(f"the name of the user who asked for it; {SYSTEM}: nobody, it happened")
    account: str | None = shown("the account name; here the same")
    resourceid: str | None = shown("the ID of the resource")
    resourcetype: str | None = shown(f"the type of the resource: {HOST}")
    resourcename: str | None = shown("the name of the resource")
    created: Date | None = shown("the date the event was created")
    state: str | None = shown("the state of the event; always Completed")
    archived: bool | None = shown("whether the event has been archived or not; never")
    managementserverid: str | None = shown("the ID of the management server that told of it", extension=True)
    managementservername: str | None = shown("the name of that management server", extension=True)
    details: dict[str, str] | None = shown("for programs; of a transition from, to, event, session", extension=True)


@frozen(kw_only=True)
class ListEvents(ListArguments):
    """Which events."""

    id: Key | None = optional("the ID of the event", related="listEvents")
    type: str | None = optional("the event type (see event types)", related="listEventTypes")
    level: str | None = optional("the event level (INFO, WARN, ERROR)")
    startdate: Date | None = optional(f"the start of the range, included: {FORMS}")
    enddate: Date | None = optional(f"the end of the range, included: {FORMS}")
    resourceid: Key | None = optional("the ID or name of the host, also of one that was deleted", related="listHosts")
    resourcetype: str | None = optional(f"the type of the resource: {HOST}")
    account: str | None = optional("list events by account")
    startid: Key | None = optional("an event and those that it has led to; here the event alone", related="listEvents")
    state: str | None = optional("the state of the event; here always Completed")
    archived: bool | None = optional(WITHOUT_EFFECT)
    duration: int | None = optional(WITHOUT_EFFECT)
    entrytime: int | None = optional(WITHOUT_EFFECT)
    listall: bool | None = optional(WITHOUT_EFFECT)
    domainid: Key | None = optional(WITHOUT_EFFECT)
    isrecursive: bool | None = optional(WITHOUT_EFFECT)


async def _list_events(call: Call, arguments: ListEvents) -> Body:
    offset, limit = recent_page(arguments)
    if arguments.resourcetype is not None and arguments.resourcetype.lower() != HOST.lower():
        raise invalid_parameter("resourcetype", f"{arguments.resourcetype!r} is not {HOST}")
    if arguments.resourcetype is not None and arguments.resourceid is None:
        raise ApiError(ErrorCode.PARAMETER, "resourcetype needs resourceid")
    level = None if arguments.level is None else _level(arguments.level)
    after, before = since("startdate", arguments.startdate), until("enddate", arguments.enddate)
    if None not in (arguments.id, arguments.startid) and arguments.id != arguments.startid:
        raise invalid_parameter("startid", "it is not the id")
    if arguments.state is not None and arguments.state.lower() != COMPLETED.lower():
        return {}

    def work(txn: Transaction) -> Body:
        for parameter, key in (("id", arguments.id), ("startid", arguments.startid)):
            if key is not None and not txn.events.list(EventFilter(uuid=key), 0, 1)[1]:
                raise unknown_entity(parameter, key)
        which = EventFilter(
            uuid=arguments.id or arguments.startid,
            account_id=find_user(txn, arguments.account),
            event_type=None if arguments.type is None else arguments.type.upper(),
            level=level,
            host_id=None if arguments.resourceid is None else find_any_host(txn, "resourceid", arguments.resourceid),
            after=after,
            before=before,
            keyword=arguments.keyword,
        )
        events, total = txn.events.list(which, offset, limit)
        hosts = txn.hosts.names({event.host_id for event in events if event.host_id is not None})
        usernames, servers = txn.accounts.usernames(), servers_by_id(txn)

        def show(event: Event) -> EventAnswer:
            uuid, name = hosts.get(event.host_id, (None, None)) if event.host_id is not None else (None, None)
            server = None if event.server_id is None else servers.get(event.server_id)
            user = SYSTEM if event.account_id is None else usernames.get(event.account_id)
            return EventAnswer(
                id=event.uuid,
                type=event.type,
                level=event.level.value,
                description=event.description,
                username=user,
                account=user,
                resourceid=uuid,
                resourcetype=HOST if uuid else None,
                resourcename=name,
                created=date(event.created),
                state=COMPLETED,
                archived=False,
                managementserverid=server.uuid if server else None,
                managementservername=server.name if server else None,
                details=dict(event.details),
            )

        return page_listing("event", events, total, show)

    return await call.store.read(work)


def find_any_host(txn: Transaction, parameter: str, key: Key) -> HostId:
    """The host that a parameter means, by id or name, also one that was deleted; or an error that names it."""
    try:
        host = txn.hosts.find(key) or txn.hosts.find_removed(key)
    except AmbiguousName as error:
        raise invalid_parameter(parameter, str(error)) from error
    if host is None:
        raise unknown_entity(parameter, key)
    return host.id


def find_user(txn: Transaction, name: str | None) -> int | None:
    """The number of the user that a parameter ``account`` names, also of one that was deleted."""
    if name is None:
        return None
    for account_id, username in txn.accounts.usernames().items():
        if username == name:
            return account_id
    raise invalid_parameter("account", f"there is no user {name!r}")


def _level(text: str) -> Level:
    try:
        return Level(text.upper())
    except ValueError as error:
        known = ", ".join(level.value for level in Level)
        raise invalid_parameter("level", f"{text!r} is none of {known}") from error


@frozen(kw_only=True)
class EventTypeAnswer:
    """What events can be about."""

    name: str | None = shown("Event Type")


@frozen(kw_only=True)
class ListEventTypes:
    """Nothing is asked."""


async def _list_event_types(_: Call, __: ListEventTypes) -> Body:
    return listing("eventtype", EVENT_TYPES, ListArguments(), lambda name: EventTypeAnswer(name=name))


@frozen(kw_only=True)
class InvestigationAnswer:
    """Why a host's agent was looked into, and what came out."""

    id: str | None = shown("the ID of the investigation")
    hostid: str | None = shown("the ID of the host")
    hostname: str | None = shown("the name of the host")
    cause: str | None = shown("what happened: PingTimeout or AgentDisconnected")
    verdict: str | None = shown("Up, Down or Unknown")
    investigator: str | None = shown("who gave the verdict; missing where nobody knew")
    reason: str | None = shown("why")
    started: Date | None = shown("when it began")
    duration: Long | None = shown("how long it took, in milliseconds")
    findings: list[dict[str, Any]] | None = shown(
        "what each investigator said, in the order in which they were asked: investigator, verdict, reason, duration"
    )
    managementserverid: str | None = shown("the ID of the management server that investigated")
    managementservername: str | None = shown("the name of that management server")


@frozen(kw_only=True)
class ListInvestigations(ListArguments):
    """Whose."""

    hostid: Key | None = optional("the ID or name of the host, also of one that was deleted", related="listHosts")


async def _list_investigations(call: Call, arguments: ListInvestigations) -> Body:
    offset, limit = recent_page(arguments)

    def work(txn: Transaction) -> Body:
        host_id = None if arguments.hostid is None else find_any_host(txn, "hostid", arguments.hostid)
        found, total = txn.investigations.list(host_id, offset, limit)
        hosts, servers = txn.hosts.names({each.host_id for each in found}), servers_by_id(txn)

        def show(investigation: Investigation) -> InvestigationAnswer:
            uuid, name = hosts.get(investigation.host_id, (None, None))
            decided, server = investigation.decided_by, servers.get(investigation.server_id)
            return InvestigationAnswer(
                id=investigation.uuid,
                hostid=uuid,
                hostname=name,
                cause=investigation.cause.value,
                verdict=investigation.verdict.value,
                investigator=decided.investigator if decided else None,
                reason=decided.reason if decided else None,
                started=date(investigation.started),
                duration=_milliseconds(investigation.duration),
                findings=[
                    {**asdict(each), "verdict": each.verdict.value, "duration": _milliseconds(each.duration)}
                    for each in investigation.findings
                ],
                managementserverid=server.uuid if server else None,
                managementservername=server.name if server else None,
            )

        return page_listing("investigation", found, total, show)

    return await call.store.read(work)


def _milliseconds(seconds: float) -> Long:
    return Long(round(seconds * 1000))


COMMANDS = (
    Command(
        name="listEvents",
        description="A command to list events.",
        arguments=ListEvents,
        answer=EventAnswer,
        run=_list_events,
    ),
    Command(
        name="listEventTypes",
        description="List Event Types",
        arguments=ListEventTypes,
        answer=EventTypeAnswer,
        run=_list_event_types,
    ),
    Command(
        name="listInvestigations",
        description="Lists why hosts' agents were looked into, and what came out.",
        arguments=ListInvestigations,
        answer=InvestigationAnswer,
        run=_list_investigations,
        extension=True,
    ),
)
