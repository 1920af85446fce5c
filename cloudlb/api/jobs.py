"""Asynchronous jobs."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from cloudlb.api.command import SUCCESS, Body, Call, Command
from cloudlb.api.errors import unknown_entity
from cloudlb.api.hosts import servers_by_id, show_host
from cloudlb.api.schema import Date, Key, as_answer, date, required, shown
from cloudlb.domain.models import HostId, Job, JobStatus
from cloudlb.domain.ports import Transaction


@frozen(kw_only=True)
class JobAnswer:
    """A job and how it ended."""

    jobid: str | None = shown("the ID of the async job")
    accountid: str | None = shown("the account id that executed the async command")
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


@frozen(kw_only=True)
class QueryAsyncJobResult:
    """Which job."""

    jobid: Key = required("the ID of the async job")


async def _query_async_job_result(call: Call, arguments: QueryAsyncJobResult) -> Body:
    def work(txn: Transaction) -> Body:
        job = txn.jobs.get(arguments.jobid)
        if job is None:
            raise unknown_entity("jobid", arguments.jobid)
        host = txn.hosts.get(job.host_id) if job.host_id is not None else None
        server = servers_by_id(txn).get(job.server_id)
        own = job.account_id == call.account.id
        # Not under an object's name, unlike every other answer: clients read the fields right below the envelope.
        return as_answer(
            JobAnswer(
                jobid=job.uuid,
                accountid=call.account.uuid if own else None,
                userid=call.account.uuid if own else None,
                cmd=job.command,
                jobstatus=job.status.value,
                jobprocstatus=0,
                jobresultcode=job.result_code,
                jobresulttype="object" if job.status is not JobStatus.RUNNING else None,
                jobresult=_result(txn, job),
                jobinstancetype="Host" if host else None,
                jobinstanceid=host.uuid if host else None,
                managementserverid=server.uuid if server else None,
                managementservername=server.name if server else None,
                created=date(job.created),
                completed=date(job.completed),
            )
        )

    return await call.store.read(work)


def _result(txn: Transaction, job: Job) -> dict[str, Any] | None:
    if job.status is JobStatus.RUNNING:
        # How far it is, of those that tell.
        return dict(job.result) or None
    if job.status is JobStatus.SUCCEEDED and "host_id" in job.result:
        # The job keeps which host it was, and shows it as it is now.
        host = txn.hosts.get(HostId(job.result["host_id"]))
        return {"host": as_answer(show_host(servers_by_id(txn))(host))} if host else dict(SUCCESS)
    return dict(job.result)


COMMANDS = (
    Command(
        name="queryAsyncJobResult",
        description="Retrieves the current status of asynchronous job.",
        arguments=QueryAsyncJobResult,
        answer=JobAnswer,
        run=_query_async_job_result,
    ),
)
