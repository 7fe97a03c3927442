"""What is known of the guest before it runs: what the package calls it, and what libosinfo says that supports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from virt_ova.ovf.envelope import OperatingSystem
from virt_ova.plan.guestname import LINUX_2_4, GuestName, name_of
from virt_ova.text import quoted

_ARM = re.compile(r"(?:^|[-_])(?:arm|aarch)|(?:arm64|aarch64)", re.IGNORECASE)

_LOCAL_TIME: Final = frozenset({"winnt", "win9x", "msdos"})
_YEAR_OF_AHCI: Final = 2007
_BEFORE_WINDOWS_8: Final = frozenset({"2k", "xp", "2k3", "vista", "2k8", "2k8r2", "7"})


class Support(StrEnum):
    """A device that a guest may have a driver for, as far as libosinfo tells of it and a plan depends on it."""

    VIRTIO_BLK = "virtio-blk"
    VIRTIO_SCSI = "virtio-scsi"
    VIRTIO_NET = "virtio-net"
    VIRTIO_GPU = "virtio-gpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    """A guest.

    Attributes:
        name: what the package calls it.
        id: libosinfo's identifier (``http://debian.org/debian/11``); empty when it has none for the name.
        short_id: libosinfo's short one (``debian11``).
        supports: what it has drivers for from the beginning; empty when nothing is known of it.
        year: in which it was released, or that from which this version was taken; None when that is not known.
    """

    name: GuestName
    id: str = ""
    short_id: str = ""
    supports: frozenset[Support] = frozenset()
    year: int | None = None

    def __str__(self) -> str:
        return self.short_id or str(self.name)

    @property
    def keeps_local_time(self) -> bool:
        """Whether it takes the machine's clock for local time, as Windows and DOS do."""
        return self.name.family in _LOCAL_TIME

    @property
    def is_old_windows(self) -> bool:
        """Whether it is a Windows before 8: its AHCI driver is absent, or disabled unless it was installed on AHCI."""
        is_nt = self.name.family == "winnt"
        return self.name.family == "win9x" or (
            is_nt and (self.name.version in _BEFORE_WINDOWS_8 or self.name.distro == "winnt")
        )

    @property
    def is_before_ahci(self) -> bool:
        """Whether it is older than the drivers for AHCI as QEMU has it (Intel's ICH9, of 2007)."""
        return self.name == LINUX_2_4 or (self.year is not None and self.year < _YEAR_OF_AHCI)


def guest_by_name(os: OperatingSystem) -> Guest:
    """All that can be said without libosinfo."""
    return Guest(name=name_of(os))


def describe_guest(guest: Guest, os: OperatingSystem) -> str:
    """How it was recognised, as a sentence: for the decision about it."""
    said = os.type or os.description or (f"CIM number {os.id}" if os.id is not None else "")
    told = f"the package says {quoted(said)}" if said else "the package does not say what it is"
    if not guest.id:
        return told
    drivers = ", ".join(sorted(guest.supports)) or "no virtio device"
    return f"{told}; libosinfo: it supports {drivers}"


def is_arm(os: OperatingSystem) -> bool:
    """Whether its processor is an ARM (``arm-debian12-64``, ``Debian_arm64``)."""
    return _ARM.search(os.type) is not None
