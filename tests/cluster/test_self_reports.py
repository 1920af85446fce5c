"""Tests of what a server tells of its machine and itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cluster.machine import look
from cloudlb.cluster.self_reports import INTERVAL, SelfReports
from tests.api.world import NOW, ApiTestCase

STAT = "cpu  700 50 250 3000 5 6 7\ncpu0 700 50 250 3000\nbtime 1700000000\nprocesses 5\n"
MEMINFO = "MemTotal:       16384 kB\nMemFree:         100 kB\nMemAvailable:   8192 kB\nHugePages_Total:       0\n"


class MachineTests(SynchronousTestCase):
    """look()."""

    def setUp(self) -> None:
        """A machine's /proc."""
        self.proc = Path(self.mktemp())
        (self.proc / "self").mkdir(parents=True)
        for name, text in (("stat", STAT), ("meminfo", MEMINFO), ("self/statm", "300 100 20 1 0 90 0\n")):
            (self.proc / name).write_text(text, encoding="ascii")

    def test_figures(self) -> None:
        """Times in seconds, sizes in bytes, ticks of users, system and idle; JSON can carry all of it."""
        found = look(self.proc)
        page = os.sysconf("SC_PAGE_SIZE")
        self.assertEqual((1_700_000_000, [750, 250, 3000]), (found["booted"], found["cycles"]))
        self.assertEqual((2**24, 2**23), (found["memory"], found["free_memory"]))
        self.assertEqual((300 * page, 100 * page), (found["virtual_size"], found["resident"]))
        self.assertEqual(found, json.loads(json.dumps(found)))
        self.assertEqual(3, len(found["loads"]))

    def test_unreadable(self) -> None:
        """What cannot be read is left out, and nothing else."""
        (self.proc / "meminfo").write_text("nothing\n", encoding="ascii")
        (self.proc / "stat").unlink()
        found = look(self.proc)
        self.assertFalse({"booted", "cycles", "memory", "free_memory"} & found.keys())
        self.assertIn("resident", found)

    def test_this_machine(self) -> None:
        """What the tests run on tells all of it."""
        expected = {"kernel", "processors", "threads", "loads", "booted", "memory", "resident"}
        self.assertLessEqual(expected, look().keys())


class ReportTests(ApiTestCase):
    """From a server's report to whoever asks any server."""

    def test_reports(self) -> None:
        """Told at once and then once a minute, and shown with CloudStack's names and types."""
        threads = iter((7, 8))
        machine = {
            "distribution": "Debian 12",
            "kernel": "6.1",
            "booted": NOW - 100,
            "processors": 4,
            "loads": [0.5, 1.0, 2.0],
            "cycles": [20, 5, 75],
            "memory": 2**34,
            "free_memory": 2**33,
            "resident": 1000,
            "virtual_size": 2**31,
        }
        reports = SelfReports(self.database, self.membership, self.clock, lambda: {**machine, "threads": next(threads)})
        (before,) = self.call("listManagementServersMetrics")["managementserver"]
        self.assertNotIn("collectiontime", before)
        reports.start()
        self.addCleanup(reports.stop)
        (server,) = self.call("listManagementServers")["managementserver"]
        told = {"osdistribution": "Debian 12", "kernelversion": "6.1", "lastboottime": "2026-09-21T14:11:40+0000"}
        self.assertEqual({**server, **told}, server)
        (metrics,) = self.call("listManagementServersMetrics")["managementserver"]
        self.assertEqual(
            {
                **server,
                "availableprocessors": 4,
                "agentcount": 0,
                "heapmemoryused": 1000,
                "heapmemorytotal": 2**31,
                "threadstotalcount": 7,
                "systemmemorytotal": "16.00 GB",
                "systemmemoryfree": "8.00 GB",
                "systemmemoryvirtualsize": "2.00 GB",
                "systemloadaverages": [0.5, 1.0, 2.0],
                "systemcycleusage": [20, 5, 75],
                "cpuload": "25.00 %",
                "collectiontime": "2026-09-21T14:13:20+0000",
            },
            metrics,
        )
        self.clock.advance(INTERVAL)
        (metrics,) = self.call("listManagementServersMetrics")["managementserver"]
        self.assertEqual((8, "2026-09-21T14:14:20+0000"), (metrics["threadstotalcount"], metrics["collectiontime"]))
        (without,) = self.call("listManagementServersMetrics", system="false")["managementserver"]
        self.assertEqual({**server, "agentcount": 0}, without)
