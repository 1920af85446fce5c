"""What is known of hosts in the form in which listHosts tells it, so that it is written once and not for every call.

A page of 500 hosts costs some 15 ms to read and write, all of it under the one lock of the interpreter that the pings
of agents need as well. So a page of which the database says in one text that nothing has changed is told as it was.
And of a host of which nothing has changed but the time when it was heard, only that time is put beside the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import orjson
from attrs import evolve
from twisted.internet.defer import DeferredLock

from cloudlb.api.envelope import Json
from cloudlb.api.host_answer import servers_by_id, show_host
from cloudlb.api.schema import as_answer, date
from cloudlb.domain.host_ports import HostFilter, Stamp
from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.ports import Store, Transaction

MOST = 50_000
"""Hosts that are kept, some 1 KiB each; those that were written first go first."""
MOST_PAGES = 50
"""Pages that are kept, some 500 KiB each at most; those that were written first go first."""
_STATE = Stamp._fields.index("server_id")
"""Where in a stamp the fields begin that tell one state of a row from another."""

_Asked: TypeAlias = tuple[HostFilter, int, int]
"""A page: filter, offset and limit."""
_Servers: TypeAlias = Mapping[ServerId | None, tuple[str, str]]
"""What is shown of servers: uuid and name."""
_PageState: TypeAlias = tuple[str, int, _Servers]
"""Of a page: what the database says of it, how many hosts the filter lets through, and the servers."""


class HostRoll:
    """Hosts of the pages that were asked for lately."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # The state that was written, what is shown of its server, and a JSON object without its end.
        self._entries: dict[HostId, tuple[tuple[object, ...], object, bytes]] = {}
        # The state of each page, and the answer.
        self._pages: dict[_Asked, tuple[_PageState, Mapping[str, Any]]] = {}
        self._turn = DeferredLock()

    async def page(
        self, filter_of: Callable[[Transaction], HostFilter | None], offset: int, limit: int
    ) -> Mapping[str, Any]:
        """Answer with a page of hosts, one call after the other: between two of them pings get their turn.

        Args:
            filter_of: makes the filter, in the transaction; None lets no host through.
        """
        await self._turn.acquire()
        try:
            return await self._page(filter_of, offset, limit)
        finally:
            self._turn.release()

    async def _page(
        self, filter_of: Callable[[Transaction], HostFilter | None], offset: int, limit: int
    ) -> Mapping[str, Any]:
        # This runs on the store's thread: who has the turn has the pages to itself.
        def look(txn: Transaction) -> tuple[_Asked, _PageState, Sequence[Stamp] | None] | None:
            which = filter_of(txn)
            if which is None:
                return None
            shown: _Servers = {id_: (server.uuid, server.name) for id_, server in servers_by_id(txn).items()}
            asked, state = (which, offset, limit), (*txn.hosts.state_of_page(which, offset, limit), shown)
            is_kept = asked in self._pages and self._pages[asked][0] == state
            return asked, state, None if is_kept else txn.hosts.stamps(which, offset, limit)

        found = await self._store.read(look)
        if found is None:
            return {}
        asked, state, stamps = found
        if stamps is not None:
            _, total, shown = state
            body = await self._compose(stamps, total, shown)
            self._pages.pop(asked, None)
            self._pages[asked] = state, body
            while len(self._pages) > MOST_PAGES:
                del self._pages[next(iter(self._pages))]
        return self._pages[asked][1]

    async def _compose(self, stamps: Sequence[Stamp], total: int, shown: _Servers) -> Mapping[str, Any]:
        written, unknown = dict[HostId, bytes](), list[Stamp]()
        for stamp in stamps:
            entry = self._entries.get(stamp[0])
            if entry is not None and entry[0] == stamp[_STATE:] and entry[1] == shown.get(stamp[2]):
                written[stamp[0]] = entry[2]
            else:
                unknown.append(stamp)
        if unknown:
            added = await self._store.read(lambda txn: _write(txn, [stamp.id for stamp in unknown]))
            written |= added
            self._keep([stamp for stamp in unknown if stamp.id in added], shown, added)
        if not total:
            return {}
        # One that was removed in between is not there.
        rows = [
            b"%b%b" % (written[id_], _end(heard if heard is None else int(heard)))
            for id_, heard, *_ in stamps
            if id_ in written
        ]
        return {"count": total, **({"host": Json(b"[%b]" % b",".join(rows))} if rows else {})}

    def _keep(self, stamps: Sequence[Stamp], shown: _Servers, added: Mapping[HostId, bytes]) -> None:
        for stamp in stamps:
            # What has changed since the state was read, has another one that will be asked for.
            self._entries.pop(stamp.id, None)
            self._entries[stamp.id] = stamp[_STATE:], shown.get(stamp.server_id), added[stamp.id]
        while len(self._entries) > MOST:
            del self._entries[next(iter(self._entries))]


def _write(txn: Transaction, ids: Sequence[HostId]) -> Mapping[HostId, bytes]:
    show = show_host(servers_by_id(txn))
    return {
        id_: orjson.dumps(as_answer(evolve(show(host), lastpinged=None)))[:-1]
        for id_, host in txn.hosts.several(ids).items()
    }


@lru_cache(maxsize=4096)
def _end(last_heard: int | None) -> bytes:
    return b"}" if last_heard is None else f',"lastpinged":"{date(last_heard)}"}}'.encode()
