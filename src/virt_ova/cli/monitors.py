"""Progress for people: bars on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.text import printable
from virt_ova.units import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def monitor(*, quiet: bool) -> Iterator[Monitor]:
    """The monitor that suits stderr."""
    if quiet:
        yield SilentMonitor()
    elif sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - loaded where there is a terminal to draw on
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield BarMonitor(progress)
    else:
        yield LineMonitor()


class BarMonitor:
    """A bar with rate and remaining time for every step."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        """Show a bar; a pulse when the size is unknown."""
        self._tasks[step] = self._progress.add_task(printable(step), total=total_bytes)

    def advance(self, step: str, done_bytes: int) -> None:
        """Move it."""
        self._progress.advance(self._tasks[step], done_bytes)

    def end(self, step: str) -> None:
        """Fill it."""
        task = self._progress.tasks[self._tasks[step]]
        total = task.total or task.completed or 1
        self._progress.update(task.id, total=total, completed=total)

    def note(self, message: str) -> None:
        """A line above the bars."""
        self._progress.console.print(message, markup=False, highlight=False)


class LineMonitor:
    """A line when a step begins and one when it ends."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[float, int | None]] = {}

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        """Name the step and its size."""
        self._begun[step] = (time.monotonic(), total_bytes)
        self.note(f"{step} ({format_bytes(total_bytes)})" if total_bytes is not None else step)

    def advance(self, step: str, done_bytes: int) -> None:
        """Say nothing: a log is no place for percentages."""

    def end(self, step: str) -> None:
        """Name the step, its time and its rate."""
        begun, size = self._begun.pop(step)
        seconds = time.monotonic() - begun
        rate = f", {format_bytes(int(size / seconds))}/s" if size and seconds > 0 else ""
        self.note(f"{step}: done in {seconds:.1f} s{rate}")

    def note(self, message: str) -> None:
        """One line."""
        sys.stderr.write(printable(message, limit=1000) + "\n")
        sys.stderr.flush()
