"""Progress on a terminal: a bar with rate and remaining time for every step.

A terminal may go away while we work; then the bars are lost, and the work goes on until its own signal comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from virt_ova.text import printable
from virt_ova.units import format_bytes


@contextmanager
def bars() -> Iterator[BarMonitor]:
    """Bars on stderr for as long as the context lasts."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _AmountColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
    )
    with suppress(OSError):
        progress.start()
    try:
        yield BarMonitor(progress)
    finally:
        with suppress(OSError):
            progress.stop()


class BarMonitor:
    """A bar for every step."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Task] = {}

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        """Show a bar; a pulse when the size is unknown."""
        with suppress(OSError):
            is_sized = total_bytes is not None
            self._progress.add_task(printable(step), total=total_bytes, is_sized=is_sized, is_counted=is_sized)
        self._tasks[step] = self._progress.tasks[-1]

    def advance(self, step: str, done_bytes: int) -> None:
        """Move it."""
        self._progress.update(self._tasks[step].id, advance=done_bytes, is_counted=True)

    def end(self, step: str) -> None:
        """Fill it."""
        task = self._tasks[step]
        total = task.total or task.completed or 1
        self._progress.update(task.id, total=total, completed=total)

    def note(self, message: str) -> None:
        """A line above the bars."""
        with suppress(OSError):
            self._progress.console.print(printable(message), markup=False, highlight=False, soft_wrap=True)


class _AmountColumn(ProgressColumn):
    """Bytes done, bytes in all, and rate, in the units of all our messages."""

    def render(self, task: Task) -> Text:
        """Nothing for a step without size in which no bytes are counted."""
        if not task.fields["is_counted"]:
            return Text()
        rate = task.finished_speed or task.speed
        shown = format_bytes(int(task.completed))
        shown += f" of {format_bytes(int(task.total or 0))}" if task.fields["is_sized"] else ""
        return Text(f"{shown}, {format_bytes(int(rate))}/s" if rate else shown)
