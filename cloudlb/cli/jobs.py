"""Waiting for a job that a command has started."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from cloudlb.cli.client import Client, Row
from cloudlb.cli.failures import INTERRUPTED, Failure, Unreachable
from cloudlb.cli.tables import printable

FIRST_PAUSE = 0.05
LAST_PAUSE = 1.0
"""Seconds between looks at the job, which grow from the one to the other."""
PROGRESS_INTERVAL = 5.0
"""Seconds between lines that say that it takes its time."""
PATIENCE = 30.0
"""Seconds that the server may be away while its answer is waited for."""


class JobFailed(Failure):
    """A job ended with an error."""

    def __init__(self, result: Row) -> None:
        super().__init__(printable(str(result["errortext"])))
        self.result = result


def wait_for_job(
    client: Client, job: str, waiting: str, progress: Callable[[Row], object] = lambda result: None
) -> Row:
    """Wait until a job has ended; its result.

    A job that has failed ends the command with the reason, and status 1. Every now and then a line on stderr says what
    is waited for: ``waiting``, as in "agent-1 has not answered". ``progress`` is given what a job that tells how far it
    is has told.

    Raises:
        JobFailed: the job has failed.
    """
    began = told = heard = time.monotonic()
    pause = FIRST_PAUSE
    try:
        while True:
            now = time.monotonic()
            if now - told >= PROGRESS_INTERVAL:
                told = now
                click.echo(f"job {job}: {waiting} for {now - began:.0f} s", err=True)
            try:
                state = client.call("queryAsyncJobResult", jobid=job)
            except Unreachable as error:
                if now - heard > PATIENCE:
                    raise Unreachable(
                        f"{error.message}. The job goes on; see how it ends with: {lookup(job)}", error.advice
                    ) from error
            else:
                heard = time.monotonic()
                if state["jobstatus"]:
                    return _result(state)
                if "jobresult" in state:
                    progress(state["jobresult"])
            time.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)
    except KeyboardInterrupt:
        click.echo(f"The job goes on; see how it ends with: {lookup(job)}", err=True)
        sys.exit(INTERRUPTED)


def lookup(job: str) -> str:
    """The command that shows how far a job is, or how it has ended."""
    return f"cs queryAsyncJobResult jobid={job}"


def _result(state: Row) -> Row:
    result: Row = state["jobresult"]
    if state["jobresultcode"]:
        raise JobFailed(result)
    return result
