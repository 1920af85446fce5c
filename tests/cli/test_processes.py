"""Child processes: real ones, small and short."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.processes import (
    Daemon,
    DaemonFailed,
    PortInUse,
    check_free,
    interrupted_by_signals,
    stop_all,
    wait_until_listening,
)

LISTEN = """
import signal, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""
STARTER = """
import signal, sys
from pathlib import Path
from cloudlb.cli.processes import Daemon, wait_until_listening
daemon = Daemon("daemon", [sys.executable, "-c", sys.argv[1], sys.argv[2]], Path(sys.argv[3]))
daemon.start()
wait_until_listening([(daemon, [("127.0.0.1", int(sys.argv[2]))])], timeout=30)
print(daemon.pid, flush=True)
signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DaemonTests(SynchronousTestCase):
    """The life of child processes."""

    def daemon(self, script: str, *arguments: str) -> Daemon:
        """A small Python program as a daemon, which does not outlive the test."""
        log = Path(self.mktemp()) / "logs" / "daemon.log"
        daemon = Daemon("small daemon", [sys.executable, "-c", script, *arguments], log)
        self.addCleanup(daemon.kill)
        return daemon

    def test_waits_until_it_listens_and_ends_it(self) -> None:
        """Started, listening, asked to end, ended: and its port is free again."""
        port = free_port()
        daemon = self.daemon(LISTEN, str(port))
        daemon.start()
        wait_until_listening([(daemon, [("127.0.0.1", port)])], timeout=30)
        with self.assertRaises(PortInUse) as raised:
            check_free([("127.0.0.1", port)])
        self.assertIn(f"127.0.0.1:{port}", str(raised.exception))
        stop_all([daemon])
        self.assertEqual(daemon.exit_status, -signal.SIGTERM)
        check_free([("127.0.0.1", port)])

    def test_may_be_started_again_after_kill(self) -> None:
        """A server that was killed comes back as another process, with the same log."""
        daemon = self.daemon("import sys; print('here', flush=True); sys.stdin.read()")
        for _ in range(2):
            daemon.start()
            self.assertTrue(daemon.wait(30))
        self.assertEqual(daemon.log.read_text(encoding="utf-8"), "here\nhere\n")
        daemon.kill()
        self.assertEqual(daemon.exit_status, 0)

    def test_an_early_end_is_told_with_the_log(self) -> None:
        """Whoever waits for a daemon that has died learns of it at once, and why it died."""
        daemon = self.daemon("import sys; sys.exit('no database')")
        daemon.start()
        with self.assertRaises(DaemonFailed) as raised:
            wait_until_listening([(daemon, [("127.0.0.1", free_port())])], timeout=30)
        self.assertIn("small daemon ended with status 1", str(raised.exception))
        self.assertIn("no database", str(raised.exception))

    def test_a_deaf_daemon_is_told_after_the_timeout(self) -> None:
        """A daemon that runs and does not listen is an error, not an endless wait."""
        daemon = self.daemon("import signal; signal.pause()")
        daemon.start()
        with self.assertRaises(DaemonFailed) as raised:
            wait_until_listening([(daemon, [("127.0.0.1", free_port())])], timeout=0.2)
        self.assertIn("does not listen", str(raised.exception))

    def test_kills_who_does_not_end_by_itself(self) -> None:
        """SIGTERM first; SIGKILL for whoever ignores it."""
        daemon = self.daemon(STUBBORN)
        daemon.start()
        while b"ready" not in daemon.log.read_bytes():
            self.assertTrue(daemon.running)
        stop_all([daemon], timeout=0.2)
        self.assertEqual(daemon.exit_status, -signal.SIGKILL)

    def test_no_daemon_outlives_a_kill_of_its_starter(self) -> None:
        """SIGKILL leaves no time to clean up; the next start must find the ports free all the same."""
        port, log = free_port(), Path(self.mktemp())
        arguments = [sys.executable, "-c", STARTER, LISTEN, str(port), str(log)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as starter:
            self.addCleanup(starter.kill)
            assert starter.stdout is not None
            daemon = os.pidfd_open(int(starter.stdout.readline()))
            self.addCleanup(os.close, daemon)
            starter.kill()
        ended, _, _ = select.select([daemon], [], [], 30)
        self.assertEqual([daemon], ended)
        check_free([("127.0.0.1", port)])

    def test_no_daemon_without_its_starter(self) -> None:
        """Whoever starts a daemon may be gone before the daemon can ask the kernel to watch it."""
        bound = [sys.executable, "-m", "cloudlb.cli.bound", str(os.getppid()), "echo", "here"]
        ended = subprocess.run(bound, capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((1, ""), (ended.returncode, ended.stdout))
        self.assertIn("is gone", ended.stderr)

    def test_an_address_of_another_machine(self) -> None:
        """An address that this machine does not have is named before anything starts."""
        with self.assertRaises(PortInUse) as raised:
            check_free([("192.0.2.1", 8250)])
        self.assertIn("192.0.2.1:8250", str(raised.exception))

    def test_sigterm_interrupts_like_ctrl_c(self) -> None:
        """The block can clean up after itself; afterwards the signal is what it was."""
        before = signal.getsignal(signal.SIGTERM)
        with self.assertRaises(KeyboardInterrupt), interrupted_by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 5)
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
