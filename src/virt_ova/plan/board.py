"""Firmware and chipset of a machine.

EFI stays EFI and BIOS stays BIOS: a disk that was installed for one does not boot by the other. The chipset follows:

* BIOS machines get ``pc`` (i440FX), the chipset they had under VMware and VirtualBox, and the only one with IDE;
* EFI machines get ``q35``, for which the firmware is made and which secure boot needs, unless a disk hangs on IDE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Item, ResourceType, VirtualHardware
from virt_ova.ovf.hardware import disk_drives, firmware, items_of
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Bus, Firmware, FirmwareKind
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.plan import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """Firmware and chipset."""

    firmware: Firmware
    chipset: str

    @property
    def has_ide(self) -> bool:
        """Whether the chipset has an IDE controller."""
        return "q35" not in self.chipset

    @property
    def is_efi(self) -> bool:
        """Whether EFI boots it."""
        return self.firmware.kind is FirmwareKind.EFI


def choose_board(
    hardware: VirtualHardware,
    items: Sequence[Item],
    host: HostCapabilities,
    options: InstallOptions,
    ledger: Ledger,
) -> Board:
    """The machine's board.

    Raises:
        PlanError: the host cannot boot by the firmware that the package needs (``E_FIRMWARE``).
    """
    chosen = _firmware(hardware, host, ledger)
    preferred, reason = _preferred_chipset(chosen, items, options)
    if not host.chipsets or preferred in host.chipsets:
        chipset = preferred
    elif chosen.secure_boot:
        raise PlanError(
            f"the package needs EFI secure boot, which needs chipset q35, and the host has {', '.join(host.chipsets)}",
            code="E_FIRMWARE",
        )
    else:
        chipset, reason = host.chipsets[0], f"the host has no {preferred}"
    ledger.setting(Outcome.ADDED, "chipset", chipset, reason)
    return Board(firmware=chosen, chipset=chipset)


def _firmware(hardware: VirtualHardware, host: HostCapabilities, ledger: Ledger) -> Firmware:
    request = firmware(hardware)
    kind = FirmwareKind(request.kind)
    if kind not in host.firmware:
        raise PlanError(
            f"the package boots by {kind.upper()}, which the host cannot",
            code="E_FIRMWARE",
            hint="Install the OVMF firmware on the host." if kind is FirmwareKind.EFI else "Use another host.",
        )
    if request.is_stated:
        ledger.setting(Outcome.KEPT, "firmware", kind, "the target has it")
    else:
        ledger.setting(Outcome.ADDED, "firmware", kind, "the package names none, which means BIOS")
    if request.secure_boot and not host.secure_boot:
        ledger.setting(Outcome.DROPPED, "secure boot", "", "the host's firmware cannot enforce it", matters=True)
    elif request.secure_boot:
        ledger.setting(Outcome.KEPT, "secure boot", "enforced", "the target has it")
    return Firmware(kind=kind, secure_boot=request.secure_boot and host.secure_boot)


def _preferred_chipset(chosen: Firmware, items: Sequence[Item], options: InstallOptions) -> tuple[str, str]:
    if chosen.kind is FirmwareKind.BIOS:
        return "pc", "BIOS machines of VMware and VirtualBox have it"
    if chosen.secure_boot:
        return "q35", "secure boot needs it"
    if options.disk_bus is Bus.IDE:
        return "pc", "the disks go to IDE, which q35 does not have"
    if options.disk_bus or options.machine is MachineStyle.VIRTIO:
        return "q35", "the EFI firmware is made for it"
    ide_controllers = {item.instance_id for item in items_of(items, ResourceType.IDE_CONTROLLER)}
    if any(item.parent in ide_controllers for item in disk_drives(items)):
        return "pc", "a disk is attached by IDE, which q35 does not have"
    return "q35", "the EFI firmware is made for it"
