"""What the use cases need of the rows of users; see :mod:`.ports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from cloudlb.domain.users import Account, ApiKey, Role


class AccountRows(Protocol):
    """Users. One that was deleted is found no more, but by :meth:`usernames`: events tell of it."""

    def get(self, account_id: int) -> Account | None: ...
    def by_username(self, username: str) -> Account | None: ...

    def all(self) -> Sequence[Account]:
        """Every user, by name."""
        ...

    def administrators(self) -> Sequence[Account]:
        """Those of them who can do everything and are not disabled; nobody else changes these before the commit."""
        ...

    def usernames(self) -> Mapping[int, str]:
        """The name of every user that there ever was, by its number."""
        ...

    def add(self, *, username: str, role: Role, password: str | None, now: float) -> Account:
        """Make a user, in the place of a deleted one of this name; AlreadyExists for one that is there.

        Args:
            password: its hash.
        """
        ...

    def update(self, account: Account) -> None:
        """Write role, password and whether it is disabled."""
        ...

    def remove(self, account_id: int, now: float) -> None:
        """Delete a user and its keys."""
        ...

    def key(self, api_key: str) -> ApiKey | None:
        """The pair of which this is the public one, with its user."""
        ...

    def all_keys(self) -> Sequence[ApiKey]:
        """Every pair, the oldest first."""
        ...

    def add_key(
        self,
        account_id: int,
        *,
        name: str,
        api_key: str,
        secret_key: str,
        expires: float | None,
        now: float,
    ) -> ApiKey:
        """Give a user another pair; AlreadyExists for a public key that is taken."""
        ...

    def remove_key(self, uuid: str) -> bool:
        """Delete a pair; False if it is gone."""
        ...
