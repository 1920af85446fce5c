"""What speaks for one host on this server, from the first StartupCommand of a session to its end.

An attache carries requests to the host and gives each its answers or one error. Which attache speaks for a host is the
directory's to say: a newer session supersedes an older one, which then takes no new requests, writes no status and
closes when what is under way on it has ended. How requests travel is the subclass's business.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.requests import Answers, Parcel, Requests
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host
from cloudlb.domain.resource_state import ResourceState
from cloudlb.wire import Command, Flag, Header, Opaque, PingCommand

_NO_FLAGS = Flag(0)


class Attache(ABC):
    """One session of one host."""

    log = Logger()

    def __init__(self, clock: IReactorTime, rng: random.Random, *, guid: str, ping_interval: int) -> None:
        self.guid = guid
        self.ping_interval = ping_interval
        """Seconds between the host's signs of life."""
        self.superseded = False
        self.connected = True
        self.admitting = True
        """An admission is under way, the first one or that of a host that starts over."""
        self.rank = 0
        """The host's place in its zone, as far as the algorithm asks for it."""
        self.leaving = False
        """Its agent was asked to go to another server, and ends the session before it begins the next one there."""
        self.rebalances = False
        """Its host was to be Rebalancing in this session, whether or not that is known to be written."""
        self.asked_to_go = False
        """Its agent was asked to go to another server, and ends the session when that one has the host."""
        self.parting: str | None = None
        """Why this end or the agent, by a ShutdownCommand, has ended the session."""
        self.journals = False
        """The host tells, on a later session, of journalled commands that ended when this one was gone."""
        self.nothing_to_tell = float("-inf")
        """When it said last that it has no such command to tell of."""
        self.gateway_alert = float("-inf")
        """When the alert was raised last that the host does not reach its gateway."""
        self._claimed = False
        self._host: Host | None = None
        self._clock = clock
        self._requests = Requests(self, clock, rng, guid)
        self._watcher: Callable[[PingCommand], None] | None = None

    def __repr__(self) -> str:
        """Name the host and the session."""
        return f"<{type(self).__name__} {self.guid} session {self._host.session if self._host else 'new'}>"

    @property
    def host(self) -> Host:
        """The host's row as the admission of this session left it, with what became of its states since."""
        assert self._host is not None, f"{self.guid} is not admitted yet"
        return self._host

    @property
    def claimed(self) -> bool:
        """Whether a session of the host was begun for this attache and no newer one is known."""
        return self._claimed and not self.superseded

    @property
    def owns_host(self) -> bool:
        """Whether this attache speaks for the host."""
        return self.claimed and self.connected

    @property
    def under_way(self) -> int:
        """Requests that have not ended."""
        return len(self._requests)

    def expect(self, host: Host, rank: int) -> None:
        """Take the row of a host that moves here, and is another server's until its agent is ready."""
        self._host, self.rank = host, rank
        self._requests.host = f"host {host.facts.name}"

    def admit(self, host: Host, rank: int) -> None:
        """Take the row that an admission made."""
        self.expect(host, rank)
        self._claimed = True
        self.admitting = False

    def take_status(self, status: HostStatus) -> None:
        """The host's status has changed in the database."""
        self._host = evolve(self.host, status=status)

    def take_state(self, state: ResourceState) -> None:
        """The host's resource state has changed in the database."""
        self._host = evolve(self.host, resource_state=state)

    def send(
        self, commands: Sequence[Command | Opaque], *, timeout: float, flags: Flag = _NO_FLAGS, own: bool = True
    ) -> Deferred[Answers]:
        """Send one request, whatever the host's status and resource state: those are :class:`Sender`'s to ask for.

        Args:
            timeout: seconds until the answer is overdue.
            flags: stop_on_error and in_sequence as wanted.
            own: the server asks of its own accord, and gets through to a busy host; see requests.OWN_ROOM.

        Returns:
            One answer per command, or a failure, always a CommandError. It may be cancelled.
        """
        return self._requests.send(self._pack(commands, flags), timeout, own=own)

    @abstractmethod
    def relay(self, packet: bytes, header: Header, *, timeout: float) -> Deferred[bytes]:
        """Send a request as another server has written it; limits and order are those of all others.

        Args:
            packet: the request.
            header: its header.
            timeout: seconds until the answer is overdue.

        Returns:
            The response, whose header is the host's, or a failure as for :meth:`send`. It may be cancelled.
        """

    def withdraw(self, relayed: Deferred[bytes]) -> None:
        """Do not send a relayed request whose turn has not come; one that was sent is left to its end."""
        self._requests.withdraw(relayed)

    def watch_pings(self, watcher: Callable[[PingCommand], None] | None) -> None:
        """Have somebody told what the host's pings say; None: nobody. Otherwise they are not looked into."""
        self._watcher = watcher

    def supersede(self) -> None:
        """Give way to a newer session of the host."""
        if not self.superseded:
            self.superseded = True
            if self._claimed:
                self.log.info(
                    "host {name} has a newer session: session {session} here ends",
                    name=self.host.facts.name,
                    session=self.host.session,
                )
            self._requests.close("a newer session has the host")

    @abstractmethod
    def close(self, reason: str) -> None:
        """End the session now; what is under way fails."""

    @abstractmethod
    def send_away(self, reason: str) -> None:
        """Tell the host to stay away, and end the session."""

    @abstractmethod
    def _pack(self, commands: Sequence[Command | Opaque], flags: Flag) -> Parcel:
        """Make a request of commands."""

    # What carries the requests; see requests.Carrier.

    @property
    @abstractmethod
    def unsent(self) -> int:
        """Bytes that are not on their way yet."""

    @abstractmethod
    def carry(self, sequence: int, parcel: Parcel) -> None:
        """Take a request to the host."""

    @abstractmethod
    def call_off(self, sequence: int, reason: str) -> None:
        """Tell the host that nobody waits for the answer to a request any more."""

    @abstractmethod
    def idle(self) -> None:
        """No request is under way: a superseded session can end."""
