"""Which link speaks for which host on this server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cloudlb.agents.attache import Attache
from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.ports import Bus

ADMITTED = "host.admitted"
"""Sessions that a server has begun: {"server_id", "hosts": {host id: session}}."""
REMOVED = "host.removed"
"""A host was deleted: {"host_id"}."""


class Directory:
    """The attaches that own a host, by host."""

    def __init__(self, bus: Bus) -> None:
        self._attaches: dict[HostId, Attache] = {}
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        bus.subscribe(ADMITTED, self._admitted)
        bus.subscribe(REMOVED, self._removed)

    def __len__(self) -> int:
        """How many hosts have their agent here."""
        return len(self._attaches)

    def __iter__(self) -> Iterator[Attache]:
        """The attaches of this moment: what happens while one iterates does not matter."""
        return iter(list(self._attaches.values()))

    def get(self, host_id: HostId) -> Attache | None:
        """The attache that owns a host, if its agent is here."""
        return self._attaches.get(host_id)

    def enter(self, attache: Attache) -> bool:
        """Make an admitted attache the one that speaks for its host, unless a newer session does already."""
        older = self._attaches.get(attache.host.id)
        if older is not None and older.host.session > attache.host.session:
            attache.supersede()
            return False
        self._attaches[attache.host.id] = attache
        if older is not None and older is not attache:
            older.supersede()
        return True

    def leave(self, attache: Attache) -> None:
        """Forget an attache whose link is gone."""
        if attache.claimed and self._attaches.get(attache.host.id) is attache:
            del self._attaches[attache.host.id]

    def _admitted(self, payload: Mapping[str, Any]) -> None:
        if payload["server_id"] == self.server_id:
            # Entered by the admission itself, which may not have heard of its own commit yet.
            return
        for host_id, session in payload["hosts"].items():
            attache = self._attaches.get(HostId(int(host_id)))
            if attache is not None and attache.host.session < session:
                del self._attaches[attache.host.id]
                attache.supersede()

    def _removed(self, payload: Mapping[str, Any]) -> None:
        attache = self._attaches.pop(HostId(payload["host_id"]), None)
        if attache is not None:
            attache.superseded = True
            attache.send_away("deleteHost")
