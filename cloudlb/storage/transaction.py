"""One transaction: every table, on one connection."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Connection

from cloudlb.storage.accounts import AccountTable
from cloudlb.storage.alerts import AlertTable
from cloudlb.storage.bus_rows import BusTable
from cloudlb.storage.changes import ChangeTable
from cloudlb.storage.drains import DrainTable
from cloudlb.storage.events import EventTable
from cloudlb.storage.hosts import HostTable
from cloudlb.storage.investigations import InvestigationTable
from cloudlb.storage.jobs import JobTable
from cloudlb.storage.servers import ServerTable
from cloudlb.storage.settings import SettingTable
from cloudlb.storage.topology import TopologyTable


class SqlTransaction:
    """Implements the port ``Transaction``; of no use once its connection is given back."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID], clock: Callable[[], float]) -> None:
        self.time = clock
        self.topology = TopologyTable(connection, new_uuid)
        self.events = EventTable(connection, new_uuid)
        self.alerts = AlertTable(connection, new_uuid)
        self.investigations = InvestigationTable(connection)
        self.hosts = HostTable(connection, new_uuid, self.topology, self.events)
        self.servers = ServerTable(connection, new_uuid, clock)
        self.drains = DrainTable(connection)
        self.settings = SettingTable(connection)
        self.accounts = AccountTable(connection, new_uuid)
        self.jobs = JobTable(connection, new_uuid)
        self.bus = BusTable(connection)
        self.changes = ChangeTable(connection)
