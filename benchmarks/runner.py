"""Times whole processes in turn, as the kernel accounts for them.

Machines are noisy, so that a single time means little: the contestants of a case run one after the other, round by
round, with the package in the page cache, and what is reported is the median and its ratio to the best peer.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """One command of a case.

    Attributes:
        name: for the table.
        argv: the command; its output file is removed before each run.
        is_ours: whether it is virt-ova.
    """

    name: str
    argv: Sequence[str]
    is_ours: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Contestants that do the same work; the first is the subject of the ratios."""

    name: str
    contestants: Sequence[Contestant]
    output: Path


@dataclass(kw_only=True, slots=True)
class Timing:
    """What the runs of one contestant took: seconds, and bytes of the largest resident set."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)

    def document(self) -> dict[str, float]:
        """Medians, for JSON."""
        return {
            "wall_seconds": round(statistics.median(self.wall), 3),
            "cpu_seconds": round(statistics.median(self.cpu), 3),
            "peak_bytes": max(self.peak),
            "runs": len(self.wall),
        }


def run_case(case: Case, *, rounds: int, say: Callable[[str], None]) -> dict[str, Timing]:
    """Run every contestant `rounds` times, in turn, after one run each that does not count.

    What the run before left to be written, or to be freed, is not counted either.
    """
    timings = {contestant.name: Timing() for contestant in case.contestants}
    for number in range(rounds + 1):
        for contestant in case.contestants:
            case.output.unlink(missing_ok=True)
            os.sync()
            wall, cpu, peak = _run(contestant.argv)
            say(f"{case.name}: {contestant.name}: {wall:.2f} s")
            if number:
                timing = timings[contestant.name]
                timing.wall.append(wall)
                timing.cpu.append(cpu)
                timing.peak.append(peak)
    case.output.unlink(missing_ok=True)
    return timings


def _run(argv: Sequence[str]) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and peak bytes of a command, its children included.

    Python's modules are compiled, as pip leaves them; the run that does not count sees to that.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begun = time.monotonic()
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None  # noqa: S101 - it was asked for
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    if status:
        raise SystemExit(f"{' '.join(argv)}: {errors.decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
