"""What was seen inside a guest's disks. Pure; `virt_ova.inside` looks.

Drivers are named as Linux names its modules, with ``_`` for ``-``; what a Windows has is translated to these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STORAGE_DRIVERS: Final = frozenset(
    {
        *("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ahci", "ata_piix", "ata_generic", "piix", "nvme"),
        *("mptsas", "mptspi", "vmw_pvscsi", "buslogic", "sym53c8xx"),
    }
)
NIC_DRIVERS: Final = frozenset({"virtio_net", "e1000", "e1000e", "vmxnet3", "pcnet32", "8139cp", "8139too"})
DRIVERS: Final = STORAGE_DRIVERS | NIC_DRIVERS
"""All that tells which hardware a guest can have here, or had elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Insight:
    """A guest, by what its disks hold. All text is escaped.

    Attributes:
        machine: name of the machine.
        system: what it calls itself (``Debian GNU/Linux 12 (bookworm)``).
        family: ``linux``, ``windows``, or another word of libguestfs.
        distro: libguestfs's word (``debian``).
        version: major and minor number.
        architecture: of its programs.
        kernels: versions of its kernels, the newest first; empty for Windows.
        boot_drivers: of `STORAGE_DRIVERS`, those that each of the kernels has before there is a disk: built in, or in
            its initramfs; of Windows those that it starts with.
        drivers: of `DRIVERS`, all that each kernel has.
        named_disks: devices that it mounts by their names (``/dev/sda1``), so that these must stay.
        obstacle: why the drivers are not known, as a sentence; empty when they are.
    """

    machine: str = ""
    system: str = ""
    family: str = ""
    distro: str = ""
    version: str = ""
    architecture: str = ""
    kernels: tuple[str, ...] = ()
    boot_drivers: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    named_disks: tuple[str, ...] = ()
    obstacle: str = ""
