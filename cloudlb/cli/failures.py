"""How commands that call the API fail: a status that scripts can tell apart, what happened, and what to do next."""

from __future__ import annotations

from typing import IO, Any

import click

FAILED = 1
"""It could not be done, or was refused. 2 is for wrong usage, which is click's."""
NOT_ALL = 3
"""It was done in part, or its time was over before: give the command again."""
NOT_REACHABLE = 6
"""The server does not answer, or not now; another one may."""
NOT_PERMITTED = 7
"""The key is not good, or its user has not the role."""
NOT_FOUND = 8
"""What was named is not there, or the name is that of several."""
INTERRUPTED = 130
"""Ctrl-C, as of any command of a shell."""


class Failure(click.ClickException):
    """It could not be done."""

    exit_code = FAILED

    def __init__(self, message: str, advice: str = "") -> None:
        """Say what happened, on one line, and what to do about it, on another one where there is something."""
        super().__init__(message)
        self.advice = advice

    def show(self, file: IO[Any] | None = None) -> None:
        """Print both on stderr."""
        super().show(file)
        if self.advice:
            click.echo(self.advice, file=file, err=file is None)


class Unreachable(Failure):
    """The server did not answer, or cannot do anything now; what it was asked may be done all the same."""

    exit_code = NOT_REACHABLE


class NotPermitted(Failure):
    """The server does not do this for this key."""

    exit_code = NOT_PERMITTED


class NotFound(Failure):
    """There is no such thing, or several are called so."""

    exit_code = NOT_FOUND
