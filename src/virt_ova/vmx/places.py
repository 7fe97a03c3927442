"""Controllers and drives as they are written into a VMX; `virt_ova.vmx.drives` reads them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from virt_ova.ovf.envelope import Envelope, Item, ResourceType
from virt_ova.ovf.hardware import DRIVE_TYPES, HostKind, host_reference, items_of
from virt_ova.text import quoted
from virt_ova.vmx.drives import BUSES, IDE, MAX_FLOPPIES, SATA, SCSI_BUS, SCSI_OWN_UNIT, Bus
from virt_ova.vmx.record import Record
from virt_ova.vmx.words import SCSI, subtype_of

_HARD_DISK = ".vmdk"
_CD_IMAGE = ".iso"
_FLOPPY_IMAGE = ".flp"
_EMPTY = (("fileName", "emptyBackingString"), ("clientDevice", "TRUE"), ("startConnected", "FALSE"))
_UNITS_OF_OTHERS = 16
"""Places on a SCSI controller; only pvscsi has more."""


@dataclass(kw_only=True, slots=True)
class _Controller:
    """A controller that is written; `taken` are the places of its drives."""

    key: str
    units: int
    taken: set[int] = field(default_factory=set)

    def take(self, wanted: int | None) -> int | None:
        """The wanted place if it is free, else the first; None when all are taken."""
        free = [unit for unit in range(self.units) if unit not in self.taken]
        unit = wanted if wanted in free else next(iter(free), None)
        if unit is not None:
            self.taken.add(unit)
        return unit


class Places:
    """Writes the storage of one system."""

    def __init__(self, record: Record, envelope: Envelope, file_names: Mapping[str, str]) -> None:
        self._record = record
        self._disk_files = {disk.id: disk.file_ref for disk in envelope.disks}
        self._file_names = file_names
        self._controllers: dict[str, _Controller] = {}
        self._disks: set[str] = set()
        self._floppies = 0

    def write(self, items: Sequence[Item]) -> None:
        """Write all controllers and drives among `items`."""
        for item in items_of(items, *(bus.resource_type for bus in BUSES)):
            self._write_controller(item, _bus_of(item))
        for item in items_of(items, *DRIVE_TYPES, ResourceType.CD, ResourceType.DVD):
            self._write_drive(item)
        for item in items_of(items, ResourceType.FLOPPY):
            self._write_floppy(item)

    def _write_controller(self, item: Item, bus: Bus) -> None:
        number = self._number(item, bus)
        if number is None:
            self._record.dropped(item, f"VMware has {bus.controllers} {bus.prefix} controllers in a machine at most")
            return
        controller = _Controller(key=f"{bus.prefix}{number}", units=bus.units)
        self._controllers[item.instance_id] = controller
        if bus is SCSI_BUS:
            self._write_scsi(item, controller)
        elif bus is not IDE:  # which is there when a drive is
            self._record.device(controller.key)

    def _write_scsi(self, item: Item, controller: _Controller) -> None:
        """A SCSI controller of the model that VMware has, if it has one."""
        subtype = subtype_of(item.subtypes, SCSI)
        if subtype is None and item.subtypes:
            subtype = "lsilogic"
            self._record.mapped(self._record.label(item), subtype, "VMware has no such controller")
        model = next((model for model, word in SCSI.items() if word == subtype), "")
        controller.taken.add(SCSI_OWN_UNIT)
        controller.units = controller.units if model == "pvscsi" else _UNITS_OF_OTHERS
        self._record.device(controller.key, *([("virtualDev", model)] if model else []))

    def _number(self, item: Item, bus: Bus) -> int | None:
        """The controller's number: of IDE the channel that the Address says, else the next; None when there is none."""
        used = {controller.key for controller in self._controllers.values()}
        wanted = [item.address] if bus is IDE and item.address in {"0", "1"} else []
        numbers = [int(each) for each in wanted] + list(range(bus.controllers))
        return next((number for number in numbers if f"{bus.prefix}{number}" not in used), None)

    def _write_drive(self, item: Item) -> None:
        name = self._content(item)
        is_disk = item.resource_type in DRIVE_TYPES
        if is_disk and name and name in self._disks:
            self._record.dropped(item, f"another drive has its disk {quoted(name)}")
            return
        controller = self._controllers.get(item.parent) or self._any_controller(item)
        text = item.address_on_parent
        unit = controller.take(int(text) if text.isascii() and text.isdecimal() and len(text) <= len("255") else None)
        if unit is None:
            self._record.dropped(item, f"controller {controller.key} has no place left")
            return
        key = self._record.keys[item.instance_id] = f"{controller.key}:{unit}"
        if is_disk:
            self._disks.add(name)
            name = self._with_suffix(name, _HARD_DISK) if name else self._blank_name(item)
            self._record.device(key, ("deviceType", "disk"), ("fileName", name))
        elif name:
            self._record.device(key, ("deviceType", "cdrom-image"), ("fileName", self._with_suffix(name, _CD_IMAGE)))
        else:
            self._record.device(key, ("deviceType", "atapi-cdrom"), *_EMPTY)

    def _any_controller(self, item: Item) -> _Controller:
        """Where a drive goes that names no controller: the first that the machine has, else one that is added."""
        first = next(iter(self._controllers.values()), None)
        key = first.key if first else "scsi0"
        self._record.mapped(self._record.label(item), f"a drive of {key}", "the package names no controller for it")
        if first:
            return first
        added = _Controller(key=key, units=_UNITS_OF_OTHERS, taken={SCSI_OWN_UNIT})
        self._record.device(added.key, ("virtualDev", "lsilogic"))
        self._controllers[""] = added
        return added

    def _write_floppy(self, item: Item) -> None:
        if self._floppies == MAX_FLOPPIES:
            self._record.dropped(item, f"VMware has {MAX_FLOPPIES} floppy drives in a machine at most")
            return
        key = f"floppy{self._floppies}"
        self._floppies += 1
        if name := self._content(item):
            self._record.device(key, ("fileType", "file"), ("fileName", self._with_suffix(name, _FLOPPY_IMAGE)))
        else:
            self._record.device(key, ("fileType", "device"), *_EMPTY)

    def _content(self, item: Item) -> str:
        """Name of the package's file that a drive is filled by; empty when it is empty, or its disk is blank."""
        for text in item.host_resources:
            if reference := host_reference(text):
                is_disk = reference.kind is HostKind.DISK
                file_id = self._disk_files.get(reference.id, "") if is_disk else reference.id
                return self._file_names.get(file_id, "")
        return ""

    def _blank_name(self, item: Item) -> str:
        """A name that no other file has, for the image of a blank disk."""
        taken = {*self._file_names.values(), *self._record.settings.values()}
        name = next(name for number in range(len(taken) + 1) if (name := f"blank{number + 1}.vmdk") not in taken)
        self._record.mapped(
            self._record.label(item), quoted(name), "the disk is blank: make an empty VMDK of that name"
        )
        return name

    def _with_suffix(self, name: str, suffix: str) -> str:
        """`name` as VMware must find the file, which it knows by its suffix."""
        if name.lower().endswith(suffix):
            return name
        self._record.mapped(quoted(name), quoted(name + suffix), f"VMware reads no other image there than a {suffix}")
        return name + suffix


def _bus_of(item: Item) -> Bus:
    """The kind of controller that VMware has for the item, SCSI where it has none."""
    if item.resource_type != ResourceType.OTHER_STORAGE:
        return IDE if item.resource_type == ResourceType.IDE_CONTROLLER else SCSI_BUS
    if not item.subtypes:
        return SATA
    return next((bus for bus in BUSES if bus.subtype and subtype_of(item.subtypes, {"": bus.subtype})), SCSI_BUS)
