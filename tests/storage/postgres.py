"""A PostgreSQL for the tests: one for a whole run, with an empty database for each test."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import psycopg
from attrs import define, field
from sqlalchemy import delete
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.storage.migrate import upgrade
from cloudlb.storage.schema import metadata

_PATIENCE = 30.0
"""Seconds in which PostgreSQL must have started, and must have ended."""

# Nobody needs the data after the run.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    # Milliseconds until it looks whether those who wait for each other wait for ever.
    "deadlock_timeout": "50",
}


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, None where it is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    # Debian keeps them out of PATH.
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: -float(folder.parent.name))
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


# Numbers begin anew too.
_EMPTY = ";".join(
    [str(delete(table)) for table in reversed(metadata.sorted_tables)]
    + ["SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"]
)


MISSING = None if programs() else "PostgreSQL is not installed"
"""Why tests that need it are skipped."""


def _unprivileged() -> list[str]:
    """What runs a program as nobody when root runs the tests, as whom PostgreSQL refuses to run.

    It also ends the program when this process was killed and cannot do so.
    """
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--pdeathsig=INT"]


@define
class Engine:
    """A PostgreSQL of our own, in a folder of its own, reached by a socket in it."""

    folder: Path
    _process: subprocess.Popen[bytes] | None = None
    _numbers: count[int] = field(factory=lambda: count(1))
    _idle: list[str] = field(factory=list)

    @classmethod
    def create(cls) -> Engine:
        """Make its data; it does not run yet."""
        folder = Path(tempfile.mkdtemp(prefix="cloudlb-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        options = ["--username=cloudlb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        engine = cls(folder)
        subprocess.run(
            [*engine._program("initdb"), *options, "--pgdata", folder / "data"],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        return engine

    def start(self) -> None:
        """Run it until :meth:`stop`; returns when it takes connections."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._program("postgres"),
                    *("-D", self.folder / "data"),
                    *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.execute("postgres", "SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End it without waiting for its clients, and before it has written much."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_PATIENCE)
            self._process = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Have it and all of its processes stand still for a while; their connections stay open."""
        assert self._process is not None
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        # Its own first: it starts again what it sees end.
        pids = [main, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and drop its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://cloudlb@/{database}?host={self.folder}"

    def execute(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Do something behind the back of everybody."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return name

    def lend(self) -> str:
        """The name of a migrated database without any row; it has to be given back."""
        if not self._idle:
            self._idle.append(name := self.new_database())
            upgrade(self.url(name))
        return self._idle.pop()

    def give_back(self, name: str) -> None:
        """Empty a database for the next test, which is much faster than making one."""
        self.execute(name, _EMPTY)
        self._idle.append(name)

    def _program(self, name: str) -> list[str]:
        folder = programs()
        assert folder is not None, MISSING
        return [*_unprivileged(), str(folder / name)]


@cache
def engine() -> Engine:
    """The one of this run: it ends with the process."""
    made = Engine.create()
    atexit.register(made.remove)
    made.start()
    return made


def new_database(test: SynchronousTestCase) -> str:
    """The URL of a migrated, empty database that is the test's until its end."""
    name = engine().lend()
    test.addCleanup(engine().give_back, name)
    return engine().url(name)
