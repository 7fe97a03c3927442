"""Which controller takes the drives of each controller of the package.

A controller is kept where the target has the very same chip *and* the machine's firmware can boot from it. What was
tried on QEMU 7.2 with SeaBIOS 1.16 and OVMF 2022.11: SeaBIOS boots from all that QEMU has; OVMF sees no disk behind
LSI, LSI SAS or PVSCSI, only AHCI, virtio and NVMe. VMware's ``lsilogic`` is an LSI 53C1030; libvirt's model of that
name is a 53C895A, for which guests need another driver (sym53c8xx, not mptspi). libvirt has no BusLogic, and NVMe only
in its newest versions; QEMU alone has it.

The substitute is AHCI: its driver is in nearly every guest, and in nearly every initramfs made on VMware or VirtualBox,
where CD drives hang on it, while a virtio driver often is not. There are two exceptions: Windows before 8 has an AHCI
driver only if it was installed with one, and a system of before 2007 has none for the ICH9. Both have that of the PIIX
IDE controller, where their CD drives were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Item, ResourceType
from virt_ova.plan.circumstances import Circumstances
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Bus
from virt_ova.plan.options import MachineStyle
from virt_ova.text import quoted

CONTROLLER_TYPES = frozenset(
    {
        ResourceType.IDE_CONTROLLER,
        ResourceType.SCSI_CONTROLLER,
        ResourceType.OTHER_STORAGE,
        ResourceType.FC_HBA,
        ResourceType.ISCSI_HBA,
    },
)
"""Items that drives hang on."""

VIRTIO_SCSI = "virtio-scsi"

_SAME_CHIP = {
    "lsilogicsas": ("lsisas1068", "mptsas1068"),
    "lsisas1068": ("lsisas1068", "mptsas1068"),
    "virtualscsi": ("vmpvscsi", "pvscsi"),
    "pvscsi": ("vmpvscsi", "pvscsi"),
    "vmpvscsi": ("vmpvscsi", "pvscsi"),
    "virtio": (VIRTIO_SCSI, "virtio-scsi-pci"),
    "virtio-scsi": (VIRTIO_SCSI, "virtio-scsi-pci"),
    "virtioscsi": (VIRTIO_SCSI, "virtio-scsi-pci"),
}
"""SCSI subtypes that QEMU has as the same chip: libvirt's model and QEMU's device."""

_NO_SUCH_CHIP = {
    "lsilogic": "QEMU's 'lsilogic' is another chip (53C895A, not 53C1030) that needs another driver",
    "buslogic": "libvirt has no BusLogic controller",
}
_AHCI = frozenset({"ahci", "vmware.sata.ahci", "sata", "ich9-ahci", "intelahci"})
_NVME = frozenset({"nvme", "vmware.nvme.controller"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """Where drives go.

    Attributes:
        bus: of the controller.
        model: libvirt's, empty for the bus's only one.
        change: why it is not what the package asked for; empty when it is.
        caution: why the machine may not boot from it all the same; empty when nothing is known against it.
    """

    bus: Bus
    model: str = ""
    change: str = ""
    caution: str = ""

    def __str__(self) -> str:
        return f"{self.bus} {self.model}".rstrip()


_DISK_HOMES = {
    Bus.IDE: Home(bus=Bus.IDE),
    Bus.SATA: Home(bus=Bus.SATA),
    Bus.SCSI: Home(bus=Bus.SCSI, model=VIRTIO_SCSI),
    Bus.VIRTIO: Home(bus=Bus.VIRTIO),
    Bus.NVME: Home(bus=Bus.NVME),
}
"""What ``--disk-bus`` can name, and which controller is meant."""

DISK_BUSES = tuple(_DISK_HOMES)


def wanted_home(around: Circumstances) -> Home | None:
    """Where the user wants all disks to go; None when each goes where the package has it.

    Raises:
        PlanError: the machine cannot have that (``E_OPTION``).
    """
    bus, option = around.options.disk_bus, "--disk-bus"
    if bus is None and around.options.machine is MachineStyle.VIRTIO:
        bus, option = Bus.VIRTIO, "--machine"
    if bus is None:
        return None
    if obstacle := _bus_obstacle(bus, around):
        raise PlanError(f"{option} {bus}: {obstacle}", code="E_OPTION", hint="Choose another bus with --disk-bus.")
    return replace(_DISK_HOMES[bus], change=f"{option} asks for it")


def _bus_obstacle(bus: Bus, around: Circumstances) -> str:
    if bus not in _DISK_HOMES:
        return f"a disk cannot be put there, expected one of {', '.join(DISK_BUSES)}"
    if bus is Bus.IDE and not around.board.has_ide:
        return f"chipset {around.board.chipset} has no IDE"
    if bus is Bus.NVME and not around.host.has_nvme:
        return "the host cannot emulate NVMe"
    return ""


def choose_home(item: Item, around: Circumstances) -> Home | None:
    """Where the drives of controller `item` go; None when it is no controller that a machine here can have."""
    board = around.board
    match item.resource_type:
        case ResourceType.IDE_CONTROLLER if board.has_ide:
            return Home(bus=Bus.IDE)
        case ResourceType.IDE_CONTROLLER:
            return Home(bus=Bus.SATA, change=f"chipset {board.chipset} has no IDE, and nearly every guest has AHCI")
        case ResourceType.SCSI_CONTROLLER:
            return _scsi_home(item, around)
        case ResourceType.OTHER_STORAGE:
            return _other_home(item, around)
        case _:
            return None


def substitute(around: Circumstances, change: str) -> Home:
    """The controller that the guest most likely boots from, when it cannot have its own because of `change`."""
    if around.guest.is_old_windows and around.board.has_ide:
        return Home(bus=Bus.IDE, change=f"{change}; Windows before 8 always has the IDE driver")
    if around.guest.is_before_ahci and around.board.has_ide:
        return Home(bus=Bus.IDE, change=f"{change}; {around.guest} is older than AHCI, and has the IDE driver")
    return Home(bus=Bus.SATA, change=f"{change}; nearly every guest has the AHCI driver")


def _scsi_home(item: Item, around: Circumstances) -> Home:
    """The first of the preference list that can be kept, else a substitute for the first that is known."""
    obstacles = []
    for subtype in item.subtypes:
        if subtype in _SAME_CHIP:
            model, device = _SAME_CHIP[subtype]
            home = Home(bus=Bus.SCSI, model=model, caution=_blindness(model, is_efi=around.board.is_efi))
            if not around.host.has_device(device):
                obstacles.append(f"the host's emulator has no {device}")
            elif not home.caution or around.is_faithful:
                return home
            else:
                obstacles.append(home.caution)
        elif subtype in _NO_SUCH_CHIP:
            obstacles.append(_NO_SUCH_CHIP[subtype])
    return substitute(around, next(iter(obstacles), _unknown(item)))


def boots_from(home: Home, *, is_efi: bool, host: HostCapabilities) -> bool:
    """Whether the host's emulator has the SCSI controller `home`, and the firmware can boot from it."""
    has_it = any(model == home.model and host.has_device(device) for model, device in _SAME_CHIP.values())
    return has_it and not _blindness(home.model, is_efi=is_efi)


def _blindness(model: str, *, is_efi: bool) -> str:
    """Why the firmware cannot boot from `model`; empty when it can."""
    if is_efi and model != VIRTIO_SCSI:
        return f"EFI firmware has no driver for {model} and could not boot from it"
    return ""


def _unknown(item: Item) -> str:
    if not item.subtypes:
        return "the package names no model"
    return f"the model {quoted(item.subtypes[0])} is not known"


def _other_home(item: Item, around: Circumstances) -> Home | None:
    if not item.subtypes or _AHCI.intersection(item.subtypes):
        return Home(bus=Bus.SATA)
    if _NVME.intersection(item.subtypes):
        return Home(bus=Bus.NVME) if around.host.has_nvme else substitute(around, "the host cannot emulate NVMe")
    if any(_SAME_CHIP.get(subtype, ("",))[0] == VIRTIO_SCSI for subtype in item.subtypes):
        return _scsi_home(item, around)
    return None
