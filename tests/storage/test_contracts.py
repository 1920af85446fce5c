"""The contracts of the ports, on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.contracts import (
    admissions,
    changes,
    drains,
    host_histories,
    hosts,
    jobs,
    lost_hosts,
    places,
    records,
    rows,
    steps,
    store,
)
from tests.contracts.case import StoreContract, now
from tests.storage.sqlite import new_database


class _OnSqlite(StoreContract):
    """Opens new SQLite databases and runs work inline."""

    def open_store(self, clock: Callable[[], float] | None = None) -> Database:
        """A database in a file of its own."""
        database = Database(
            new_database(Path(self.mktemp())), writer=InlineExecutor(), reader=InlineExecutor(), clock=clock
        )
        now(database.start())
        self.addCleanup(lambda: now(database.stop()))
        return database


class Admissions(_OnSqlite, admissions.AdmissionContract):
    """HostRows.admit on SQLite."""


class ChangeRows(_OnSqlite, changes.ChangeRowsContract):
    """ChangeRows on SQLite."""


class HostRows(_OnSqlite, hosts.HostRowsContract):
    """HostRows on SQLite."""


class LostHosts(_OnSqlite, lost_hosts.LostHostsContract):
    """HostRows about lost hosts on SQLite."""


class StatusSteps(_OnSqlite, steps.StatusStepContract):
    """HostRows.transition on SQLite."""


class ResourceSteps(_OnSqlite, steps.ResourceStepContract):
    """HostRows.change_resource_state on SQLite."""


class HostHistories(_OnSqlite, host_histories.HostHistoriesContract):
    """HostRows over time on SQLite."""


class ServerRows(_OnSqlite, rows.ServerRowsContract):
    """ServerRows on SQLite."""


class DatabaseTime(_OnSqlite, rows.DatabaseTimeContract):
    """The clock of SQLite."""


class Places(_OnSqlite, places.PlacesContract):
    """TopologyRows over time on SQLite."""


class DrainRows(_OnSqlite, drains.DrainRowsContract):
    """DrainRows on SQLite."""


class SettingRows(_OnSqlite, rows.SettingRowsContract):
    """SettingRows on SQLite."""


class TopologyRows(_OnSqlite, rows.TopologyRowsContract):
    """TopologyRows on SQLite."""


class AccountRows(_OnSqlite, rows.AccountRowsContract):
    """AccountRows on SQLite."""


class JobRows(_OnSqlite, jobs.JobRowsContract):
    """JobRows on SQLite."""


class EventRows(_OnSqlite, records.EventRowsContract):
    """EventRows on SQLite."""


class AlertRows(_OnSqlite, records.AlertRowsContract):
    """AlertRows on SQLite."""


class InvestigationRows(_OnSqlite, records.InvestigationRowsContract):
    """InvestigationRows on SQLite."""


class BusRows(_OnSqlite, rows.BusRowsContract):
    """BusRows on SQLite."""


class Transactions(_OnSqlite, store.TransactionContract):
    """Store on SQLite."""
