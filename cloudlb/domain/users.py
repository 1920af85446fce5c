"""Who may use the API, and what each of them may do."""

from __future__ import annotations

from enum import Enum
from uuid import NAMESPACE_OID, uuid5

from attrs import field, frozen


class Role(Enum):
    """What a user may do; the value is the name of CloudStack's default role [RoleType, listRoles]."""

    ADMINISTRATOR = "Root Admin"
    """Everything."""
    READ_ONLY = "Read-Only Admin"
    """Look at everything, and change the own password."""

    @property
    def uuid(self) -> str:
        """Its id, the same in every deployment."""
        return str(uuid5(NAMESPACE_OID, f"cloudlb role {self.value}"))


@frozen(kw_only=True)
class Account:
    """A user. CloudStack's accounts have several, ours have one."""

    id: int
    uuid: str
    username: str
    role: Role
    created: float | None
    """Seconds since the epoch; None: before that was written down."""
    disabled: bool
    password: str | None = field(repr=False)
    """Its hash; None: there is none, and nobody logs in."""


@frozen(kw_only=True)
class ApiKey:
    """A pair of keys that sign calls for a user until it is deleted or expires."""

    uuid: str
    account: Account
    name: str
    api_key: str
    secret_key: str = field(repr=False)
    created: float | None
    expires: float | None
    """Seconds since the epoch; None: never."""

    def is_valid(self, now: float) -> bool:
        """Whether it signs anything now."""
        return not self.account.disabled and (self.expires is None or now < self.expires)
