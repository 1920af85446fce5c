"""What is known of hosts in the form in which listHosts tells it, so that it is written once and not for every call.

A page of 500 hosts costs some 15 ms to read and write, all of it under the one lock of the interpreter that the pings
of agents need as well. Rows change seldom, but for the time when a host was heard; so of a host that has not changed
only that time is read, and put beside what was written before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from attrs import evolve, frozen

from cloudlb.api.envelope import Json
from cloudlb.api.host_answer import servers_by_id, show_host
from cloudlb.api.schema import as_answer, date
from cloudlb.domain.host_ports import HostFilter, Stamp
from cloudlb.domain.models import HostId, Server, ServerId
from cloudlb.domain.ports import Store, Transaction

MOST = 50_000
"""Hosts that are kept, some 1 KiB each; those that were written first go first."""


@frozen
class _Entry:
    version: object
    """Of the row, and what is shown of its server."""
    written: bytes
    """A JSON object without its end."""


class HostRoll:
    """Hosts of the pages that were asked for lately."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: dict[HostId, _Entry] = {}

    async def page(
        self, filter_of: Callable[[Transaction], HostFilter | None], offset: int, limit: int
    ) -> Mapping[str, Any]:
        """Answer with a page of hosts.

        Args:
            filter_of: makes the filter, in the transaction; None lets no host through.
        """

        def look(txn: Transaction) -> tuple[Sequence[Stamp], int, Mapping[ServerId, Server]]:
            which = filter_of(txn)
            return ((), 0, {}) if which is None else (*txn.hosts.stamps(which, offset, limit), servers_by_id(txn))

        stamps, total, servers = await self._store.read(look)
        labels: dict[ServerId | None, object] = {id_: (server.uuid, server.name) for id_, server in servers.items()}
        versions = {stamp.id: (stamp.version, labels.get(stamp.server_id)) for stamp in stamps}
        written = {id_: known for id_, version in versions.items() if (known := self._known(id_, version)) is not None}
        if unknown := [id_ for id_ in versions if id_ not in written]:
            added = await self._store.read(lambda txn: _write(txn, unknown))
            written |= added
            self._keep(added, versions)
        if not total:
            return {}
        # One that was removed in between is not there.
        rows = [_with_time(written[stamp.id], stamp) for stamp in stamps if stamp.id in written]
        return {"count": total, **({"host": rows} if rows else {})}

    def _known(self, host_id: HostId, version: object) -> bytes | None:
        entry = self._entries.get(host_id)
        return None if entry is None or entry.version != version else entry.written

    def _keep(self, added: Mapping[HostId, bytes], versions: Mapping[HostId, object]) -> None:
        for id_, written in added.items():
            # What has changed since the version was read, has another one that will be asked for.
            self._entries.pop(id_, None)
            self._entries[id_] = _Entry(versions[id_], written)
        while len(self._entries) > MOST:
            del self._entries[next(iter(self._entries))]


def _write(txn: Transaction, ids: Sequence[HostId]) -> Mapping[HostId, bytes]:
    show = show_host(servers_by_id(txn))
    return {
        id_: orjson.dumps(as_answer(evolve(show(host), lastpinged=None)))[:-1]
        for id_, host in txn.hosts.several(ids).items()
    }


def _with_time(written: bytes, stamp: Stamp) -> Json:
    if stamp.last_heard is None:
        return Json(b"%b}" % written)
    return Json(b'%b,"lastpinged":"%b"}' % (written, _date(int(stamp.last_heard))))


@lru_cache(maxsize=4096)
def _date(second: int) -> bytes:
    return str(date(second)).encode()
