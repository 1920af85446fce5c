"""Run histories by their seeds: ``python -m tests.simulation --seeds 1-1000``; see docs/simulation.md."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from attrs import frozen
from twisted.logger import globalLogBeginner

from tests.simulation.history import History, Report
from tests.simulation.plan import draw_plan

PROGRESS = 10.0
"""Seconds between lines of progress."""


@frozen
class Options:
    """What overrides what a seed draws; part of the command that replays it."""

    servers: int | None
    agents: int | None
    minutes: float | None

    def __str__(self) -> str:
        given = {"--servers": self.servers, "--agents": self.agents, "--minutes": self.minutes}
        return "".join(f" {name} {value:g}" for name, value in given.items() if value is not None)


def run(options: Options, seed: int, *, show: bool = False) -> tuple[Report, float]:
    """Run one history; how it ended, and the seconds of CPU that it took."""
    begun = time.process_time()
    plan = draw_plan(seed, servers=options.servers, agents=options.agents, minutes=options.minutes)
    if show:
        say(str(plan))
    return History(plan, show=show).run(), time.process_time() - begun


def replay(options: Options, seed: int) -> str:
    """The command that shows a history again."""
    return f"python -m tests.simulation --seed {seed}{options} --trace"


def say(line: str) -> None:
    """Print."""
    print(line, flush=True)


def failed(options: Options, report: Report) -> None:
    """Say what failed, and how to see it again."""
    say(f"\nFAILED {report.plan}")
    for line in report.last[-25:]:
        say(f"    {line}")
    for problem in report.problems:
        say(f"  {problem}")
    say(f"  replay: {replay(options, report.plan.seed)}\n")


def run_all(options: Options, seeds: Sequence[int], processes: int) -> int:
    """Run histories in processes of their own; how many failed."""
    begun = told = time.monotonic()
    failures, counts, settled, cpu = list[int](), Counter[str](), 0.0, 0.0
    for done, (report, seconds) in enumerate(_reports(options, seeds, processes), 1):
        counts += report.counts
        cpu += seconds
        settled = max(settled, report.settled)
        if report.problems:
            failures.append(report.plan.seed)
            failed(options, report)
        if time.monotonic() - told > PROGRESS or done == len(seeds):
            told = time.monotonic()
            say(
                f"{done} of {len(seeds)} histories, {len(failures)} failed, {told - begun:.0f} s, "
                f"{cpu / done:.1f} s of CPU each; {counts['jobs'] + counts['sent']} commands, "
                f"{counts['carried out']} carried out; at rest after {settled:.0f} s at the latest"
            )
    if failures:
        say(f"failed: {' '.join(map(str, sorted(failures)))}")
    else:
        say(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return len(failures)


def _reports(options: Options, seeds: Sequence[int], processes: int) -> Iterator[tuple[Report, float]]:
    work = partial(run, options)
    if processes == 1:
        yield from map(work, seeds)
        return
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=50) as pool:
        yield from pool.imap_unordered(work, seeds)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(arguments: Sequence[str]) -> int:
    """Run; the exit code is 1 if a history failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", "--seed", type=_seeds, default=range(1, 101), help="17 or 1-1000 (default: 1-100)")
    parser.add_argument("--servers", type=int, help="how many servers every history has (drawn: 3 to 5)")
    parser.add_argument("--agents", type=int, help="how many agents (drawn: 20 to 50)")
    parser.add_argument("--minutes", type=float, help="how long the faults last (drawn: 1 to 3)")
    parser.add_argument("--big", action="store_true", help="10 servers and 1,000 agents, unless said otherwise")
    parser.add_argument("--processes", type=int, default=1, help="how many histories run at a time (default: 1)")
    parser.add_argument("--trace", action="store_true", help="show every step and every line that is logged")
    given = parser.parse_args(arguments)
    # What is logged of defects is told with the history that it belongs to.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    options = Options(
        given.servers or (10 if given.big else None), given.agents or (1000 if given.big else None), given.minutes
    )
    if not given.trace:
        return 1 if run_all(options, given.seeds, given.processes) else 0
    bad = False
    for seed in given.seeds:
        report, _ = run(options, seed, show=True)
        if report.problems:
            bad = True
            failed(options, report)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
