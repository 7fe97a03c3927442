"""What can be asked of an appliance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FirmwareName: TypeAlias = Literal["bios", "efi", "secure-boot"]
"""``secure-boot`` is EFI that starts Debian's signed loaders and kernel, and is asked to refuse others."""

ControllerName: TypeAlias = Literal[
    "ide", "AHCI", "lsilogic", "lsilogicsas", "buslogic", "VirtualSCSI", "NVMe", "virtio"
]
"""A controller, as VMware's ``rasd:ResourceSubType`` names it; ``ide`` has none, ``AHCI`` is ``vmware.sata.ahci``,
``NVMe`` is ``vmware.nvme.controller``, and ``virtio`` is QEMU's word for its SCSI controller."""

_EFI_MEMORY_MIB = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskSpec:
    """The boot disk.

    Attributes:
        firmware: what boots it.
        capacity_mib: size of the disk as the guest sees it.
        without_drivers: kernel modules to leave out of the initramfs (``mptspi``).
        agent: put QEMU's guest agent into it.
        panics: leave the initramfs out, so that the kernel panics for want of a root file system.
        loader: where in ``EFI`` of its system partition the loader of ``efi`` is; only the default place needs no entry
            in the firmware's boot menu.
    """

    firmware: FirmwareName = "bios"
    capacity_mib: int = 256
    without_drivers: frozenset[str] = frozenset()
    agent: bool = False
    panics: bool = False
    loader: str = "BOOT/BOOTX64.EFI"

    @property
    def is_efi(self) -> bool:
        """Whether EFI boots it."""
        return self.firmware != "bios"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplianceSpec:
    """A whole appliance: its boot disk, and the machine that its descriptor asks for.

    Attributes:
        name: name of the virtual system; also begins the file names in the package.
        disk: the boot disk.
        controller: what the disk is attached to.
        nic: subtype of the network adapter (``E1000``, ``VmxNet3``, ``PCNet32``).
        cpus: processors.
        memory_mib: memory; GRUB hangs under EFI with less than 512.
        tpm: whether there is a TPM.
        variables: what the firmware keeps, in a file of the package; none when empty.
    """

    name: str = "appliance"
    disk: DiskSpec = field(default_factory=DiskSpec)
    controller: ControllerName = "lsilogic"
    nic: str = "E1000"
    cpus: int = 1
    memory_mib: int = 256
    tpm: bool = False
    variables: bytes = b""

    @property
    def variables_name(self) -> str:
        """Name of the file of `variables`."""
        return f"{self.name}-file1.nvram"

    def __post_init__(self) -> None:
        if self.disk.is_efi and self.memory_mib < _EFI_MEMORY_MIB:
            raise ValueError(f"{self.memory_mib} MiB of memory: EFI needs {_EFI_MEMORY_MIB}")
