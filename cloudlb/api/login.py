"""Logging in and out."""

from __future__ import annotations

from attrs import frozen
from twisted.logger import Logger

from cloudlb.api.command import SUCCESS, Body, Call, Command, Success
from cloudlb.api.errors import ApiError, ErrorCode
from cloudlb.api.schema import as_answer, optional, required, shown
from cloudlb.api.sessions import COOKIE, IDLE
from cloudlb.api.users import ACCOUNT_TYPES

_log = Logger()


@frozen(kw_only=True)
class Login:
    """Who, and how that is shown."""

    username: str = required("Username")
    password: str = required("Password", secret=True)
    domain: str | None = optional("Path of the domain that the user belongs to; all users belong to the root")


@frozen(kw_only=True)
class LoginAnswer:
    """What a client needs of a session."""

    username: str | None = shown("Username")
    userid: str | None = shown("User ID")
    account: str | None = shown("the account name the user belongs to")
    type: str | None = shown("the account type: 1 for an administrator, 4 for one who may only read")
    rolename: str | None = shown("the name of the user's role", extension=True)
    timeout: int | None = shown("seconds without a call after which the session ends")
    registered: str | None = shown("Is user registered")
    sessionkey: str | None = shown("Session key that is to be passed in subsequent calls")


async def _login(call: Call, arguments: Login) -> Body:
    address, username = call.visit.address, arguments.username
    if not call.visit.is_form:
        raise ApiError(ErrorCode.METHOD_NOT_ALLOWED, "login takes a posted form: a URL is no place for a password")
    account = await call.store.read(lambda txn: txn.accounts.by_username(username))
    kept = None if account is None or account.disabled else account.password
    is_right = await call.context.passwords.is_right(arguments.password, kept, username=username, address=address)
    if account is None or not is_right:
        _log.warn("a login as {username!r} from {address} was refused", username=username, address=address)
        raise ApiError(ErrorCode.ACCOUNT, f"Failed to authenticate user {username!r}; please provide valid credentials")
    if call.visit.session is not None:
        call.context.sessions.end(call.visit.session)
    session = call.context.sessions.begin(account)
    _log.info("{username} logged in from {address}", username=username, address=address)
    call.visit.cookies[COOKIE] = session.id
    return as_answer(
        LoginAnswer(
            username=account.username,
            userid=account.uuid,
            account=account.username,
            type=str(ACCOUNT_TYPES[account.role]),
            rolename=account.role.value,
            timeout=int(IDLE),
            registered="false",
            sessionkey=session.key,
        )
    )


@frozen(kw_only=True)
class Logout:
    """The session that the call comes with."""


async def _logout(call: Call, arguments: Logout) -> Body:
    if call.visit.session is not None:
        call.context.sessions.end(call.visit.session)
    call.visit.cookies[COOKIE] = ""
    return SUCCESS


COMMANDS = (
    Command(
        name="login",
        description="Logs a user into the server that is asked: a cookie and the session key stand in for signatures. "
        "Posted forms only.",
        arguments=Login,
        answer=LoginAnswer,
        run=_login,
        public=True,
        everywhere=True,
    ),
    Command(
        name="logout",
        description="Logs out the user",
        arguments=Logout,
        answer=Success,
        run=_logout,
        public=True,
        everywhere=True,
    ),
)
