"""Users of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from cloudlb.domain.models import Account
from cloudlb.domain.ports import AlreadyExists
from cloudlb.storage.schema import account

_COLUMNS = tuple(account.c)
_BY_API_KEY = select(*_COLUMNS).where(account.c.api_key == bindparam("key"))
_BY_USERNAME = select(*_COLUMNS).where(account.c.username == bindparam("key"))
_USERNAMES = select(account.c.id, account.c.username)
_CREATE = insert(account).returning(*_COLUMNS)


class AccountTable:
    """Implements the port ``AccountRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        self._connection = connection
        self._new_uuid = new_uuid

    def by_api_key(self, api_key: str) -> Account | None:
        """The account of a key."""
        return self._one(_BY_API_KEY, api_key)

    def by_username(self, username: str) -> Account | None:
        """The account of a name."""
        return self._one(_BY_USERNAME, username)

    def usernames(self) -> Mapping[int, str]:
        """The name of every account, by its number."""
        return dict(self._connection.execute(_USERNAMES).tuples().all())

    def add(self, *, username: str, api_key: str, secret_key: str) -> Account:
        """Make an account."""
        values = {"uuid": str(self._new_uuid()), "username": username, "api_key": api_key, "secret_key": secret_key}
        try:
            with self._connection.begin_nested():
                row = self._connection.execute(_CREATE, values).one()
        except IntegrityError as error:
            raise AlreadyExists(f"there is an account {username!r}, or one of its API key, already") from error
        return _account(row)

    def _one(self, query: Select[Any], key: str) -> Account | None:
        row = self._connection.execute(query, {"key": key}).first()
        return None if row is None else _account(row)


def _account(row: Row[Any]) -> Account:
    return Account(**row._asdict())
