"""One command of the API, and the shapes of what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from attrs import field, frozen

from cloudlb.api.context import ApiContext
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter
from cloudlb.api.schema import FIRST_RELEASE, as_answer, optional, shown
from cloudlb.api.sessions import Session
from cloudlb.domain.models import HostId, JobStatus
from cloudlb.domain.ports import Store, Transaction
from cloudlb.domain.users import Account, Role

A = TypeVar("A")
T = TypeVar("T")

Body = Mapping[str, Any]
"""What stands under the one key of the envelope."""

MAX_PAGE_SIZE = 500
_UNLIMITED = -1


@frozen(kw_only=True)
class Visit:
    """The request that a call came with, as far as logging in and out go."""

    address: str
    """Where it came from."""
    is_secure: bool
    """Whether it came encrypted."""
    is_form: bool
    """Whether its parameters are in no URL."""
    session: Session | None = None
    """Of who has logged in and did not sign."""
    cookies: dict[str, str] = field(factory=dict, repr=False)
    """To be set by the answer; an empty one is to be forgotten."""


@frozen(kw_only=True)
class Call:
    """Who calls, and what the command may use."""

    context: ApiContext
    visit: Visit
    caller: Account | None
    """None where anybody may call."""
    commands: Mapping[str, Command[Any]] = field(repr=False)
    """Those that the caller may call."""

    @property
    def account(self) -> Account:
        """Who calls a command that not everybody may call."""
        assert self.caller is not None
        return self.caller

    @property
    def store(self) -> Store:
        """The database."""
        return self.context.store


@frozen(kw_only=True)
class Command(Generic[A]):
    """A row of the table: everything that is known of a command."""

    name: str
    description: str
    arguments: type[A]
    """Its parameters, an attrs class (cloudlb.api.schema)."""
    answer: type[Any]
    """The object that it answers with; for an asynchronous command, the result of its job."""
    run: Callable[[Call, A], Awaitable[Body]]
    is_async: bool = False
    everywhere: bool = False
    """Whether a server that is not Up answers it, too, although it changes something."""
    reads: bool = False
    """Whether it changes nothing, although its verb does not say so."""
    personal: bool = False
    """Whether it is for users who may only read, too: it changes what is theirs."""
    public: bool = False
    """Whether anybody may call it, without a signature or session."""
    extension: bool = False
    """Whether CloudStack has no such command."""
    since: str = FIRST_RELEASE

    @property
    def only_reads(self) -> bool:
        """Whether it changes nothing."""
        return self.reads or self.name.startswith(("list", "query", "get"))

    def is_for(self, role: Role) -> bool:
        """Whether users of a role may call it."""
        return role is Role.ADMINISTRATOR or self.only_reads or self.personal or self.public

    @property
    def envelope(self) -> str:
        """The top-level key of its answers."""
        return f"{self.name.lower()}response"


@frozen(kw_only=True)
class ListArguments:
    """What every listing takes."""

    keyword: str | None = optional("list what has this text in its name, in any case")
    page: int | None = optional("the number of the page, from 1; needs pagesize")
    pagesize: int | None = optional(f"how many to list at once, up to {MAX_PAGE_SIZE}; needs page")


@frozen(kw_only=True)
class Success:
    """The answer of a command that has nothing to show."""

    success: bool | None = shown("true if the operation was executed successfully")


SUCCESS: Body = {"success": True}


def has_keyword(name: str, arguments: ListArguments) -> bool:
    """Tell whether a name is among those that ``keyword`` asks for."""
    return arguments.keyword is None or arguments.keyword.lower() in name.lower()


def listing(
    object_name: str, rows: Sequence[T], arguments: ListArguments, render: Callable[[T], object] = lambda row: row
) -> Body:
    """Answer with the asked page of rows; without paging, with all. An empty list has no keys at all."""
    offset, limit = page_of(arguments)
    page = rows[offset:] if limit is None else rows[offset : offset + limit]
    return page_listing(object_name, page, len(rows), render)


def page_listing(
    object_name: str, page: Sequence[T], total: int, render: Callable[[T], object] = lambda row: row
) -> Body:
    """Answer with a page of rows that the database has cut out, as :func:`listing` does."""
    if not total:
        return {}
    # Past the last page there is only "count": clients take any other key for the list.
    return {"count": total, **({object_name: [as_answer(render(row)) for row in page]} if page else {})}


def page_of(arguments: ListArguments) -> tuple[int, int | None]:
    """Which rows are asked for: how many to leave out, and how many to list at most; an error if none can be."""
    number, size = arguments.page, arguments.pagesize
    if size is not None and not (0 < size <= MAX_PAGE_SIZE or size == _UNLIMITED):
        raise invalid_parameter("pagesize", f"{size} is not between 1 and {MAX_PAGE_SIZE}")
    if number is not None and number < 1:
        raise invalid_parameter("page", f"{number} is not a page; the first is 1")
    if number is None and size not in (None, _UNLIMITED):
        raise ApiError(ErrorCode.PARAMETER, '"page" parameter is required when "pagesize" is specified')
    if number is not None and size is None:
        raise ApiError(ErrorCode.PARAMETER, '"pagesize" parameter is required when "page" is specified')
    if number is None or size is None or size == _UNLIMITED:
        return 0, None
    return (number - 1) * size, size


def recent_page(arguments: ListArguments) -> tuple[int, int]:
    """The same for what is kept of the past, of which nobody wants the whole: without paging the newest."""
    offset, limit = page_of(arguments)
    return offset, MAX_PAGE_SIZE if limit is None else limit


def single(object_name: str, value: object) -> Body:
    """Answer with one object under its name."""
    return {object_name: as_answer(value)}


def started(job_uuid: str) -> Body:
    """Answer that an asynchronous command is under way."""
    return {"jobid": job_uuid}


def ended(
    call: Call, txn: Transaction, command: str, result: Body, *, host_id: HostId | None = None, now: float
) -> Body:
    """Answer with a job that has ended: the command is one in CloudStack, and here there is nothing to wait for."""
    own = call.context.membership.own.id
    job, _ = txn.jobs.start(command=command, account_id=call.account.id, server_id=own, host_id=host_id, now=now)
    txn.jobs.finish(job.uuid, JobStatus.SUCCEEDED, 0, result, now)
    return started(job.uuid)


def table_of(commands: Iterable[Command[Any]]) -> Mapping[str, Command[Any]]:
    """Index commands by name; a name that stands twice is a mistake of ours."""
    table: dict[str, Command[Any]] = {}
    for command in commands:
        assert command.name not in table, f"{command.name} is registered twice"
        table[command.name] = command
    return table
