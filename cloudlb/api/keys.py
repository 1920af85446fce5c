"""API keys: a user may have several pairs, so that a new one is in place before the old one goes."""

from __future__ import annotations

import secrets

from attrs import frozen

from cloudlb.api.command import SUCCESS, Body, Call, Command, ListArguments, Success, has_keyword, listing, single
from cloudlb.api.errors import invalid_parameter, unknown_entity
from cloudlb.api.schema import Date, Key, date, optional, required, shown
from cloudlb.api.times import FORMS, until
from cloudlb.api.users import find_user, tell
from cloudlb.domain.ports import Transaction
from cloudlb.domain.users import ApiKey


@frozen(kw_only=True)
class KeyAnswer:
    """A pair of keys."""

    id: str | None = shown("the ID of the pair")
    name: str | None = shown("the name of the pair")
    userid: str | None = shown("the ID of its user")
    username: str | None = shown("the name of its user")
    apikey: str | None = shown("the API key, which calls carry")
    secretkey: str | None = shown("the secret key, which signs them; told once, when the pair is issued")
    created: Date | None = shown("when it was issued")
    enddate: Date | None = shown("when it expires; not there: never")


def _show(key: ApiKey, *, secret: bool = False) -> KeyAnswer:
    return KeyAnswer(
        id=key.uuid,
        name=key.name,
        userid=key.account.uuid,
        username=key.account.username,
        apikey=key.api_key,
        secretkey=key.secret_key if secret else None,
        created=date(key.created),
        enddate=date(key.expires),
    )


@frozen(kw_only=True)
class RegisterKeys:
    """A new pair."""

    id: Key = required("User ID", related="listUsers")
    name: str | None = optional("what the pair is for")
    enddate: Date | None = optional(f"when it expires ({FORMS}); never unless given")


async def _register(call: Call, arguments: RegisterKeys) -> Body:
    now = call.context.clock.seconds()
    expires = until("enddate", arguments.enddate)
    if expires is not None and expires <= now:
        raise invalid_parameter("enddate", f"{arguments.enddate} is over")

    def work(txn: Transaction) -> ApiKey:
        account = find_user(txn, arguments.id)
        key = txn.accounts.add_key(
            account.id,
            name=arguments.name or "",
            api_key=secrets.token_urlsafe(48),
            secret_key=secrets.token_urlsafe(48),
            expires=expires,
            now=now,
        )
        tell(call, txn, "REGISTER.USER.KEY", f"user {account.username} was given a pair of API keys, {_named(key)}")
        return key

    return single("userkeys", _show(await call.store.run(work), secret=True))


@frozen(kw_only=True)
class ListKeys(ListArguments):
    """Which pairs."""

    userid: Key | None = optional("list keys of this user", related="listUsers")
    keypairid: Key | None = optional("list the pair of this ID", related="listUserKeys")


async def _list(call: Call, arguments: ListKeys) -> Body:
    def work(txn: Transaction) -> Body:
        user = find_user(txn, arguments.userid, "userid") if arguments.userid is not None else None
        asked = [
            key
            for key in txn.accounts.all_keys()
            if (user is None or key.account.id == user.id)
            and arguments.keypairid in (None, key.uuid)
            and has_keyword(key.name, arguments)
        ]
        if arguments.keypairid is not None and not asked:
            raise unknown_entity("keypairid", arguments.keypairid)
        return listing("userkeys", asked, arguments, _show)

    return await call.store.read(work)


@frozen(kw_only=True)
class DeleteKeys:
    """Which pair."""

    keypairid: Key = required("the ID of the pair", related="listUserKeys")


async def _delete(call: Call, arguments: DeleteKeys) -> Body:
    def work(txn: Transaction) -> None:
        for key in txn.accounts.all_keys():
            if key.uuid == arguments.keypairid:
                txn.accounts.remove_key(key.uuid)
                text = f"a pair of API keys of user {key.account.username} was deleted, {_named(key)}"
                tell(call, txn, "DELETE.USER.KEY", text)
                return
        raise unknown_entity("keypairid", arguments.keypairid)

    await call.store.run(work)
    return SUCCESS


def _named(key: ApiKey) -> str:
    return f"{key.name!r} ({key.uuid})" if key.name else key.uuid


COMMANDS = (
    Command(
        name="registerUserKeys",
        description="Issues another pair of API keys for a user; its secret is told now and never again",
        arguments=RegisterKeys,
        answer=KeyAnswer,
        run=_register,
    ),
    Command(
        name="listUserKeys",
        description="Lists the pairs of API keys of users, without their secrets",
        arguments=ListKeys,
        answer=KeyAnswer,
        run=_list,
    ),
    Command(
        name="deleteUserKeys",
        description="Revokes a pair of API keys, on every server at once",
        arguments=DeleteKeys,
        answer=Success,
        run=_delete,
    ),
)
