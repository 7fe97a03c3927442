"""Progress for people: bars on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from virt_ova.cli.console import say
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.text import printable
from virt_ova.units import format_bytes

_NOTE_CHARACTERS = 1000


@contextmanager
def monitor(*, quiet: bool) -> Iterator[Monitor]:
    """The monitor that suits stderr; a `quiet` one tells of no steps."""
    if quiet:
        yield NoteMonitor()
    elif sys.stderr.isatty():
        from virt_ova.cli.bars import bars  # noqa: PLC0415 - rich is loaded where there is a terminal to draw on

        with bars() as shown:
            yield shown
    else:
        yield LineMonitor()


class NoteMonitor(SilentMonitor):
    """A line for what is no step, such as what was taken back."""

    def note(self, message: str) -> None:
        """One line."""
        say(printable(message, limit=_NOTE_CHARACTERS))


class LineMonitor(NoteMonitor):
    """A line when a step begins and one when it ends; none between, because a log is no place for percentages."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[float, int | None]] = {}

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        """Name the step and its size."""
        self._begun[step] = (time.monotonic(), total_bytes)
        self.note(f"{step} ({format_bytes(total_bytes)})" if total_bytes is not None else step)

    def end(self, step: str) -> None:
        """Name the step, its time and its rate."""
        begun, size = self._begun.pop(step)
        seconds = time.monotonic() - begun
        rate = f", {format_bytes(int(size / seconds))}/s" if size and seconds > 0 else ""
        self.note(f"{step}: done in {seconds:.1f} s{rate}")
