"""How measured times are told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def distribution(seconds: Sequence[float]) -> str:
    """Median, 99th percentile and maximum, in words."""
    return (
        f"median {statistics.median(seconds):.3f} s, p99 {percentile(seconds, 99):.3f} s, longest {max(seconds):.3f} s"
    )
