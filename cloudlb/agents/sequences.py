"""Requests in sequence that are under way on sessions of this server.

Within one session they wait for each other (:mod:`.requests`). A session that a newer one supersedes answers what was
sent on it, and what comes next goes another way: it has to wait for that here.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList

from cloudlb.agents.attache import Attache
from cloudlb.agents.requests import Answers
from cloudlb.domain.models import HostId
from cloudlb.net.in_order import InOrder


@define(eq=False)
class _Request:
    """One of them, until its end on its session."""

    waiters: list[Deferred[None]] = field(factory=list)


class Sequences:
    """Those of all hosts."""

    def __init__(self) -> None:
        self._under_way: dict[HostId, dict[Attache, InOrder[_Request]]] = {}

    def follow(self, host_id: HostId, attache: Attache, sent: Deferred[Answers]) -> None:
        """Note a request until its end."""
        request = _Request()
        self._under_way.setdefault(host_id, {}).setdefault(attache, InOrder()).add(request)
        sent.addBoth(self._ended, host_id, attache, request)

    def elsewhere(self, host_id: HostId, attache: Attache) -> bool:
        """Whether there are requests to a host on another session than this one."""
        return any(each is not attache for each in self._under_way.get(host_id, ()))

    def sent(self, host_id: HostId) -> Deferred[Any]:
        """Fires, never with a failure, when the requests that were sent to a host have ended."""
        waiters = []
        for requests in self._under_way.get(host_id, {}).values():
            # The oldest of a session is the one that was sent.
            waiter: Deferred[None] = Deferred()
            next(iter(requests)).waiters.append(waiter)
            waiters.append(waiter)
        return DeferredList(waiters, consumeErrors=True)

    def _ended(self, outcome: Any, host_id: HostId, attache: Attache, request: _Request) -> Any:
        sessions = self._under_way[host_id]
        sessions[attache].discard(request)
        if not sessions[attache]:
            del sessions[attache]
        if not sessions:
            del self._under_way[host_id]
        for waiter in request.waiters:
            waiter.callback(None)
        return outcome
