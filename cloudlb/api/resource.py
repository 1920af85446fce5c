"""/client/api: from an HTTP request to a command and back.

A request is read, its signature checked, its command found, its parameters read and the command run, in this order:
nothing is told to whom did not sign. Neither a query nor a body ever reaches a log, they hold keys and signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from cloudlb.api.command import Call, Command
from cloudlb.api.context import ApiContext
from cloudlb.api.envelope import UNKNOWN_COMMAND, Written, error_body, write
from cloudlb.api.errors import ApiError, ErrorCode
from cloudlb.api.schema import read_arguments
from cloudlb.api.signature import verify
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.server_state import ServerState
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

    async def _answer(self, request: Request) -> _Answer:
        envelope, response = UNKNOWN_COMMAND, ""
        try:
            sent = _read_parameters(request)
            parameters = _lowered(sent)
            response = parameters.get("response", "")
            command = self._commands.get(parameters.get("command", ""))
            envelope = command.envelope if command is not None else envelope
            return _Answer(200, write(envelope, await self._call(command, sent, parameters), response))
        except ApiError as error:
            return _Answer(error.code, write(envelope, error_body(error), response))
        except StoreUnavailable as error:
            self.log.warn("a call of the API found the database away: {error}", error=str(error))
            unavailable = ApiError(ErrorCode.UNAVAILABLE, "the database is not available")
            return _Answer(unavailable.code, write(envelope, error_body(unavailable), response))
        except Exception:  # noqa: BLE001 a mistake of ours must reach the caller as an answer, and the log
            self.log.failure("{envelope} failed", envelope=envelope)
            internal = ApiError(ErrorCode.INTERNAL, "internal error; the server's log has the details")
            return _Answer(internal.code, write(envelope, error_body(internal), response))

    async def _call(
        self, command: Command[Any] | None, sent: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Mapping[str, Any]:
        store, key = self._context.store, parameters.get("apikey", "")
        account = verify(
            sent, await store.read(lambda txn: txn.accounts.key(key)), self._context.clock.seconds()
        )
        if command is None:
            name = parameters.get("command")
            raise ApiError(
                ErrorCode.UNSUPPORTED,
                f"The given command:{name} does not exist" if name else "Invalid request, no command sent",
            )
        if not command.only_reads and not command.everywhere and self._context.membership.state is not ServerState.UP:
            raise await self._ask_another(command.name)
        arguments = read_arguments(command.arguments, parameters, command.name)
        return await command.run(Call(context=self._context, account=account, commands=self._commands), arguments)

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
