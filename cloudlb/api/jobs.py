"""Asynchronous jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from cloudlb.api.command import SUCCESS, Body, Call, Command, ListArguments, page_listing, recent_page
from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter, unknown_entity
from cloudlb.api.events import HOST, find_any_host, find_user
from cloudlb.api.host_answer import servers_by_id, show_host
from cloudlb.api.places import WITHOUT_EFFECT
from cloudlb.api.schema import Date, Key, as_answer, date, optional, shown
from cloudlb.api.servers import find_server
from cloudlb.api.times import FORMS, since
from cloudlb.domain.models import HostId, Job, JobStatus
from cloudlb.domain.ports import JobFilter, Transaction


@frozen(kw_only=True)
class JobAnswer:
    """A job and how it ended."""

    jobid: str | None = shown("the ID of the async job")
    accountid: str | None = shown("the account id that executed the async command")
    account: str | None = shown("the account that executed the async command")
    userid: str | None = shown("the user that executed the async command")
    cmd: str | None = shown("the async command executed")
    jobstatus: int | None = shown("the current job status: 0 pending, 1 succeeded, 2 failed")
    jobprocstatus: int | None = shown("the progress information of the job")
    jobresultcode: int | None = shown("the result code for the job")
    jobresulttype: str | None = shown("the result type")
    jobresult: dict[str, Any] | None = shown("the result, or errorcode and errortext")
    jobinstancetype: str | None = shown("the instance/entity object related to the job")
    jobinstanceid: str | None = shown("the unique ID of the instance/entity object related to the job")
    managementserverid: str | None = shown("the ID of the management server that has the job")
    managementservername: str | None = shown("the name of that management server")
    created: Date | None = shown("the created date of the job")
    completed: Date | None = shown("the completed date of the job")


def _show(
    txn: Transaction, hosts: set[HostId], result: Callable[[Job], dict[str, Any] | None]
) -> Callable[[Job], JobAnswer]:
    """How to show jobs about these hosts."""
    servers, names = servers_by_id(txn), txn.hosts.names(hosts)
    users, usernames = {user.id: user for user in txn.accounts.all()}, txn.accounts.usernames()

    def show(job: Job) -> JobAnswer:
        host, _ = names.get(job.host_id, (None, None)) if job.host_id is not None else (None, None)
        server, user = servers.get(job.server_id), users.get(job.account_id)
        return JobAnswer(
            jobid=job.uuid,
            accountid=user.uuid if user else None,
            account=usernames.get(job.account_id),
            userid=user.uuid if user else None,
            cmd=job.command,
            jobstatus=job.status.value,
            jobprocstatus=0,
            jobresultcode=job.result_code,
            jobresulttype="object" if job.status is not JobStatus.RUNNING else None,
            jobresult=result(job),
            jobinstancetype=HOST if host else None,
            jobinstanceid=host,
            managementserverid=server.uuid if server else None,
            managementservername=server.name if server else None,
            created=date(job.created),
            completed=date(job.completed),
        )

    return show


@frozen(kw_only=True)
class QueryAsyncJobResult:
    """Which job: the one of an id, or the latest one about a host."""

    jobid: Key | None = optional("the ID of the async job")
    resourceid: Key | None = optional("the ID or name of the host that the job is about", related="listHosts")
    resourcetype: str | None = optional(f"the type of the resource: {HOST}")


async def _query(call: Call, arguments: QueryAsyncJobResult) -> Body:
    _check_resource_type(arguments.resourceid, arguments.resourcetype)
    if (arguments.jobid is None) == (arguments.resourceid is None):
        raise ApiError(ErrorCode.PARAMETER, "queryAsyncJobResult needs either jobid or resourceid with resourcetype")

    def work(txn: Transaction) -> Body:
        job = _find(txn, arguments)
        hosts = set() if job.host_id is None else {job.host_id}
        # Not under an object's name, unlike most answers: clients read the fields right below the envelope.
        return as_answer(_show(txn, hosts, lambda job: _result(txn, job))(job))

    return await call.store.read(work)


def _find(txn: Transaction, arguments: QueryAsyncJobResult) -> Job:
    uuid = arguments.jobid
    if arguments.resourceid is not None:
        host_id = find_any_host(txn, "resourceid", arguments.resourceid)
        latest, _ = txn.jobs.list(JobFilter(host_id=host_id), 0, 1)
        if not latest:
            raise invalid_parameter("resourceid", "there is no job about the host")
        uuid = Key(latest[0].uuid)
    job = None if uuid is None else txn.jobs.get(uuid)
    if job is None:
        raise unknown_entity("jobid", uuid or "")
    return job


def _result(txn: Transaction, job: Job) -> dict[str, Any] | None:
    if job.status is JobStatus.RUNNING:
        # How far it is, of those that tell.
        return dict(job.result) or None
    if job.status is JobStatus.SUCCEEDED and "host_id" in job.result:
        # The job keeps which host it was, and shows it as it is now.
        host = txn.hosts.get(HostId(job.result["host_id"]))
        return {"host": as_answer(show_host(servers_by_id(txn))(host))} if host else dict(SUCCESS)
    return dict(job.result)


def _check_resource_type(resource: Key | None, kind: str | None) -> None:
    if kind is not None and kind.lower() != HOST.lower():
        raise invalid_parameter("resourcetype", f"{kind!r} is not {HOST}")
    if kind is not None and resource is None:
        raise ApiError(ErrorCode.PARAMETER, "resourcetype needs resourceid")


@frozen(kw_only=True)
class ListAsyncJobs(ListArguments):
    """Which jobs."""

    account: str | None = optional("list jobs by account")
    managementserverid: Key | None = optional(
        "the id of the management server that has the jobs", related="listManagementServers"
    )
    resourceid: Key | None = optional("the ID or name of the host that the jobs are about", related="listHosts")
    resourcetype: str | None = optional(f"the type of the resource: {HOST}")
    startdate: Date | None = optional(f"the time from which on they were started, included: {FORMS}")
    listall: bool | None = optional(WITHOUT_EFFECT)
    domainid: Key | None = optional(WITHOUT_EFFECT)
    isrecursive: bool | None = optional(WITHOUT_EFFECT)


async def _list(call: Call, arguments: ListAsyncJobs) -> Body:
    offset, limit = recent_page(arguments)
    _check_resource_type(arguments.resourceid, arguments.resourcetype)
    after = since("startdate", arguments.startdate)

    def work(txn: Transaction) -> Body:
        server, host = arguments.managementserverid, arguments.resourceid
        which = JobFilter(
            account_id=find_user(txn, arguments.account),
            server_id=None if server is None else find_server(txn, server).id,
            host_id=None if host is None else find_any_host(txn, "resourceid", host),
            after=after,
            keyword=arguments.keyword,
        )
        jobs, total = txn.jobs.list(which, offset, limit)
        hosts = {job.host_id for job in jobs if job.host_id is not None}
        return page_listing("asyncjobs", jobs, total, _show(txn, hosts, lambda job: dict(job.result) or None))

    return await call.store.read(work)


COMMANDS = (
    Command(
        name="queryAsyncJobResult",
        description="Retrieves the current status of asynchronous job.",
        arguments=QueryAsyncJobResult,
        answer=JobAnswer,
        run=_query,
    ),
    Command(
        name="listAsyncJobs",
        description="Lists asynchronous jobs. The results of those that succeeded are told by queryAsyncJobResult.",
        arguments=ListAsyncJobs,
        answer=JobAnswer,
        run=_list,
    ),
)
