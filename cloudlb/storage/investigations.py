"""Investigations: why a host's agent was looked into, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import asdict
from sqlalchemy import Connection, Row, insert

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId
from cloudlb.domain.records import Finding, Investigation, Verdict
from cloudlb.storage.pages import page, prune
from cloudlb.storage.schema import investigation as table

_COLUMNS = tuple(column for column in table.c if column.name != "id")
_ADD = insert(table)


class InvestigationTable:
    """Implements the port ``InvestigationRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, investigation: Investigation) -> None:
        """Keep one."""
        findings = [{**asdict(finding), "verdict": finding.verdict.value} for finding in investigation.findings]
        plain = {"cause": investigation.cause.value, "verdict": investigation.verdict.value, "findings": findings}
        self._connection.execute(_ADD, {**asdict(investigation, recurse=False), **plain})

    def list(self, host_id: HostId | None, offset: int, limit: int | None) -> tuple[Sequence[Investigation], int]:
        """A page of them, the newest first."""
        conditions = [] if host_id is None else [table.c.host_id == host_id]
        rows, total = page(self._connection, _COLUMNS, conditions, table.c.id, offset=offset, limit=limit)
        return [_investigation(row) for row in rows], total

    def prune(self, before: float, limit: int) -> int:
        """Drop what is old."""
        return prune(self._connection, table, table.c.started < before, limit)


def _investigation(row: Row[Any]) -> Investigation:
    values = row._asdict()
    findings = tuple(Finding(**{**each, "verdict": Verdict(each["verdict"])}) for each in values["findings"])
    plain = {"cause": HostEvent(values["cause"]), "verdict": Verdict(values["verdict"]), "findings": findings}
    return Investigation(**{**values, **plain})
