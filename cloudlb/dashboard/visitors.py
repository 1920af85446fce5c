"""Whether requests for the stream are of somebody who is logged in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.web.server import Request

from cloudlb.api.sessions import Session, Sessions
from cloudlb.domain.ports import Store


class Visitors(Protocol):
    """Who may follow the stream."""

    async def known(self, requests: Sequence[Request]) -> list[bool]:
        """Of each request whether it is of somebody who may look."""
        ...


class LoggedIn:
    """Visitors by the sessions of the API: the cookie, and the key as the parameter ``sessionkey``.

    A page that is open uses its session, so that what hangs on a wall stays there. It ends where the user logs out, is
    disabled, or gets another password.
    """

    def __init__(self, sessions: Sessions, store: Store) -> None:
        self._sessions = sessions
        self._store = store

    async def known(self, requests: Sequence[Request]) -> list[bool]:
        """See Visitors; fails with StoreUnavailable."""
        found = [self._session(request) for request in requests]
        ids = {session.account_id for session in found if session is not None}
        if not ids:
            return [False] * len(found)
        accounts = await self._store.read(lambda txn: {id_: txn.accounts.get(id_) for id_ in ids})
        return [session is not None and session.is_of(accounts[session.account_id]) for session in found]

    def _session(self, request: Any) -> Session | None:
        (key,) = request.args.get(b"sessionkey", [b""])[:1]
        return self._sessions.find(request, key.decode("ascii", "replace"))
