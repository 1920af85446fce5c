"""The tables. Migrations make them; a test holds the two equal.

Nothing here is SQLite's alone. Times are seconds since the epoch. Server ids are 48 random bits and need 64-bit
columns; the other ids count from 1. Storage checks what agents say against the lengths and ranges of these columns,
because SQLite itself does not.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _place() -> tuple[Column[Any], ...]:
    """What zones, pods and clusters have in common; one that is removed is named by its uuid."""
    return (
        Column("allocation_state", String(32), nullable=False, server_default="Enabled"),
        Column("removed", Float),
    )


zone = Table(
    "zone",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("name", String(255), nullable=False, unique=True),
    *_place(),
    Column("network", JSON, nullable=False, server_default="{}"),
)

pod = Table(
    "pod",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    Column("zone_id", ForeignKey("zone.id"), nullable=False),
    *_place(),
    Column("network", JSON, nullable=False, server_default="{}"),
    UniqueConstraint("zone_id", "name"),
)

cluster = Table(
    "cluster",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    Column("pod_id", ForeignKey("pod.id"), nullable=False),
    Column("hypervisor", String(255), nullable=False),
    Column("arch", String(255), nullable=False),
    *_place(),
    UniqueConstraint("pod_id", "name"),
)

host = Table(
    "host",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("zone_id", ForeignKey("zone.id"), nullable=False),
    Column("pod_id", ForeignKey("pod.id")),
    Column("cluster_id", ForeignKey("cluster.id")),
    Column("status", String(32), nullable=False),
    Column("resource_state", String(32), nullable=False),
    # No foreign key: a host outlives the row of the server that it was on.
    Column("server_id", BigInteger),
    Column("session", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Column("last_heard", Float),
    Column("disconnected", Float),
    Column("removed", Float),
    # What the agent said: the fields of HostFacts.
    Column("guid", String(255), nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    Column("type", String(32), nullable=False),
    Column("version", String(255), nullable=False),
    Column("ip_address", String(255), nullable=False),
    Column("hypervisor", String(255), nullable=False),
    Column("hypervisor_version", String(255), nullable=False),
    Column("arch", String(255), nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("cpu_speed", Integer, nullable=False),
    Column("memory", BigInteger, nullable=False),
    Column("capabilities", Text, nullable=False),
    Column("details", JSON, nullable=False),
    # Of a host whose resource runs inside a server: the fields of DirectResource.
    Column("resource", String(255)),
    Column("properties", JSON(none_as_null=True)),
    Column("tags", JSON, nullable=False, server_default="[]"),
    # Of a host that was lost, and has not gone on request.
    Column("looked_into", Float),
    # By the clock of the database; that it was heard or looked into is no change.
    Column("changed", Float, nullable=False, server_default="0"),
    # What its operator wrote of it last.
    Column("annotation", Text),
    Index(None, "name"),
    # Answers "the hosts of a zone in order" from the index alone.
    Index(None, "zone_id", "removed", "id"),
    # Hosts that are Disconnected for long are few, and looked for often.
    Index(None, "status", "disconnected"),
    Index(None, "status", "looked_into"),
    # What has changed lately is asked for every second.
    Index(None, "changed"),
)

out_of_band = Table(
    "out_of_band",
    metadata,
    Column("host_id", ForeignKey("host.id"), primary_key=True),
    Column("address", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("password", Text, nullable=False),
)

management_server = Table(
    "management_server",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("address", String(255), nullable=False),
    Column("port", Integer, nullable=False),
    Column("version", String(255), nullable=False),
    Column("started", Float, nullable=False),
    Column("heartbeat", Float, nullable=False),
    Column("stopped", Float),
    Column("run_id", BigInteger, nullable=False, server_default="0"),
    # Its own intent; whether it is Down stands nowhere.
    Column("state", String(32), nullable=False, server_default="Up"),
    Column("peers", JSON, nullable=False, server_default="{}"),
    # What the server tells of its machine and process, now and then.
    Column("report", JSON, nullable=False, server_default="{}"),
    # Seconds for which the heartbeat counts, by the settings of its moment.
    Column("threshold", Float),
)

drain = Table(
    "drain",
    metadata,
    Column("server_id", ForeignKey("management_server.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("algorithm", String(32)),
    Column("forced", Boolean, nullable=False),
    Column("timeout", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("end", String(32)),
    Column("total", Integer, nullable=False),
    Column("moved", Integer, nullable=False),
    Column("left", Integer, nullable=False),
    Column("jobs", Integer, nullable=False),
    Column("failed", JSON, nullable=False),
    Column("eta", Float),
    Column("note", Text),
)

configuration = Table(
    "configuration",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
)

cluster_configuration = Table(
    "cluster_configuration",
    metadata,
    Column("cluster_id", ForeignKey("cluster.id"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("username", String(255), nullable=False, unique=True),
    # Of servers of the version before, that know one pair for each; what is written since is known to nobody.
    Column("api_key", String(255), nullable=False, unique=True),
    Column("secret_key", String(255), nullable=False),
    Column("role", String(32), nullable=False, server_default="Root Admin"),
    Column("password", Text),
    Column("created", Float),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    # Events still tell of who was deleted.
    Column("removed", Float),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("account_id", ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("api_key", String(255), nullable=False, unique=True),
    Column("secret_key", String(255), nullable=False),
    Column("created", Float),
    Column("expires", Float),
)

async_job = Table(
    "async_job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("command", String(255), nullable=False),
    Column("status", Integer, nullable=False),
    Column("result_code", Integer, nullable=False),
    Column("result", JSON, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("server_id", BigInteger, nullable=False),
    Column("host_id", Integer),
    Column("created", Float, nullable=False),
    Column("completed", Float),
    Column("key", String(255)),
    Column("deadline", Float),
    Column("arguments", JSON, nullable=False, server_default="{}"),
    Index(None, "account_id", "key", unique=True),
    # Of many jobs few run.
    Index(None, "status", "host_id"),
    Index(None, "status", "server_id", "account_id"),
    Index(None, "completed"),
)

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("type", String(255), nullable=False),
    Column("level", String(8), nullable=False),
    Column("description", Text, nullable=False),
    Column("created", Float, nullable=False),
    # No foreign keys: an event outlives what it is about.
    Column("account_id", Integer),
    Column("server_id", BigInteger),
    Column("host_id", Integer),
    Column("details", JSON, nullable=False),
    Index(None, "created"),
    Index(None, "host_id", "id"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("type", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("last_sent", Float, nullable=False),
    Column("count", Integer, nullable=False),
    Column("host_id", Integer),
    Column("archived", Boolean, nullable=False),
    Index(None, "last_sent"),
    # A new alert is compared with those of its host.
    Index(None, "host_id"),
)

investigation = Table(
    "investigation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("host_id", Integer, nullable=False),
    Column("server_id", BigInteger, nullable=False),
    Column("cause", String(32), nullable=False),
    Column("started", Float, nullable=False),
    Column("duration", Float, nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("findings", JSON, nullable=False),
    Index(None, "started"),
    Index(None, "host_id", "id"),
)

bus_message = Table(
    "bus_message",
    metadata,
    # SQLite counts 64 bits in its INTEGER, and with AUTOINCREMENT gives no number twice, pruned ones neither.
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("topic", String(255), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Index(None, "created"),
    sqlite_autoincrement=True,
)
