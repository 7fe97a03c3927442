"""Controllers and drives of a VMX: ``scsi0``, ``scsi0:1``, ``floppy0``.

A disk's file must be in the package. The image in a CD or floppy drive may be a file of the host that the machine ran
on, often one that came with VMware; such a drive is left empty, and no such file is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from virt_ova.ovf.envelope import Disk, Item, ResourceType
from virt_ova.text import quoted
from virt_ova.vmx.parts import Parts
from virt_ova.vmx.settings import bad_value
from virt_ova.vmx.words import AHCI, NVME, SCSI

SCSI_OWN_UNIT: Final = 7
"""The place of the SCSI controller itself."""

MAX_FLOPPIES: Final = 2

_DISKS: Final = frozenset({"", "disk", "harddisk", "scsi-harddisk", "ata-harddisk"})
_CD_IMAGE: Final = "cdrom-image"
_CD_DRIVES: Final = frozenset({"cdrom-raw", "atapi-cdrom", _CD_IMAGE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Bus:
    """A kind of controller: how it is written in a VMX, and how many controllers and units VMware has of it."""

    prefix: str
    resource_type: ResourceType
    controllers: int
    units: int
    subtype: str = ""


IDE: Final = Bus(prefix="ide", resource_type=ResourceType.IDE_CONTROLLER, controllers=2, units=2)
SCSI_BUS: Final = Bus(prefix="scsi", resource_type=ResourceType.SCSI_CONTROLLER, controllers=4, units=65)
SATA: Final = Bus(prefix="sata", resource_type=ResourceType.OTHER_STORAGE, controllers=4, units=30, subtype=AHCI)
NVME_BUS: Final = Bus(prefix="nvme", resource_type=ResourceType.OTHER_STORAGE, controllers=4, units=64, subtype=NVME)
BUSES: Final = (SCSI_BUS, SATA, NVME_BUS, IDE)
"""In the order in which VMware lists them when it exports a machine."""


def read_drives(parts: Parts) -> None:
    """Add all controllers with their drives, and the floppy drives.

    Raises:
        DescriptorError: a disk has no file, or that of another disk (``E_VMX_VALUE``).
    """
    for bus in BUSES:
        for number in range(bus.controllers):
            _read_controller(parts, bus, number)
    for number in range(MAX_FLOPPIES):
        key = f"floppy{number}"
        if parts.settings.flag(f"{key}.present"):
            is_image = parts.settings.word(f"{key}.fileType") == "file"
            _add(parts, key, ResourceType.FLOPPY, unit=number, resource=_media(parts, key, is_image=is_image))


def _read_controller(parts: Parts, bus: Bus, number: int) -> None:
    settings, key = parts.settings, f"{bus.prefix}{number}"
    units = [unit for unit in range(bus.units) if settings.flag(f"{key}:{unit}.present")]
    is_there = bool(units) if bus is IDE else settings.flag(f"{key}.present")
    if not is_there:
        return
    subtype = bus.subtype
    if bus is SCSI_BUS:
        model = settings.word(f"{key}.virtualDev")
        subtype = SCSI.get(model, model)
    controller = parts.add_device(key, bus.resource_type, subtype, address=str(number))
    for unit in units:
        _read_drive(parts, f"{key}:{unit}", controller, unit)


def _read_drive(parts: Parts, key: str, controller: str, unit: int) -> None:
    settings = parts.settings
    kind, name = settings.word(f"{key}.deviceType"), settings.text(f"{key}.fileName")
    if kind in _CD_DRIVES or (not kind and name.lower().endswith(".iso")):
        is_image = kind in {_CD_IMAGE, ""}
        resource = _media(parts, key, is_image=is_image)
        _add(parts, key, ResourceType.CD, unit=unit, parent=controller, resource=resource)
    elif kind in _DISKS:
        resource = _disk(parts, key, name)
        _add(parts, key, ResourceType.DISK, unit=unit, parent=controller, resource=resource)
    else:
        _add(parts, key, ResourceType.OTHER, unit=unit, parent=controller, subtype=kind)


def _disk(parts: Parts, key: str, name: str) -> str:
    """What the disk in the file `name` is called in HostResource."""
    if not name:
        raise bad_value("the disk has no fileName, expected the name of a .vmdk file", key)
    if other := next((disk.id for disk in parts.disks if disk.file_ref == parts.file_ids.get(name)), ""):
        raise bad_value(f"the disk is in {quoted(name)}, as {other} is, expected a file of its own", key)
    if "nonpersistent" in parts.settings.word(f"{key}.mode"):
        message = "the disk forgets its changes under VMware when the machine stops; here it keeps them"
        parts.note("VMX_NONPERSISTENT", message, key)
    parts.disks.append(Disk(id=key, file_ref=parts.add_file(name)))
    return f"ovf:/disk/{key}"


def _media(parts: Parts, key: str, *, is_image: bool) -> str:
    """What is in a CD or floppy drive, as HostResource; empty when nothing is."""
    name = parts.settings.text(f"{key}.fileName")
    if not is_image or not name or parts.settings.flag(f"{key}.clientDevice"):
        return ""
    if _is_elsewhere(name):
        message = f"the drive has the image {quoted(name)}, which is outside the package: the drive is empty here"
        parts.note("VMX_MEDIA", message, key)
        return ""
    return f"ovf:/file/{parts.add_file(name)}"


def _is_elsewhere(name: str) -> bool:
    """Whether a file lies on the old host, by an absolute path or one that leads out of the machine's folder."""
    return name.startswith(("/", "[")) or "\\" in name or ":" in name or ".." in name.split("/")


def _add(
    parts: Parts, key: str, kind: ResourceType, *, unit: int, resource: str = "", parent: str = "", subtype: str = ""
) -> None:
    parts.items.append(
        Item(
            instance_id=parts.next_id,
            resource_type=kind,
            subtypes=(subtype,) if subtype else (),
            element_name=key,
            parent=parent,
            address_on_parent=str(unit),
            host_resources=(resource,) if resource else (),
            automatic_allocation=parts.settings.flag(f"{key}.startConnected", default=True),
            where=key,
        )
    )
