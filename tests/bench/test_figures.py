"""What a run prints is what it saw."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.cluster import count_established
from bench.figures import distribution, percentile

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:203A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:203A 0201007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0200007F:203A 0301007F:9C41 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 0200007F:203A 0301007F:9C42 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
   4: 0301007F:9C41 0200007F:203A 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0 20 4 30 10 -1
   5: 0200007F:203A 0301007F:9C43 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0
"""
"""A listener, three accepted connections, the other end of one of them, and one in TIME_WAIT; 0x203A is 8250.

The other end has the inode 5."""


class FiguresTests(SynchronousTestCase):
    """Distributions."""

    def test_percentile(self) -> None:
        """So many percent do not exceed it, of one value as of many, in any order."""
        hundred = [float(number) for number in range(100, 0, -1)]
        self.assertEqual(percentile(hundred, 99), 99.0)
        self.assertEqual(percentile(hundred, 100), 100.0)
        self.assertEqual(percentile([3.0, 1.0, 2.0], 50), 2.0)
        self.assertEqual(percentile([7.0], 99), 7.0)

    def test_distribution(self) -> None:
        """An outlier is in the longest and not in the median."""
        self.assertEqual(distribution([0.1, 0.2, 9.0]), "median 0.200 s, p99 9.000 s, longest 9.000 s")


class CountEstablishedTests(SynchronousTestCase):
    """The kernel's table."""

    def test_only_accepted_and_established(self) -> None:
        """Neither listeners nor the agents' own ends nor what is over counts."""
        self.assertEqual(count_established(TABLE, 8250), {"127.0.0.1": 1, "127.0.0.2": 2})

    def test_other_ports(self) -> None:
        """Another port has other connections."""
        self.assertEqual(count_established(TABLE, 0x9C41), {"127.0.1.3": 1})
        self.assertEqual(count_established(TABLE, 1), {})

    def test_apart_from(self) -> None:
        """A connection that some process made is left out by its socket; others stay."""
        self.assertEqual(count_established(TABLE, 8250, {"5"}), {"127.0.0.1": 1, "127.0.0.2": 1})
        self.assertEqual(count_established(TABLE, 8250, {"99"}), {"127.0.0.1": 1, "127.0.0.2": 2})
