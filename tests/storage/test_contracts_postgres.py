"""The contracts of the ports, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

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
from tests.storage.postgres import MISSING, new_database


class _OnPostgres(StoreContract):
    """Opens new databases and runs work inline."""

    skip = MISSING

    def open_store(self, clock: Callable[[], float] | None = None) -> Database:
        """A database of its own."""
        database = Database(new_database(self), writer=InlineExecutor(), reader=InlineExecutor(), clock=clock)
        now(database.start())
        self.addCleanup(lambda: now(database.stop()))
        return database


class Admissions(_OnPostgres, admissions.AdmissionContract):
    """HostRows.admit on PostgreSQL."""


class ChangeRows(_OnPostgres, changes.ChangeRowsContract):
    """ChangeRows on PostgreSQL."""


class HostRows(_OnPostgres, hosts.HostRowsContract):
    """HostRows on PostgreSQL."""


class LostHosts(_OnPostgres, lost_hosts.LostHostsContract):
    """HostRows about lost hosts on PostgreSQL."""


class StatusSteps(_OnPostgres, steps.StatusStepContract):
    """HostRows.transition on PostgreSQL."""


class ResourceSteps(_OnPostgres, steps.ResourceStepContract):
    """HostRows.change_resource_state on PostgreSQL."""


class HostHistories(_OnPostgres, host_histories.HostHistoriesContract):
    """HostRows over time on PostgreSQL."""


class ServerRows(_OnPostgres, rows.ServerRowsContract):
    """ServerRows on PostgreSQL."""


class DatabaseTime(_OnPostgres, rows.DatabaseTimeContract):
    """The clock of PostgreSQL."""


class Places(_OnPostgres, places.PlacesContract):
    """TopologyRows over time on PostgreSQL."""


class DrainRows(_OnPostgres, drains.DrainRowsContract):
    """DrainRows on PostgreSQL."""


class SettingRows(_OnPostgres, rows.SettingRowsContract):
    """SettingRows on PostgreSQL."""


class TopologyRows(_OnPostgres, rows.TopologyRowsContract):
    """TopologyRows on PostgreSQL."""


class AccountRows(_OnPostgres, rows.AccountRowsContract):
    """AccountRows on PostgreSQL."""


class JobRows(_OnPostgres, jobs.JobRowsContract):
    """JobRows on PostgreSQL."""


class EventRows(_OnPostgres, records.EventRowsContract):
    """EventRows on PostgreSQL."""


class AlertRows(_OnPostgres, records.AlertRowsContract):
    """AlertRows on PostgreSQL."""


class InvestigationRows(_OnPostgres, records.InvestigationRowsContract):
    """InvestigationRows on PostgreSQL."""


class BusRows(_OnPostgres, rows.BusRowsContract):
    """BusRows on PostgreSQL."""


class Transactions(_OnPostgres, store.TransactionContract):
    """Store on PostgreSQL."""
