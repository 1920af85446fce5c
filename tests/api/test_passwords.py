"""Tests of how often passwords may be given, and of what waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.api.attempts import ALLOWED, ALLOWED_IN_ALL, Attempts
from cloudlb.api.errors import ApiError, ErrorCode
from cloudlb.api.passwords import MOST, Passwords
from cloudlb.domain.passwords import hash_password
from tests.api.test_login import PASSWORD, LoginTestCase
from tests.support.inline_threads import InlineThreads

T = TypeVar("T")


class BusyThreads(InlineThreads):
    """Threads that do nothing until they are let."""

    def __init__(self) -> None:
        self.held: list[Callable[[], object]] = []

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Run it when it is let."""
        result: Deferred[T] = Deferred()
        self.held.append(lambda: maybeDeferred(work).chainDeferred(result))
        return result

    def let(self) -> None:
        """Run all."""
        while self.held:
            self.held.pop(0)()


class PasswordTests(SynchronousTestCase):
    """Many passwords at once."""

    kept = hash_password(PASSWORD)

    def setUp(self) -> None:
        """Nothing is looked at unless the test lets it."""
        self.threads = BusyThreads()
        self.passwords = Passwords(Attempts(Clock()), self.threads)

    def give(self, number: int, given: str = PASSWORD) -> Deferred[bool]:
        """Give a password from an address of its own."""
        address = f"127.0.1.{number}"
        return Deferred.fromCoroutine(self.passwords.is_right(given, self.kept, username="admin", address=address))

    def refusal(self, work: Deferred[Any]) -> ApiError:
        """Why one is not looked at."""
        error: ApiError = self.failureResultOf(work, ApiError).value
        self.assertEqual(ErrorCode.TOO_MANY, error.code)
        return error

    def test_flood(self) -> None:
        """However many come from however many addresses, few wait; who is sent away has given no wrong one."""
        waiting = [self.give(number) for number in range(MOST)]
        for _ in range(2 * ALLOWED):
            self.assertIn("at once", str(self.refusal(self.give(200))))
        self.assertIn("at once", str(self.refusal(Deferred.fromCoroutine(self.passwords.hash_of(PASSWORD, "p")))))
        for each in waiting:
            self.assertNoResult(each)
        self.threads.let()
        self.assertEqual([True] * MOST, list(map(self.successResultOf, waiting)))
        later = self.give(200)
        self.threads.let()
        self.assertTrue(self.successResultOf(later))

    def test_unfit(self) -> None:
        """A password that nobody should have takes no place for good."""
        for _ in range(MOST + 1):
            refused = Deferred.fromCoroutine(self.passwords.hash_of("short", "password"))
            self.threads.let()
            self.assertIn("password", str(self.failureResultOf(refused, ApiError).value))

    def test_at_once(self) -> None:
        """Those that are under way count: nobody tries more than some by sending them all together."""
        guesses = [self.give(1, f"guess {number}") for number in range(ALLOWED)]
        self.assertIn("wrong passwords", str(self.refusal(self.give(1))))
        self.threads.let()
        self.assertEqual([False] * ALLOWED, list(map(self.successResultOf, guesses)))


class AddressTests(SynchronousTestCase):
    """What is one address."""

    def test_ipv6(self) -> None:
        """A network of 64 bits is one: whoever has one address of it has them all."""
        attempts = Attempts(Clock())
        for number in range(ALLOWED_IN_ALL):
            attempts.failed(f"2001:db8:0:1::{number:x}", f"user-{number}")
        self.assertGreater(attempts.wait("2001:db8:0:1:ffff::1", "admin"), 0)
        self.assertEqual(0, attempts.wait("2001:db8:0:2::1", "admin"))

    def test_ipv4_in_ipv6(self) -> None:
        """It is the IPv4 address, and not one of a network with all others."""
        attempts = Attempts(Clock())
        for _ in range(ALLOWED):
            attempts.failed("::ffff:10.0.0.1", "admin")
        self.assertGreater(attempts.wait("10.0.0.1", "admin"), 0)
        self.assertEqual(0, attempts.wait("::ffff:10.0.0.2", "admin"))


class OwnPasswordTests(LoginTestCase):
    """The present password, which is asked for where another one is given."""

    def test_guesses(self) -> None:
        """Whoever has found an open session cannot try one password after the other."""
        browser = self.login("reader")
        change = {"id": self.reader.uuid, "password": "another one"}
        for number in range(ALLOWED):
            browser.failed(431, "updateUser", currentpassword=f"guess {number}", **change)
        browser.failed(429, "updateUser", currentpassword=PASSWORD, **change)
        self.assertEqual(429, self.try_login("reader").status)

    def test_changed_meanwhile(self) -> None:
        """What was checked is what is replaced."""
        browser = self.login("reader")
        other = evolve(self.reader, password=hash_password("a third one"))

        def meddle(work: Callable[[], T]) -> Deferred[T]:
            self.stored(lambda txn: txn.accounts.update(other))
            return maybeDeferred(work)

        self.patch(self.threads, "run", meddle)
        change = {"id": self.reader.uuid, "password": "another one", "currentpassword": PASSWORD}
        self.assertIn("meanwhile", browser.failed(431, "updateUser", **change))
        self.assertEqual(200, self.try_login("reader", "a third one").status)
