"""Questions everyone has about the hardware of a system. Pure functions on the values of `virt_ova.ovf.envelope`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from virt_ova.errors import DescriptorError
from virt_ova.ovf.envelope import Envelope, Item, ResourceType, VirtualHardware, VirtualSystem
from virt_ova.text import quoted

DRIVE_TYPES: Final = frozenset(
    {ResourceType.DISK, ResourceType.STORAGE_EXTENT, ResourceType.LOGICAL_DISK},
)
"""Items that are hard disks: 17 everywhere, 19 from XenServer, 31 allowed in OVF 2."""

_RANGES = frozenset({"min", "max"})
_FAMILIES = ("qemu", "kvm", "vmx", "virtualbox")
"""Families of virtual hardware that can be realised here, best first."""

_HOST_RESOURCE = re.compile(r"(?:ovf:)?/{1,2}(?P<kind>disk|file)/(?P<id>[^\s].*)", re.IGNORECASE | re.DOTALL)
_EFI_VBOX = re.compile(r"efi(?:32|64|dual)?", re.IGNORECASE)
_OVIRT_EFI = frozenset({"3", "4"})
_OVIRT_SECURE = "4"
_SECURE_BOOT_KEYS = ("bootOptions.efiSecureBootEnabled", "uefi.secureBoot.enabled")


class HostKind(StrEnum):
    """What a HostResource is."""

    DISK = "disk"
    FILE = "file"


@dataclass(frozen=True, kw_only=True, slots=True)
class HostReference:
    """A HostResource that names something in the package (DSP0243 8.3): the `id` of a Disk or of a File."""

    kind: HostKind
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FirmwareRequest:
    """Firmware that a system asks for.

    Attributes:
        kind: ``bios`` or ``efi``.
        secure_boot: whether EFI must enforce secure boot.
        is_stated: whether the descriptor says so; otherwise `kind` is the default, ``bios``.
    """

    kind: str
    secure_boot: bool = False
    is_stated: bool = False


def host_reference(text: str) -> HostReference | None:
    """What ``ovf:/disk/X``, ``/disk/X``, ``ovf://disk/X`` and the same with ``file`` refer to; None for all else."""
    match = _HOST_RESOURCE.fullmatch(text.strip())
    return HostReference(kind=HostKind(match["kind"].lower()), id=match["id"]) if match else None


def choose_hardware(system: VirtualSystem) -> VirtualHardware | None:
    """The hardware section to realise: the first of the best known family, else the first; None when there is none."""
    return min(system.hardware, key=_family_rank, default=None)


def _family_rank(hardware: VirtualHardware) -> int:
    ranks = [
        rank
        for rank, family in enumerate(_FAMILIES)
        if any(word.lower().startswith(family) for word in hardware.system_types)
    ]
    return min(ranks, default=len(_FAMILIES))


def default_option(envelope: Envelope) -> str:
    """Id of the default deployment option: the one marked so, else the first listed; empty when there are none."""
    options = envelope.deployment_options
    marked = (option.id for option in options if option.default)
    return next(marked, options[0].id if options else "")


def effective_items(envelope: Envelope, hardware: VirtualHardware, option: str | None) -> tuple[Item, ...]:
    """The items that are hardware under the deployment option (None for the default), in document order.

    Range markers (``bound`` min and max) are left out. Where several items have one InstanceID, the one made for the
    option overrides the one for all, and that for fewer options the one for more (DSP0243 9.8).

    Raises:
        DescriptorError: there is no such option (``E_OVF_OPTION``).
    """
    chosen = default_option(envelope) if option is None else option
    if option is not None and option not in {known.id for known in envelope.deployment_options}:
        known_ids = ", ".join(quoted(known.id) for known in envelope.deployment_options) or "none"
        raise DescriptorError(
            f"found no deployment option {quoted(option)}, expected one of: {known_ids}",
            code="E_OVF_OPTION",
        )
    candidates = [
        item
        for item in hardware.items
        if item.bound not in _RANGES and (not item.configurations or chosen in item.configurations)
    ]
    by_id: dict[str, list[Item]] = {}
    for item in candidates:
        by_id.setdefault(item.instance_id, []).append(item)
    overridden = {id(item) for same in by_id.values() for item in _overridden(same)}
    return tuple(item for item in candidates if id(item) not in overridden)


def _overridden(same: list[Item]) -> list[Item]:
    """Those of the items with one InstanceID that another one overrides; the last of equals wins.

    Items without an id, or of one id without any difference in configuration (oVirt), do not override each other.
    """
    if not same[0].instance_id or not any(item.configurations or item.bound for item in same):
        return []
    best = max(reversed(same), key=_rank)
    return [item for item in same if item is not best]


def _rank(item: Item) -> tuple[float, bool]:
    """How closely an item is made for the chosen option; a plain item beats one that is marked ``normal``."""
    return (1 / len(item.configurations) if item.configurations else 0.0, not item.bound)


def items_of(items: Iterable[Item], *types: int) -> tuple[Item, ...]:
    """Those of `items` that have one of the resource types."""
    return tuple(item for item in items if item.resource_type in types)


def cpu_count(items: Iterable[Item]) -> int | None:
    """Processors in all; None when no item says a number."""
    return _total(items_of(items, ResourceType.PROCESSOR))


def memory_bytes(items: Iterable[Item]) -> int | None:
    """Memory in all, in bytes; None when no item says a size."""
    return _total(items_of(items, ResourceType.MEMORY))


def nics(items: Iterable[Item]) -> tuple[Item, ...]:
    """The network interfaces."""
    return items_of(items, ResourceType.ETHERNET)


def disk_drives(items: Iterable[Item]) -> tuple[Item, ...]:
    """The hard disks."""
    return items_of(items, *DRIVE_TYPES)


def disk_ids(items: Iterable[Item]) -> tuple[str, ...]:
    """Ids of the package's disks that the hard disks of `items` are, in their order."""
    references = (host_reference(text) for item in disk_drives(items) for text in item.host_resources)
    return tuple(ref.id for ref in references if ref and ref.kind is HostKind.DISK)


def _total(items: Iterable[Item]) -> int | None:
    quantities = [item.quantity for item in items if item.quantity is not None]
    return sum(quantities) if quantities else None


def firmware(hardware: VirtualHardware) -> FirmwareRequest:
    """The firmware that VMware's, VirtualBox's or oVirt's own words ask for; OVF itself has none before 2.0."""
    kind = _firmware_kind(hardware)
    if kind != "efi":
        return FirmwareRequest(kind="bios", is_stated=kind == "bios")
    said = [hardware.config.get(key) or hardware.extra_config.get(key, "") for key in _SECURE_BOOT_KEYS]
    secure = any(text.lower() == "true" for text in said) or hardware.config.get("ovirt.biosType") == _OVIRT_SECURE
    return FirmwareRequest(kind="efi", secure_boot=secure, is_stated=True)


def _firmware_kind(hardware: VirtualHardware) -> str:
    """``bios``, ``efi``, or empty when nothing known is said."""
    said = hardware.config.get("firmware") or hardware.extra_config.get("firmware", "")
    if said.lower() in {"bios", "efi"}:
        return said.lower()
    if bios_type := hardware.config.get("ovirt.biosType"):
        return "efi" if bios_type in _OVIRT_EFI else "bios"
    if vbox := hardware.config.get("vbox.firmware"):
        return "efi" if _EFI_VBOX.fullmatch(vbox) else "bios"
    return ""
