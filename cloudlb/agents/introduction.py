"""What an agent says of itself in its StartupCommands, checked as far as the database is not needed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve, frozen

from cloudlb.domain.host_list import HostList, InvalidHostList
from cloudlb.domain.models import HostFacts
from cloudlb.domain.ports import Location
from cloudlb.net.tls import certificate_guid, fits
from cloudlb.wire import StartupCommand, StartupRoutingCommand

MAX_TEXT = 255
"""Longest name, GUID or version that a row holds, as in CloudStack's host table."""
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Unicode's categories Cc, and Cs: halves of surrogate pairs."""


@frozen
class Introduction:
    """An agent that may ask for admission."""

    facts: HostFacts
    location: Location
    held: HostList | None
    """The list in its properties file; None where that is unreadable, so that it gets a new one."""
    transferred: bool
    known: bool
    """Whether a server has called the host by an id before, as its agent says."""


@frozen
class Refusal:
    """Why an agent is turned away for good."""

    reason: str


def introduce(startups: Sequence[StartupCommand], certificate: bytes | None) -> Introduction | Refusal:
    """Check what does not need the database.

    Args:
        startups: at least one; a hypervisor's StartupRoutingCommand speaks for the host if there are several.
        certificate: the one that the agent showed, in DER, already verified to be of our CA. Whether one must be
            shown was decided in the handshake.
    """
    first = next((s for s in startups if isinstance(s, StartupRoutingCommand)), startups[0])
    if not first.guid:
        return Refusal("the StartupCommand has no guid")
    for name, text in (
        ("guid", first.guid),
        ("name", first.name),
        ("version", first.version),
        ("zone", first.data_center),
        ("pod", first.pod),
        ("cluster", first.cluster),
        ("IP address", first.private_ip_address),
    ):
        if text is not None and (problem := _problem(text)):
            return Refusal(f"the {name} in the StartupCommand {problem}")
    if certificate is not None and (misfit := _misfit(certificate, first.guid, first.resource_name or "")):
        return Refusal(misfit)
    return Introduction(
        facts=_facts(first),
        location=Location(zone=first.data_center or "", pod=first.pod, cluster=first.cluster),
        held=_held(first.ms_host_list),
        transferred=first.connection_transferred,
        known=first.host_id is not None,
    )


def _problem(text: str) -> str | None:
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    if _CONTROL_CHARACTER.search(text):
        return "has control characters"
    return None


def _misfit(certificate: bytes, wire_guid: str, resource_name: str) -> str | None:
    guid = certificate_guid(certificate)
    if guid is None:
        return "the certificate is not an agent's: it names no GUID"
    if not fits(guid, wire_guid, resource_name):
        return f"the certificate is of {guid} and not of {wire_guid}"
    return None


def _held(text: str | None) -> HostList | None:
    try:
        return HostList.parse(text or "")
    except InvalidHostList:
        return None


def _facts(startup: StartupCommand) -> HostFacts:
    common = HostFacts(
        guid=startup.guid or "",
        name=startup.name or startup.guid or "",
        type=startup.host_type or "",
        version=startup.version or "",
        ip_address=startup.private_ip_address or "",
        arch=startup.arch or "",
    )
    if not isinstance(startup, StartupRoutingCommand):
        return common
    return evolve(
        common,
        hypervisor=startup.hypervisor_type or "",
        hypervisor_version=startup.hypervisor_version or "",
        cpus=startup.cpus,
        cpu_speed=startup.speed,
        memory=startup.memory,
        capabilities=startup.caps or "",
        details=dict(startup.host_details),
    )
