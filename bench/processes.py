"""A management server as a child process, and what the kernel says of a process."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Usage:
    """What a process has used up."""

    cpu: float
    """Seconds, user and system."""
    anonymous: int
    """Bytes of anonymous memory."""
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read /proc."""
        proc = Path(f"/proc/{pid}")
        after_name = (proc / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(after_name[11]) + int(after_name[12])) / _TICKS
        rollup = (proc / "smaps_rollup").read_text().splitlines()
        anonymous = next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Anonymous:"))
        return cls(cpu, anonymous, len(list((proc / "fd").iterdir())))


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the kernel gives; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def make_deployment(folder: Path, servers: int, agents: int, *options: str) -> None:
    """Run `cloudlb init` for servers on 127.0.0.1, .2 and so on."""
    addresses = [option for n in range(servers) for option in ("--server", f"127.0.0.{n + 1}")]
    command = [sys.executable, "-m", "cloudlb.cli.main", "init", str(folder), *addresses, "--agents", str(agents)]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)


def wait_until_listening(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something accepts there; raise if the process ended or it takes too long."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the process for {address} ended with {process.returncode}")
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nothing listens on {address} port {port} after {START_TIMEOUT:.0f} s")


@contextmanager
def child(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child process, and end it by its own pid."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a child: politely, then not."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def server_command(folder: Path, address: str) -> list[str]:
    """What starts one server of a deployment."""
    config = folder / "servers" / address / "mgmt.properties"
    return [_script("twistd"), "-n", "--pidfile=", "cloudlb-mgmt", "--config", str(config)]


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
