"""Values of settings: the global ones, and those of clusters."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from cloudlb.domain.models import ClusterId
from cloudlb.domain.ports import NotFound
from cloudlb.domain.settings_in_force import Settings
from cloudlb.storage.schema import cluster
from cloudlb.storage.schema import cluster_configuration as of_cluster
from cloudlb.storage.schema import configuration as of_all

_LOAD = select(of_all.c.name, of_all.c.value)
_LOAD_CLUSTERS = select(of_cluster.c.cluster_id, of_cluster.c.name, of_cluster.c.value)
_GLOBAL = of_all.c.name == bindparam("of_name")
_CLUSTER = (of_cluster.c.name == bindparam("of_name")) & (of_cluster.c.cluster_id == bindparam("of_cluster"))
_CLUSTER_IS_THERE = select(cluster.c.id).where(cluster.c.id == bindparam("of_cluster"))


class SettingTable:
    """Implements the port ``SettingRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> Settings:
        """All values."""
        stored = {row.name: row.value for row in self._connection.execute(_LOAD)}
        by_cluster = {
            (ClusterId(cluster_id), name): value for cluster_id, name, value in self._connection.execute(_LOAD_CLUSTERS)
        }
        return Settings(stored, by_cluster)

    def set(self, name: str, value: str, cluster_id: ClusterId | None) -> None:
        """Write a value; NotFound for an unknown cluster."""
        if cluster_id is None:
            changed = self._connection.execute(update(of_all).where(_GLOBAL), {"of_name": name, "value": value})
            if not changed.rowcount:
                self._connection.execute(insert(of_all), {"name": name, "value": value})
            return
        key = {"of_name": name, "of_cluster": cluster_id}
        if self._connection.execute(update(of_cluster).where(_CLUSTER), {**key, "value": value}).rowcount:
            return
        if self._connection.scalar(_CLUSTER_IS_THERE, {"of_cluster": cluster_id}) is None:
            raise NotFound(f"there is no cluster {cluster_id}")
        self._connection.execute(insert(of_cluster), {"name": name, "cluster_id": cluster_id, "value": value})

    def reset(self, name: str, cluster_id: ClusterId | None) -> None:
        """Forget a value."""
        if cluster_id is None:
            self._connection.execute(delete(of_all).where(_GLOBAL), {"of_name": name})
        else:
            self._connection.execute(delete(of_cluster).where(_CLUSTER), {"of_name": name, "of_cluster": cluster_id})
