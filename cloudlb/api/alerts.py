"""Alerts."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from cloudlb.api.command import (
    SUCCESS,
    Body,
    Call,
    Command,
    ListArguments,
    Success,
    ended,
    listing,
    page_listing,
    recent_page,
)
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter, unknown_entity
from cloudlb.api.places import WITHOUT_EFFECT
from cloudlb.api.schema import Date, Key, date, optional, required, shown
from cloudlb.api.times import FORMS, since, until
from cloudlb.domain.ports import Transaction
from cloudlb.domain.record_ports import AlertFilter
from cloudlb.domain.records import Alert, AlertType

_GENERATE = "generateAlert"
_IDS_LENGTH = 40 * 500
"""Characters of the uuids of a page."""


@frozen(kw_only=True)
class AlertAnswer:
    """An alert."""

    id: str | None = shown("the id of the alert")
    type: int | None = shown("the number of the alert type")
    name: str | None = shown("the name of the alert")
    description: str | None = shown("description of the alert")
    sent: Date | None = shown("the date and time the alert was sent, the last time if it was sent several times")
    created: Date | None = shown("when it was sent first", extension=True)
    occurrences: int | None = shown("how often it was sent", extension=True)
    hostid: str | None = shown("the ID of the host", extension=True)
    hostname: str | None = shown("the name of the host", extension=True)


@frozen(kw_only=True)
class ListAlerts(ListArguments):
    """Which alerts."""

    id: Key | None = optional("the ID of the alert", related="listAlerts")
    type: str | None = optional("list by alert type, its number or its name", related="listAlertTypes")
    name: str | None = optional("list by alert name", related="listAlertTypes")


async def _list_alerts(call: Call, arguments: ListAlerts) -> Body:
    offset, limit = recent_page(arguments)
    alert_type = _alert_type("type", arguments.type)
    if arguments.name is not None:
        named = _alert_type("name", arguments.name)
        if alert_type not in (None, named):
            return {}
        alert_type = named

    def work(txn: Transaction) -> Body:
        if arguments.id is not None and not txn.alerts.list(AlertFilter(uuids=[arguments.id]), 0, 1)[1]:
            raise unknown_entity("id", arguments.id)
        uuids = None if arguments.id is None else [arguments.id]
        which = AlertFilter(uuids=uuids, alert_type=alert_type, keyword=arguments.keyword)
        alerts, total = txn.alerts.list(which, offset, limit)
        hosts = txn.hosts.names({alert.host_id for alert in alerts if alert.host_id is not None})

        def show(alert: Alert) -> AlertAnswer:
            uuid, name = hosts.get(alert.host_id, (None, None)) if alert.host_id is not None else (None, None)
            number, type_name = alert.type.value
            return AlertAnswer(
                id=alert.uuid,
                type=number,
                name=type_name,
                description=alert.subject,
                sent=date(alert.last_sent),
                created=date(alert.created),
                occurrences=alert.count,
                hostid=uuid,
                hostname=name,
            )

        return page_listing("alert", alerts, total, show)

    return await call.store.read(work)


def _alert_type(argument: str, text: str | None) -> AlertType | None:
    """The type of a number or a name."""
    if text is None:
        return None
    for alert_type in AlertType:
        number, name = alert_type.value
        if text.upper() in (str(number), name):
            return alert_type
    known = ", ".join(f"{number} ({name})" for number, name in (alert_type.value for alert_type in AlertType))
    raise invalid_parameter(argument, f"{text!r} is none of {known}")


@frozen(kw_only=True)
class AlertTypeAnswer:
    """What alerts can be about."""

    alerttypeid: int | None = shown("alert type")
    name: str | None = shown("description of alert type")


@frozen(kw_only=True)
class ListAlertTypes:
    """Nothing is asked."""


async def _list_alert_types(_: Call, __: ListAlertTypes) -> Body:
    return listing(
        "alerttype",
        list(AlertType),
        ListArguments(),
        lambda alert_type: AlertTypeAnswer(alerttypeid=alert_type.value[0], name=alert_type.value[1]),
    )


@frozen(kw_only=True)
class SomeAlerts:
    """Which alerts: those that meet all that is given, of which something must be."""

    ids: list[str] | None = optional("the IDs of the alerts", related="listAlerts", length=_IDS_LENGTH)
    type: str | None = optional("by alert type, its number or its name", related="listAlertTypes")
    startdate: Date | None = optional(f"the start of the range, included; needs enddate: {FORMS}")
    enddate: Date | None = optional(f"the end of the range, included: {FORMS}")


def _some(arguments: SomeAlerts) -> AlertFilter:
    if arguments.ids is None and arguments.type is None and arguments.enddate is None:
        raise ApiError(ErrorCode.PARAMETER, "ids, type or enddate must be specified")
    if arguments.startdate is not None and arguments.enddate is None:
        raise ApiError(ErrorCode.PARAMETER, "enddate must be specified with startdate")
    return AlertFilter(
        uuids=None if arguments.ids is None else frozenset(arguments.ids),
        alert_type=_alert_type("type", arguments.type),
        after=since("startdate", arguments.startdate),
        before=until("enddate", arguments.enddate),
    )


async def _archive_alerts(call: Call, arguments: SomeAlerts) -> Body:
    return await _change(call, arguments, lambda txn, which: txn.alerts.archive(which))


async def _delete_alerts(call: Call, arguments: SomeAlerts) -> Body:
    return await _change(call, arguments, lambda txn, which: txn.alerts.delete(which))


async def _change(call: Call, arguments: SomeAlerts, change: Callable[[Transaction, AlertFilter], int]) -> Body:
    which = _some(arguments)

    def work(txn: Transaction) -> Body:
        changed = change(txn, which)
        if which.uuids is not None and changed < len(which.uuids):
            # Raised here, it undoes what was changed.
            raise invalid_parameter("ids", f"only {changed} of {len(which.uuids)} are alerts that this can be done to")
        return SUCCESS

    return await call.store.run(work)


@frozen(kw_only=True)
class GenerateAlert:
    """What to alert about."""

    type: int = required("type of the alert", related="listAlertTypes")
    name: str = required("name of the alert: that of its type")
    description: str = required("alert description", length=999)
    zoneid: Key | None = optional(WITHOUT_EFFECT, related="listZones")
    podid: Key | None = optional(WITHOUT_EFFECT, related="listPods")


async def _generate_alert(call: Call, arguments: GenerateAlert) -> Body:
    alert_type = _alert_type("type", str(arguments.type))
    assert alert_type is not None
    if _alert_type("name", arguments.name) is not alert_type:
        raise invalid_parameter("name", f"type {arguments.type} is {alert_type.value[1]}")
    now, own = call.context.clock.seconds(), call.context.membership.own.id

    def work(txn: Transaction) -> Body:
        txn.alerts.send(alert_type, arguments.description, host_id=None, now=now)
        told = f"An alert was generated: {arguments.description}"
        txn.events.add("ALERT.GENERATE", told, now=now, account_id=call.account.id, server_id=own)
        return ended(call, txn, _GENERATE, SUCCESS, now=now)

    return await call.store.run(work)


COMMANDS = (
    Command(
        name="listAlerts",
        description="Lists all alerts.",
        arguments=ListAlerts,
        answer=AlertAnswer,
        run=_list_alerts,
    ),
    Command(
        name="listAlertTypes",
        description="Lists all alerts types",
        arguments=ListAlertTypes,
        answer=AlertTypeAnswer,
        run=_list_alert_types,
    ),
    Command(
        name="archiveAlerts",
        description="Archive one or more alerts.",
        arguments=SomeAlerts,
        answer=Success,
        run=_archive_alerts,
    ),
    Command(
        name="deleteAlerts",
        description="Delete one or more alerts.",
        arguments=SomeAlerts,
        answer=Success,
        run=_delete_alerts,
    ),
    Command(
        name=_GENERATE,
        description="Generates an alert.",
        arguments=GenerateAlert,
        answer=Success,
        run=_generate_alert,
        is_async=True,
    ),
)
