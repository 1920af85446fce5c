"""Users and their roles. As CloudStack has it every user is of an account; here each is the one of its own."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from cloudlb.api.command import SUCCESS, Body, Call, Command, ListArguments, Success, has_keyword, listing, single
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter, unknown_entity
from cloudlb.api.schema import Date, Key, date, optional, required, shown
from cloudlb.domain.ports import AlreadyExists, Transaction
from cloudlb.domain.users import Account, Role

ACCOUNT_TYPES: Mapping[Role, int] = {Role.ADMINISTRATOR: 1, Role.READ_ONLY: 4}
"""CloudStack's numbers [Account.Type]."""
_ROLE_TYPES: Mapping[Role, str] = {Role.ADMINISTRATOR: "Admin", Role.READ_ONLY: "ReadOnlyAdmin"}
_ROLES = " or ".join(f"{role.value!r}" for role in Role)


@frozen(kw_only=True)
class UserAnswer:
    """A user."""

    id: str | None = shown("the user ID")
    username: str | None = shown("the user name")
    account: str | None = shown("the account name of the user; the same")
    accountid: str | None = shown("the account ID of the user; the same as the user's")
    accounttype: int | None = shown("the account type of the user: 1 administrator, 4 may only read")
    state: str | None = shown("the user state: enabled or disabled")
    created: Date | None = shown("when the user was created")
    roleid: str | None = shown("the ID of the role")
    roletype: str | None = shown("the type of the role")
    rolename: str | None = shown("the name of the role")
    usersource: str | None = shown("the source type of the user")


@frozen(kw_only=True)
class RoleAnswer:
    """A role."""

    id: str | None = shown("the ID of the role")
    name: str | None = shown("the name of the role")
    type: str | None = shown("the type of the role")
    description: str | None = shown("the description of the role")
    isdefault: bool | None = shown("true if the role is a default one")
    state: str | None = shown("the state of the role")


def show_user(account: Account) -> UserAnswer:
    """A user as it is answered."""
    return UserAnswer(
        id=account.uuid,
        username=account.username,
        account=account.username,
        accountid=account.uuid,
        accounttype=ACCOUNT_TYPES[account.role],
        state="disabled" if account.disabled else "enabled",
        created=date(account.created),
        roleid=account.role.uuid,
        roletype=_ROLE_TYPES[account.role],
        rolename=account.role.value,
        usersource="native",
    )


def find_user(txn: Transaction, key: Key, parameter: str = "id") -> Account:
    """The user of an id, or an error that names the parameter."""
    for account in txn.accounts.all():
        if key in (account.uuid, str(account.id)):
            return account
    raise unknown_entity(parameter, key)


def _role(key: str) -> Role:
    for role in Role:
        if key in (role.uuid, role.value):
            return role
    raise invalid_parameter("roleid", f"{key!r} is no role; roles are {_ROLES}, or their ids as listRoles has them")


def keep_an_administrator(txn: Transaction, but: Account) -> None:
    """Refuse to lock everybody out."""
    if not any(account.id != but.id for account in txn.accounts.administrators()):
        raise ApiError(ErrorCode.PARAMETER, f"{but.username} is the only administrator that is left")


def tell(call: Call, txn: Transaction, event_type: str, what: str) -> None:
    """Write an event that somebody has done something to a user."""
    own = call.context.membership.own.id
    txn.events.add(event_type, what, now=call.context.clock.seconds(), account_id=call.account.id, server_id=own)


@frozen(kw_only=True)
class ListUsers(ListArguments):
    """Which users."""

    id: Key | None = optional("list user by ID", related="listUsers")
    username: str | None = optional("list user by the username")
    state: str | None = optional("list users by state: enabled or disabled")


async def _list_users(call: Call, arguments: ListUsers) -> Body:
    def work(txn: Transaction) -> Body:
        rows = txn.accounts.all() if arguments.id is None else [find_user(txn, arguments.id)]
        asked = [
            account
            for account in rows
            if arguments.username in (None, account.username)
            and (arguments.state or "").lower() in ("", show_user(account).state)
            and has_keyword(account.username, arguments)
        ]
        return listing("user", asked, arguments, show_user)

    return await call.store.read(work)


@frozen(kw_only=True)
class GetUser:
    """Whose key."""

    userapikey: str = required("API key of the user")


async def _get_user(call: Call, arguments: GetUser) -> Body:
    def work(txn: Transaction) -> Body:
        key = txn.accounts.key(arguments.userapikey)
        if key is None:
            raise invalid_parameter("userapikey", "it is no user's")
        return single("user", show_user(key.account))

    return await call.store.read(work)


async def _list_roles(call: Call, arguments: ListArguments) -> Body:
    rows = [
        RoleAnswer(
            id=role.uuid,
            name=role.value,
            type=_ROLE_TYPES[role],
            description=_MEANING[role],
            isdefault=True,
            state="enabled",
        )
        for role in Role
        if has_keyword(role.value, arguments)
    ]
    return listing("role", rows, arguments)


_MEANING: Mapping[Role, str] = {
    Role.ADMINISTRATOR: "everything",
    Role.READ_ONLY: "look at everything, and change the own password",
}


@frozen(kw_only=True)
class CreateUser:
    """A new user."""

    username: str = required("Unique username")
    password: str = required("Clear text password, which is kept as an Argon2id hash", secret=True)
    roleid: str = required(f"The role: {_ROLES}, or its ID", related="listRoles")


async def _create_user(call: Call, arguments: CreateUser) -> Body:
    role = _role(arguments.roleid)
    if not arguments.username.strip() or arguments.username != arguments.username.strip():
        raise invalid_parameter("username", "it is empty, or begins or ends with a space")
    password = await call.context.passwords.hash_of(arguments.password, "password")

    def work(txn: Transaction) -> Account:
        made = txn.accounts.add(
            username=arguments.username,
            role=role,
            password=password,
            now=call.context.clock.seconds(),
        )
        tell(call, txn, "USER.CREATE", f"user {made.username} was created as {role.value}")
        return made

    try:
        return single("user", show_user(await call.store.run(work)))
    except AlreadyExists as error:
        raise invalid_parameter("username", str(error)) from error


@frozen(kw_only=True)
class UpdateUser:
    """What to change."""

    id: Key = required("User ID", related="listUsers")
    password: str | None = optional("The new password", secret=True)
    currentpassword: str | None = optional("The present password; needed for the own one", secret=True)
    roleid: str | None = optional(f"The role: {_ROLES}, or its ID; administrators only", related="listRoles")


async def _update_user(call: Call, arguments: UpdateUser) -> Body:
    role = None if arguments.roleid is None else _role(arguments.roleid)
    before = await call.store.read(lambda txn: _changeable(call, txn, arguments.id, role))
    password = None
    if arguments.password is not None:
        await _check_own(call, before, arguments.currentpassword)
        password = await call.context.passwords.hash_of(arguments.password, "password")

    def work(txn: Transaction) -> Account:
        account = _changeable(call, txn, arguments.id, role)
        if role is not None and role is not account.role:
            if role is not Role.ADMINISTRATOR:
                keep_an_administrator(txn, account)
            account = evolve(account, role=role)
            tell(call, txn, "USER.UPDATE", f"user {account.username} was made {role.value}")
        if password is not None:
            if account.password != before.password:
                raise invalid_parameter("password", "somebody else has changed it meanwhile")
            account = evolve(account, password=password)
            tell(call, txn, "USER.UPDATE", f"user {account.username} has another password")
        txn.accounts.update(account)
        return account

    return single("user", show_user(await call.store.run(work)))


def _changeable(call: Call, txn: Transaction, key: Key, role: Role | None) -> Account:
    """The user of an id, if the caller may change it, and give it this role."""
    account = find_user(txn, key)
    if call.account.role is not Role.ADMINISTRATOR:
        if account.id != call.account.id:
            raise ApiError(ErrorCode.UNSUPPORTED, "another user is changed by administrators only")
        if role not in (None, account.role):
            raise ApiError(ErrorCode.UNSUPPORTED, "a role is given by administrators only")
    return account


async def _check_own(call: Call, account: Account, given: str | None) -> None:
    """A session that is left open, or a lost key of one who may only read, must not take the user over."""
    is_own = account.id == call.account.id
    if not is_own or (call.visit.session is None and account.role is Role.ADMINISTRATOR):
        return
    if given is None or not await call.context.passwords.is_right(
        given, account.password, username=account.username, address=call.visit.address
    ):
        raise invalid_parameter("currentpassword", "it is not the present one")


@frozen(kw_only=True)
class WhichUser:
    """One user."""

    id: Key = required("User ID", related="listUsers")


async def _delete_user(call: Call, arguments: WhichUser) -> Body:
    def work(txn: Transaction) -> None:
        account = find_user(txn, arguments.id)
        keep_an_administrator(txn, account)
        txn.accounts.remove(account.id, call.context.clock.seconds())
        tell(call, txn, "USER.DELETE", f"user {account.username} was deleted, and all keys of that user")

    await call.store.run(work)
    return SUCCESS


async def _able(call: Call, arguments: WhichUser, *, disabled: bool) -> Body:
    def work(txn: Transaction) -> Account:
        account = find_user(txn, arguments.id)
        if disabled:
            keep_an_administrator(txn, account)
        account = evolve(account, disabled=disabled)
        txn.accounts.update(account)
        event, state = ("USER.DISABLE", "disabled") if disabled else ("USER.ENABLE", "enabled")
        tell(call, txn, event, f"user {account.username} was {state}")
        return account

    return single("user", show_user(await call.store.run(work)))


async def _enable_user(call: Call, arguments: WhichUser) -> Body:
    return await _able(call, arguments, disabled=False)


async def _disable_user(call: Call, arguments: WhichUser) -> Body:
    return await _able(call, arguments, disabled=True)


COMMANDS = (
    Command(name="listUsers", description="Lists users", arguments=ListUsers, answer=UserAnswer, run=_list_users),
    Command(
        name="getUser",
        description="Finds the user of an API key",
        arguments=GetUser,
        answer=UserAnswer,
        run=_get_user,
    ),
    Command(
        name="listRoles",
        description="Lists the roles that users have",
        arguments=ListArguments,
        answer=RoleAnswer,
        run=_list_roles,
    ),
    Command(name="createUser", description="Creates a user", arguments=CreateUser, answer=UserAnswer, run=_create_user),
    Command(
        name="updateUser",
        description="Changes the password or role of a user; another password ends the user's sessions",
        arguments=UpdateUser,
        answer=UserAnswer,
        run=_update_user,
        personal=True,
    ),
    Command(
        name="deleteUser",
        description="Deletes a user and the user's keys",
        arguments=WhichUser,
        answer=Success,
        run=_delete_user,
    ),
    Command(name="enableUser", description="Enables a user", arguments=WhichUser, answer=UserAnswer, run=_enable_user),
    Command(
        name="disableUser",
        description="Disables a user: neither passwords nor keys are taken any more",
        arguments=WhichUser,
        answer=UserAnswer,
        run=_disable_user,
    ),
)
