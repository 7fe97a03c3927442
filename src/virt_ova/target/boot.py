"""What a serial console tells of a machine that starts.

A machine writes to its console from the firmware on, if it writes at all; `classify` reads off how far it came. The
marks are text that programs print verbatim: SeaBIOS and edk2, GRUB and systemd-boot, the Linux and BSD kernels, getty.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from virt_ova.target.base import BootReport
from virt_ova.text import printable

KEPT_BYTES: Final = 256 * 1024
"""How much of the console's end is kept; a boot to the login prompt writes less than half of it."""

_OVERLAP_BYTES: Final = 1024
"""How far back a mark may begin that new output completes."""

_EVIDENCE_LINES: Final = 5
_EVIDENCE_WIDTH: Final = 160


class BootState(IntEnum):
    """How far a machine came, in order; `word` is its name in a report."""

    NO_OUTPUT = 0
    FIRMWARE = 1
    BOOTLOADER = 2
    KERNEL = 3
    PANIC = 4
    LOGIN = 5
    AGENT = 6
    NETWORK = 7

    @property
    def word(self) -> str:
        """The word of `virt_ova.target.base.BootReport`."""
        return self.name.lower().replace("_", "-")


_MARKS: Final = {
    BootState.PANIC: (rb"Kernel panic - not syncing", rb"^panic: ", rb"panic\(cpu \d"),
    BootState.LOGIN: (rb"^[^\n]{0,80}\blogin: *$",),
    BootState.KERNEL: (
        rb"^\[ *\d+\.\d{6}\]",
        rb"^(?:EFI stub: |(?:Decompressing|Uncompressing) Linux)",
        rb"Linux version \d",
        rb"(?:Free|Net|Open)BSD \d+\.\d",
        rb"systemd\[1\]: ",
        rb"^Welcome to (?!GRUB)",
    ),
    BootState.BOOTLOADER: (
        rb"GRUB (?:loading|version)|Welcome to GRUB|grub(?: rescue)?> ",
        rb"^Loading (?:Linux|initial ramdisk|Operating System)",
        rb"Booting `",
        rb"(?:SYS|ISO|EXT|PXE)LINUX \d",
        rb"BTX loader",
    ),
}
"""Marks of each state, latest state first. `\r` counts as the end of a line, because firmware and GRUB repaint."""

_PATTERNS: Final = tuple((state, re.compile(b"|".join(marks), re.MULTILINE)) for state, marks in _MARKS.items())
_TERMINAL: Final = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78cM]|[\x00\x07\x0e\x0f]")


def classify(console: bytes) -> BootState:
    """How far a machine came that wrote `console`. Output without a known mark counts as firmware."""
    text = _TERMINAL.sub(b"", console).replace(b"\r", b"\n")
    for state, pattern in _PATTERNS:
        if pattern.search(text):
            return state
    return BootState.FIRMWARE if text.strip() else BootState.NO_OUTPUT


@dataclass(kw_only=True, slots=True)
class BootWatch:
    """Follows one start: is fed what the console writes, and remembers when the furthest state was reached.

    Attributes:
        begun: `time.monotonic` when the machine was started.
        state: furthest state so far.
        reached: `time.monotonic` when it was reached.
    """

    begun: float = field(default_factory=time.monotonic)
    state: BootState = BootState.NO_OUTPUT
    reached: float = 0.0
    _console: bytearray = field(default_factory=bytearray)
    _address: str = ""
    _said: BootState = BootState.NO_OUTPUT

    @property
    def saw_both(self) -> bool:
        """Whether the console shows a login prompt, and an address was taken."""
        return self._said is BootState.LOGIN and bool(self._address)

    def feed(self, output: bytes) -> None:
        """The console wrote `output`."""
        if output:
            self._console += output
            del self._console[:-KEPT_BYTES]
            self._said = max(self._said, classify(bytes(self._console[-len(output) - _OVERLAP_BYTES :])))
            self._advance(self._said)

    def saw_address(self, address: str) -> None:
        """The machine took `address` on a network."""
        self._address = address
        self._advance(BootState.NETWORK)

    def report(self) -> BootReport:
        """What was seen so far."""
        seconds = (self.reached or self.begun) - self.begun
        return BootReport(state=self.state.word, seconds=round(seconds, 3), evidence=self._evidence())

    def _advance(self, state: BootState) -> None:
        if state > self.state:
            self.state, self.reached = state, time.monotonic()

    def _evidence(self) -> str:
        """The last lines of the console and the address, escaped."""
        text = _TERMINAL.sub(b"", bytes(self._console)).decode(errors="replace")
        lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
        shown = [printable(line, limit=_EVIDENCE_WIDTH) for line in lines[-_EVIDENCE_LINES:]]
        return "\n".join([*shown, f"address {printable(self._address)}"] if self._address else shown)
