"""Users of the API and their keys."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloudlb.domain.ports import AlreadyExists
from cloudlb.domain.users import Account, ApiKey, Role
from cloudlb.storage.schema import account, api_key

_ACCOUNT = (
    account.c.id,
    account.c.uuid,
    account.c.username,
    account.c.role,
    account.c.created,
    account.c.disabled,
    account.c.password,
)
_KEY = (
    api_key.c.uuid.label("key_uuid"),
    api_key.c.name,
    api_key.c.api_key,
    api_key.c.secret_key,
    api_key.c.created.label("key_created"),
    api_key.c.expires,
)
_ACCOUNTS = select(*_ACCOUNT).where(account.c.removed.is_(None))
_BY_ID = _ACCOUNTS.where(account.c.id == bindparam("key"))
_BY_USERNAME = _ACCOUNTS.where(account.c.username == bindparam("key"))
_ALL = _ACCOUNTS.order_by(account.c.username)
_ADMINISTRATORS = (
    _ACCOUNTS.where(account.c.role == Role.ADMINISTRATOR.value, account.c.disabled.is_(False))
    .order_by(account.c.id)
    .with_for_update()
)
_USERNAMES = select(account.c.id, account.c.username)
_REMOVED = select(account.c.id).where(account.c.username == bindparam("key"), account.c.removed.is_not(None))
_CREATE = insert(account).returning(*_ACCOUNT)
_REVIVE = update(account).where(account.c.id == bindparam("of_id")).returning(*_ACCOUNT)
_UPDATE = update(account).where(account.c.id == bindparam("of_id"))
_KEYS = (
    select(*_ACCOUNT, *_KEY)
    .join(account, account.c.id == api_key.c.account_id)
    .where(account.c.removed.is_(None))
    .order_by(api_key.c.id)
)
_KEY_BY_PUBLIC = _KEYS.where(api_key.c.api_key == bindparam("key"))
_ADD_KEY = insert(api_key)
_REMOVE_KEY = delete(api_key).where(api_key.c.uuid == bindparam("of_uuid"))
_REMOVE_KEYS = delete(api_key).where(api_key.c.account_id == bindparam("of_id"))


class AccountTable:
    """Implements the port ``AccountRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        self._connection = connection
        self._new_uuid = new_uuid

    def get(self, account_id: int) -> Account | None:
        """One user."""
        return self._one(_BY_ID, account_id)

    def by_username(self, username: str) -> Account | None:
        """The user of a name."""
        return self._one(_BY_USERNAME, username)

    def all(self) -> Sequence[Account]:
        """Every user."""
        return [_account(row) for row in self._connection.execute(_ALL)]

    def administrators(self) -> Sequence[Account]:
        """Those who can do everything."""
        return [_account(row) for row in self._connection.execute(_ADMINISTRATORS)]

    def usernames(self) -> Mapping[int, str]:
        """Names, of deleted ones too."""
        return dict(self._connection.execute(_USERNAMES).tuples().all())

    def add(self, *, username: str, role: Role, password: str | None, now: float) -> Account:
        """Make a user, or let one come back."""
        values = {
            "uuid": str(self._new_uuid()),
            "role": role.value,
            "password": password,
            "created": now,
            "disabled": False,
            "removed": None,
        }
        if (removed := self._connection.scalar(_REMOVED, {"key": username})) is not None:
            return _account(self._connection.execute(_REVIVE.values(**values), {"of_id": removed}).one())
        # The table demands a pair; this one is told to nobody.
        unknown = {"api_key": secrets.token_urlsafe(48), "secret_key": secrets.token_urlsafe(48)}
        try:
            with self._connection.begin_nested():
                row = self._connection.execute(_CREATE, {"username": username, **unknown, **values}).one()
        except IntegrityError as error:
            raise AlreadyExists(f"there is a user {username!r} already") from error
        return _account(row)

    def update(self, account: Account) -> None:
        """Write what can change."""
        values = {"role": account.role.value, "password": account.password, "disabled": account.disabled}
        self._connection.execute(_UPDATE.values(**values), {"of_id": account.id})

    def remove(self, account_id: int, now: float) -> None:
        """Mark a user as deleted."""
        self._connection.execute(_REMOVE_KEYS, {"of_id": account_id})
        self._connection.execute(_UPDATE.values(removed=now, password=None), {"of_id": account_id})

    def key(self, api_key: str) -> ApiKey | None:
        """One pair."""
        row = self._connection.execute(_KEY_BY_PUBLIC, {"key": api_key}).first()
        return None if row is None else _api_key(row)

    def all_keys(self) -> Sequence[ApiKey]:
        """Every pair."""
        return [_api_key(row) for row in self._connection.execute(_KEYS)]

    def add_key(
        self, account_id: int, *, name: str, api_key: str, secret_key: str, expires: float | None, now: float
    ) -> ApiKey:
        """Add a pair."""
        values = {"uuid": str(self._new_uuid()), "name": name, "api_key": api_key, "secret_key": secret_key}
        try:
            with self._connection.begin_nested():
                self._connection.execute(
                    _ADD_KEY, {"account_id": account_id, "created": now, "expires": expires, **values}
                )
        except IntegrityError as error:
            raise AlreadyExists("there is this API key already, or no such user") from error
        added = self.key(api_key)
        assert added is not None
        return added

    def remove_key(self, uuid: str) -> bool:
        """Delete a pair."""
        return self._connection.execute(_REMOVE_KEY, {"of_uuid": uuid}).rowcount > 0

    def _one(self, query: Select[Any], key: object) -> Account | None:
        row = self._connection.execute(query, {"key": key}).first()
        return None if row is None else _account(row)


def _account(row: Row[*tuple[Any, ...]]) -> Account:
    return Account(
        id=row.id,
        uuid=row.uuid,
        username=row.username,
        role=Role(row.role),
        created=row.created,
        disabled=row.disabled,
        password=row.password,
    )


def _api_key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        uuid=row.key_uuid,
        account=_account(row),
        name=row.name,
        api_key=row.api_key,
        secret_key=row.secret_key,
        created=row.key_created,
        expires=row.expires,
    )
