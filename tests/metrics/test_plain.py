"""The counter and the histogram of hot paths, against those of prometheus_client."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.metrics.plain import Tally, Times

BOUNDS = (0.001, 0.25, 1.0, 10.0)


def shown(registry: CollectorRegistry) -> list[str]:
    """What Prometheus reads, but for when each metric was made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


class PlainTests(SynchronousTestCase):
    """Prometheus cannot tell them apart."""

    @given(st.lists(st.one_of(st.sampled_from(BOUNDS), st.floats(0, 20))))
    def test_histogram(self, durations: list[float]) -> None:
        """A bound belongs to the bucket that it ends."""
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        times = Times("x_seconds", "Help.", BOUNDS)
        ours.register(times)
        histogram = Histogram("x_seconds", "Help.", buckets=BOUNDS, registry=theirs)
        for duration in durations:
            times.observe(duration)
            histogram.observe(duration)
        self.assertEqual(shown(theirs), shown(ours))

    def test_counter(self) -> None:
        """It counts, and its name ends as counters' do."""
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        tally = Tally("x", "Help.")
        ours.register(tally)
        Counter("x", "Help.", registry=theirs).inc(3)
        tally.count += 3
        self.assertEqual(shown(theirs), shown(ours))
