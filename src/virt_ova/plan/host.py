"""What a host offers, as far as a plan must know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from virt_ova.plan.machine import Connection, ConnectionKind, FirmwareKind


@dataclass(frozen=True, kw_only=True, slots=True)
class HostCapabilities:
    """What the host behind a target offers; a target fills it in, the planner reads it.

    Attributes:
        virt_types: ``kvm``, ``qemu``, best first; empty when the target does not say.
        chipsets: machine types usable by these words; empty when the target does not say.
        firmware: kinds of firmware that can boot.
        secure_boot: whether EFI secure boot can be enforced.
        variables_bytes: how many bytes its EFI firmware keeps variables in, by chipset and whether secure boot is
            enforced; those of which the target does not tell are not there.
        tpm: whether a TPM 2.0 can be emulated.
        devices: QEMU's names of the devices that the emulator has (``pvscsi``, ``vmxnet3``); empty when the target does
            not say, and then all that QEMU has are taken to be there.
        has_nvme: whether a disk can be on NVMe; QEMU has it, libvirt only lately.
        networks: names of networks that machines can be plugged into.
        default_connection: where a network goes that the user did not name.
        makes_hardware: whether it reads descriptors itself, so that hardware is not planned here.
        makes_groups: whether it makes one thing of a package of several machines, and wants to be told of them as one.
        tells_properties: whether it tells guests their properties by itself.
        newest_hardware: newest version of VMware's virtual hardware that it has (14 for ``vmx-14``); 0 when not known.
    """

    virt_types: tuple[str, ...] = ()
    chipsets: tuple[str, ...] = ()
    firmware: frozenset[FirmwareKind] = frozenset(FirmwareKind)
    secure_boot: bool = False
    variables_bytes: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    tpm: bool = False
    devices: frozenset[str] = frozenset()
    has_nvme: bool = False
    networks: tuple[str, ...] = ()
    default_connection: Connection = field(default_factory=lambda: Connection(kind=ConnectionKind.USER))
    makes_hardware: bool = False
    makes_groups: bool = False
    tells_properties: bool = False
    newest_hardware: int = 0

    def has_device(self, name: str) -> bool:
        """Whether the emulator has QEMU's device `name`, as far as is known."""
        return not self.devices or name in self.devices
