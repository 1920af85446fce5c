"""PostgreSQL's notifications, heard on a connection of its own that the reactor watches beside the agents' ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cloudlb.storage.executor import Executor

RETRY_DELAY = 1.0
"""Seconds after which a connection that was lost, or could not be opened, is opened again."""


@implementer(IReadDescriptor)
class Notifications:
    """Says when there were notifications. PostgreSQL keeps none for a connection that is gone."""

    log = Logger()

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        executor: Executor,
        reactor: Any,
        heard: Callable[[], object],
    ) -> None:
        """Prepare; nothing is opened before :meth:`start`.

        Args:
            connect: opens a connection that listens already; may block.
            executor: runs it.
            reactor: IReactorTime and IReactorFDSet.
            heard: called after one or more notifications, and whenever the connection was opened: there may have been
                some before.
        """
        self._connect = connect
        self._executor = executor
        self._reactor = reactor
        self._heard = heard
        self._connection: psycopg.Connection[Any] | None = None
        self._socket = -1
        self._retry: IDelayedCall | None = None
        self._running = False
        self._outage = False

    def start(self) -> None:
        """Listen from now on, whatever becomes of the connection."""
        self._running = True
        self._open()

    def stop(self) -> None:
        """Hear nothing more."""
        self._running = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._close()

    def fileno(self) -> int:
        """The connection's socket, or -1."""
        return self._socket

    def logPrefix(self) -> str:  # noqa: N802 - Twisted calls it
        """The name in Twisted's log."""
        return "notifications"

    def doRead(self) -> Any:  # noqa: N802 - Twisted calls it
        """Take what has come; returns the exception with which the reactor is to report the connection's loss."""
        assert self._connection is not None
        pgconn = self._connection.pgconn
        told = False
        try:
            pgconn.consume_input()
            while pgconn.notifies() is not None:
                told = True
        except psycopg.Error as error:
            return error
        if told:
            self._heard()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """Connect again after a while."""
        self._close()
        self._failed(reason)

    def _open(self) -> None:
        self._retry = None
        self._executor.submit(self._connect).addCallbacks(self._opened, self._failed)

    def _opened(self, connection: psycopg.Connection[Any]) -> None:
        if not self._running:
            connection.close()
            return
        if self._outage:
            self.log.info("the database tells of messages again")
        self._outage = False
        self._connection = connection
        # A number of our own for it: PostgreSQL's library closes its one while the reactor still knows it.
        self._socket = os.dup(connection.fileno())
        self._reactor.addReader(self)
        self._heard()

    def _failed(self, failure: Failure) -> None:
        if not self._running:
            return
        if not self._outage:
            self.log.warn(
                "the database does not tell of messages until it can be reached again: {reason}",
                reason=" ".join(failure.getErrorMessage().split()),
            )
        self._outage = True
        self._retry = self._reactor.callLater(RETRY_DELAY, self._open)

    def _close(self) -> None:
        if self._connection is not None:
            self._reactor.removeReader(self)
            os.close(self._socket)
            self._socket = -1
            self._connection.close()
            self._connection = None
