"""/client/api: from an HTTP request to a command and back.

A request is read, its signature or session checked, its command found, its parameters read and the command run, in
this order: nothing is told to whom did not sign or log in. Neither a query nor a body ever reaches a log, they hold
keys and signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from cloudlb.api.command import Call, Command, Visit
from cloudlb.api.context import ApiContext
from cloudlb.api.envelope import UNKNOWN_COMMAND, Written, error_body, write
from cloudlb.api.errors import ApiError, ErrorCode
from cloudlb.api.schema import read_arguments
from cloudlb.api.sessions import FRESH, Session
from cloudlb.api.signature import unauthorized, verify
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.users import Account, Role
from cloudlb.net.sparse_log import SparseLog
from cloudlb.net.spawn import spawn

MAX_PARAMETERS = 256
_FORM = b"application/x-www-form-urlencoded"


@frozen
class _Answer:
    status: int
    written: Written


class ApiResource(Resource):
    """The one endpoint of the API."""

    log = Logger()

    def __init__(self, context: ApiContext, commands: Mapping[str, Command[Any]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._context = context
        self._commands = commands
        self._outages = SparseLog(context.clock, self.log)
        self._by_role = {
            role: {name: command for name, command in commands.items() if command.is_for(role)} for role in Role
        }

    def render(self, request: Request) -> int:
        """Answer any request, later."""
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        spawn(self._render(request, gone), self.log, "answer a call of the API")
        return NOT_DONE_YET

    async def _render(self, request: Any, gone: list[object]) -> None:
        # Any: Twisted's request has no types for what writes.
        answer = await self._answer(request)
        if gone:
            return
        request.setResponseCode(answer.status, _REASONS.get(answer.status))
        request.setHeader(b"Content-Type", answer.written.content_type.encode())
        request.setHeader(b"Content-Length", str(len(answer.written.content)).encode())
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        # Twisted drops the body of an answer to HEAD.
        request.write(answer.written.content)
        request.finish()

    async def _answer(self, request: Any) -> _Answer:
        envelope, response = UNKNOWN_COMMAND, ""
        try:
            sent = _read_parameters(request)
            parameters = _lowered(sent)
            response = parameters.get("response", "")
            command = self._commands.get(parameters.get("command", ""))
            envelope = command.envelope if command is not None else envelope
            visit = Visit(
                address=getattr(request.getClientAddress(), "host", ""),
                is_secure=request.isSecure(),
                is_form=b"?" not in request.uri,
                session=self._context.sessions.find(request, parameters.get("sessionkey", "")),
            )
            body = await self._call(visit, command, sent, parameters)
            _set_cookies(request, visit)
            return _Answer(200, write(envelope, body, response))
        except ApiError as error:
            return _Answer(error.code, write(envelope, error_body(error), response))
        except StoreUnavailable as error:
            self._outages.warn("a call of the API found the database away: {error}", error=str(error))
            unavailable = ApiError(ErrorCode.UNAVAILABLE, "the database is not available")
            return _Answer(unavailable.code, write(envelope, error_body(unavailable), response))
        except Exception:  # noqa: BLE001 a mistake of ours must reach the caller as an answer, and the log
            self.log.failure("{envelope} failed", envelope=envelope)
            internal = ApiError(ErrorCode.INTERNAL, "internal error; the server's log has the details")
            return _Answer(internal.code, write(envelope, error_body(internal), response))

    async def _call(
        self, visit: Visit, command: Command[Any] | None, sent: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Mapping[str, Any]:
        is_public = command is not None and command.public
        caller = None if is_public else await self._caller(visit, sent, parameters)
        if command is None:
            name = parameters.get("command")
            raise ApiError(
                ErrorCode.UNSUPPORTED,
                f"The given command:{name} does not exist" if name else "Invalid request, no command sent",
            )
        if not command.only_reads and not command.everywhere and self._context.membership.state is not ServerState.UP:
            raise await self._ask_another(command.name)
        if caller is not None:
            _permit(command, caller)
        if visit.session is not None and not (command.only_reads or command.personal or command.public):
            self._ask_for_password(visit.session)
        arguments = read_arguments(command.arguments, parameters, command.name)
        commands = self._commands_of(caller)
        return await command.run(Call(context=self._context, visit=visit, caller=caller, commands=commands), arguments)

    async def _caller(self, visit: Visit, sent: Mapping[str, str], parameters: Mapping[str, str]) -> Account:
        """Who has signed the call, or has logged in and makes it by that session."""
        store, session, key = self._context.store, visit.session, parameters.get("apikey", "")
        if session is None or key:
            pair = await store.read(lambda txn: txn.accounts.key(key))
            return verify(sent, pair, self._context.clock.seconds())
        account = await store.read(lambda txn: txn.accounts.get(session.account_id))
        if account is None or not session.is_of(account):
            self._context.sessions.end(session)
            raise unauthorized()
        return account

    def _ask_for_password(self, session: Session) -> None:
        if not self._context.sessions.is_fresh(session):
            minutes = FRESH // 60
            raise ApiError(
                ErrorCode.UNAUTHORIZED,
                f"log in again: changes are made within {minutes:.0f} minutes after the password was given",
            )

    def _commands_of(self, caller: Account | None) -> Mapping[str, Command[Any]]:
        if caller is None:
            return {}
        return self._by_role[caller.role]

    async def _ask_another(self, command: str) -> ApiError:
        """Why this server, which is not Up, does not change anything, and who does."""
        servers = await self._context.store.read(lambda txn: txn.servers.all())
        own = self._context.membership.own
        up = [f"{server.name} ({server.address})" for server in servers if server.state is ServerState.UP]
        return ApiError(
            ErrorCode.UNAVAILABLE,
            f"management server {own.name} is {self._context.membership.state.value} and takes no {command}; "
            + (f"call {up[0]}" if up else "no other management server is Up"),
        )


def _permit(command: Command[Any], caller: Account) -> None:
    if not command.is_for(caller.role):
        raise ApiError(
            ErrorCode.UNSUPPORTED,
            f"The API {command.name} does not exist or is not available for the account {caller.username}, "
            f"whose role is {caller.role.value}",
        )


def _set_cookies(request: Any, visit: Visit) -> None:
    for name, value in visit.cookies.items():
        request.addCookie(
            name,
            value,
            path=b"/",
            httpOnly=True,
            sameSite=b"strict",
            secure=visit.is_secure,
            max_age=None if value else b"0",
        )


_REASONS: Mapping[int, bytes] = {code: code.name.replace("_", " ").title().encode() for code in ErrorCode}


def _read_parameters(request: Request) -> dict[str, str]:
    """Read the parameters of the query, and of a form that was posted, named as they were sent."""
    if request.method not in (b"GET", b"HEAD", b"POST"):
        raise ApiError(ErrorCode.METHOD_NOT_ALLOWED, "the API takes GET and POST")
    parts = [request.uri.partition(b"?")[2]]
    if request.method == b"POST":
        content_type = (request.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
        assert request.content is not None
        posted = request.content.read()
        if posted and content_type != _FORM:
            raise ApiError(ErrorCode.BAD_REQUEST, f"a POST must carry a form, {_FORM.decode()}")
        parts.append(posted)
    try:
        pairs = [
            pair
            for part in parts
            for pair in parse_qsl(
                part.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
            )
        ]
    except ValueError as error:
        raise ApiError(
            ErrorCode.BAD_REQUEST, f"the parameters are not URL-encoded UTF-8, or more than {MAX_PARAMETERS}"
        ) from error
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise ApiError(ErrorCode.BAD_REQUEST, "a parameter stands twice")
    return parameters


def _lowered(sent: Mapping[str, str]) -> dict[str, str]:
    parameters = {name.lower(): value for name, value in sent.items()}
    if len(parameters) != len(sent):
        raise ApiError(ErrorCode.BAD_REQUEST, "a parameter stands twice")
    return parameters
