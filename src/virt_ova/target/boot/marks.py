"""What lines of text tell of a machine that starts: how far it came, and whether it found its disk.

The marks are text that programs print verbatim: SeaBIOS and edk2, GRUB and systemd-boot, the Linux and BSD kernels,
initramfs-tools, dracut and mkinitcpio, getty. A guest can print what it likes; it fools nobody but itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from virt_ova.target.base import DiskState
from virt_ova.text import printable

EVIDENCE_WIDTH: Final = 160
"""Most characters of a line that are shown."""


_LONGEST_LINE: Final = 400
"""A sign stands in so many bytes of a line, or it is none: no guest can make the search for it long."""


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
        rb"GRUB (?:loading|version)|GRUB  version|Welcome to GRUB|grub(?: rescue)?> ",
        rb"^Loading (?:Linux|initial ramdisk|Operating System)",
        rb"Booting `",
        rb"(?:SYS|ISO|EXT|PXE)LINUX \d",
        rb"BTX loader",
    ),
}
"""Marks of each state, latest state first."""

_FOUND: Final = (
    rb"(?:EXT[234]-fs|XFS|F2FS-fs) \([^)]+\): (?:mounted filesystem|Mounting V|Mounted with)",
    rb"BTRFS info \(device [^)]+\):",
    rb"VFS: Mounted root",
    rb"Running /scripts/(?:local|init)-bottom",
    rb"Reached target .{0,20}Initrd Root File ?System|systemd\[1\]: Switching root",
)
_GUEST_LOST: Final = (
    rb"VFS: (?:Cannot open root device|Unable to mount root fs)",
    rb"^ALERT! +.+ does not exist",
    rb"Gave up waiting for (?:root|suspend/resume)(?: file system)? device",
    rb"Warning: Could not boot\.",
    rb"ERROR: (?:device '[^']+' not found|Failed to mount '[^']+' on real root)",
    rb"Mounting root: failed|initramfs emergency recovery shell launched",
    rb"^mountroot> |Mounting from [^ ]+ failed with error",
    rb"Entering rescue mode\.\.\.|^grub rescue> ",
)
_EMPTY: Final = (
    rb"Boot failed: not a bootable disk",
    rb'BdsDxe: failed to load Boot\w+ "UEFI (?!PXE|HTTP|[^"]*DVD)[^"]*" from [^\n]*: Not Found',
)
_FIRMWARE_LOST: Final = (
    rb"No bootable device",
    rb"BdsDxe: No bootable option or device was found",
    rb"UEFI Interactive Shell v",
)
_WAITS: Final = (
    rb"dracut-initqueue(?:\[\d+\])?: .*[Tt]imeout",
    rb"dracut-initqueue timeout",
    rb"Timed out waiting for device",
)

_PATTERNS: Final = tuple((state, re.compile(b"|".join(marks), re.MULTILINE)) for state, marks in _MARKS.items())
_TERMINAL: Final = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78cM]|[\x00\x07\x0e\x0f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskSign:
    """A line that tells whether the guest found its disk.

    Attributes:
        rank: what it counts for; a sign of lower rank outdoes one of a higher.
        state: what it says.
        line: the line, escaped.
        is_final: whether nothing better is to be expected behind it.
    """

    rank: int
    state: DiskState
    line: str
    is_final: bool = True


_RANKS: Final = (
    (DiskState.FOUND, _FOUND),
    (DiskState.LOST, _GUEST_LOST),
    (DiskState.EMPTY, _EMPTY),
    (DiskState.LOST, _FIRMWARE_LOST),
    (DiskState.LOST, _WAITS),
)
"""What the guest says counts for more than what the firmware said before it; what still waits may yet find its disk."""

_SIGNS: Final = tuple(
    (rank, state, re.compile(b"^.*(?:" + b"|".join(marks) + b").*$", re.MULTILINE))
    for rank, (state, marks) in enumerate(_RANKS)
)


def plain(console: bytes) -> bytes:
    """`console` without what steers a terminal. A carriage return ends a line, because firmware and GRUB repaint."""
    return _TERMINAL.sub(b"", console).replace(b"\r", b"\n")


def classify(console: bytes) -> BootState:
    """How far a machine came that wrote `console`. Output without a known mark counts as firmware."""
    text = plain(console)
    for state, pattern in _PATTERNS:
        if pattern.search(text):
            return state
    return BootState.FIRMWARE if text.strip() else BootState.NO_OUTPUT


def disk_sign(console: bytes) -> DiskSign | None:
    """What `console` says of the guest's disk, if it does."""
    text = b"\n".join(line[:_LONGEST_LINE] for line in plain(console).split(b"\n"))
    for rank, state, pattern in _SIGNS:
        if found := pattern.search(text):
            line = printable(found[0].strip().decode(errors="replace"), limit=EVIDENCE_WIDTH)
            return DiskSign(rank=rank, state=state, line=line, is_final=rank < len(_RANKS) - 1)
    return None
