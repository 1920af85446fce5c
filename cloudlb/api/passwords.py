"""Passwords that are given: on a thread of their own, one after the other, and not as often as one likes.

A hash takes tens of milliseconds of a core and 64 MiB. Whoever sends many passwords, from however many addresses, makes
those wait who give one, and nobody else: neither the database nor the agents.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TypeVar

from twisted.internet.defer import Deferred

from cloudlb.api.attempts import Attempts
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter
from cloudlb.domain.passwords import UnfitPassword, hash_password, is_password
from cloudlb.resource.threads import Threads

T = TypeVar("T")

MOST = 20
"""Passwords that are looked at or wait for that; who comes then is sent away."""


class Passwords:
    """Tells whether passwords are right, and what to keep of new ones."""

    def __init__(self, attempts: Attempts, threads: Threads) -> None:
        self._attempts = attempts
        self._threads = threads
        self._under_way = 0

    async def is_right(self, given: str, kept: str | None, *, username: str, address: str) -> bool:
        """Whether a password is a user's.

        Args:
            given: the password.
            kept: the hash of the user's; None is nobody's, and takes as long.
            username: whose it is said to be.
            address: where it was given.

        Raises:
            ApiError: too many wrong ones came from there, or too many come now.
        """
        if wait := self._attempts.wait(address, username):
            raise ApiError(ErrorCode.TOO_MANY, f"too many wrong passwords; try again in {ceil(wait)} s")
        looked_at = self._run(lambda: is_password(given, kept))
        # Before it is known: a hundred at once are a hundred attempts.
        self._attempts.failed(address, username)
        if is_right := await looked_at:
            self._attempts.succeeded(address, username)
        return is_right

    async def hash_of(self, password: str, parameter: str) -> str:
        """What to keep of a new password, the value of a parameter.

        Raises:
            ApiError: nobody should have it, or too many passwords come now.
        """
        try:
            return await self._run(lambda: hash_password(password))
        except UnfitPassword as error:
            raise invalid_parameter(parameter, str(error)) from error

    def stop(self) -> None:
        """Look at no more."""
        self._threads.stop()

    def _run(self, work: Callable[[], T]) -> Deferred[T]:
        if self._under_way >= MOST:
            raise ApiError(ErrorCode.TOO_MANY, "too many passwords are given at once; try again in some seconds")
        self._under_way += 1
        return self._threads.run(work).addBoth(self._ended)

    def _ended(self, result: T) -> T:
        self._under_way -= 1
        return result
