"""Sessions of people who have logged in, in the memory of the server that they have logged in to.

As in CloudStack a session is a cookie that scripts of a page cannot read, and a key that every call repeats as a
parameter: another site that makes a browser call us has the one and not the other.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from cloudlb.domain.users import Account

COOKIE = "JSESSIONID"
IDLE = 1800.0
"""Seconds without a call after which a session ends [server.properties, session.timeout]."""
FRESH = 900.0
"""Seconds after the password was given in which a session may change something."""
MOST = 1000
"""Sessions; one more ends the one that was idle for longest."""


@define
class Session:
    """Who has logged in."""

    id: str = field(repr=False)
    key: str = field(repr=False)
    account_id: int
    password: str | None = field(repr=False)
    """The hash of the one that was given: another password ends the session."""
    begun: float
    used: float

    def is_of(self, account: Account | None) -> bool:
        """Whether the account, as it is now, may still use it."""
        return account is not None and not account.disabled and account.password == self.password


class Sessions:
    """All of them."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        # Whose last use is longest ago comes first.
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, account: Account) -> Session:
        """A session of a user whose password was right."""
        now = self._clock.seconds()
        session = Session(
            id=secrets.token_urlsafe(32),
            key=secrets.token_urlsafe(32),
            account_id=account.id,
            password=account.password,
            begun=now,
            used=now,
        )
        self._sessions[session.id] = session
        while len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return session

    def find(self, request: Request, key: str) -> Session | None:
        """The session of a request's cookie, if the key is that session's; the call counts as a use of it."""
        given: bytes | None = request.getCookie(COOKIE.encode())  # type: ignore[no-untyped-call]  # Twisted's
        session = None if given is None else self._sessions.get(given.decode("ascii", "replace"))
        if session is None or not hmac.compare_digest(session.key.encode(), key.encode()):
            return None
        now = self._clock.seconds()
        if now - session.used > IDLE:
            self.end(session)
            return None
        session.used = now
        self._sessions.move_to_end(session.id)
        return session

    def end(self, session: Session) -> None:
        """Forget one."""
        self._sessions.pop(session.id, None)

    def is_fresh(self, session: Session) -> bool:
        """Whether its password was given lately."""
        return self._clock.seconds() - session.begun <= FRESH
