"""Whether what agents say of their hosts fits the columns: SQLite itself does not look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import fields
from sqlalchemy import BigInteger, Integer, String

from cloudlb.domain.models import Cluster, HostFacts
from cloudlb.storage.schema import host
from cloudlb.storage.texts import is_text

FACTS = tuple(attribute.name for attribute in fields(HostFacts))
"""The columns of what an agent says."""

_TEXTS = [(name, kind.length) for name in FACTS if isinstance(kind := host.c[name].type, String)]
_NUMBERS = [
    (name, 2**63 - 1 if isinstance(kind, BigInteger) else 2**31 - 1)
    for name in FACTS
    if isinstance(kind := host.c[name].type, Integer)
]


def fact_values(facts: HostFacts) -> dict[str, Any]:
    """The facts by column."""
    return {name: getattr(facts, name) for name in FACTS}


def fault(facts: Mapping[str, Any]) -> str | None:
    """Say which fact does not fit its column: one agent's bad value must not fail the others' admissions with it."""
    if not facts["guid"]:
        return "the host has no GUID"
    for name, length in _TEXTS:
        value = facts[name]
        if not is_text(value):
            return f"{name} {value[:60]!r} is no text"
        if length is not None and len(value) > length:
            return f"{name} {value[:60]!r}... is longer than {length} characters"
    for name, most in _NUMBERS:
        if not 0 <= facts[name] <= most:
            return f"{name} {facts[name]} is not between 0 and {most}"
    return None


def misfit(facts: HostFacts, cluster: Cluster) -> str | None:
    """Say why a host does not belong into a cluster; what one side leaves open fits."""
    for what in ("hypervisor", "arch"):
        of_host, of_cluster = getattr(facts, what), getattr(cluster, what)
        if of_host and of_cluster and of_host.casefold() != of_cluster.casefold():
            return f"host {facts.guid!r} has {what} {of_host!r}, cluster {cluster.name!r} has {of_cluster!r}"
    return None
