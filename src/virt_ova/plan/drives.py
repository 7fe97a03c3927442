"""Drives of a machine.

They are taken in the order of their controllers and addresses, which is the order in which the old machine saw and
booted them. Those whose controller is kept keep their address too; the others get what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Item, ResourceType
from virt_ova.ovf.hardware import DRIVE_TYPES, HostKind, HostReference, host_reference, items_of
from virt_ova.plan.berths import Berths
from virt_ova.plan.ledger import label
from virt_ova.plan.machine import Drive, DriveKind
from virt_ova.plan.transfers import Transfers
from virt_ova.text import quoted

_KINDS = {
    ResourceType.CD: DriveKind.CDROM,
    ResourceType.DVD: DriveKind.CDROM,
    ResourceType.FLOPPY: DriveKind.FLOPPY,
} | dict.fromkeys(DRIVE_TYPES, DriveKind.DISK)


def plan_drives(
    items: Sequence[Item], berths: Berths, *, machine: str, interfaces: Mapping[str, str], transfers: Transfers
) -> tuple[Drive, ...]:
    """The drives among `items`, in the order the guest should see them.

    Args:
        items: the hardware.
        berths: where they can go.
        machine: name of the machine; its images are named after it.
        interfaces: how oVirt attaches a disk, by disk id.
        transfers: takes the images that fill them.

    Raises:
        PlanError: a drive refers to what the package has not (``E_OVF_REF``).
    """
    ordered = sorted(items_of(items, *_KINDS), key=berths.turn)
    contents = [_content(item, machine, interfaces, transfers) for item in ordered]
    placed: dict[int, Drive] = {}
    for keeps_address in (True, False):
        for position, (item, content) in enumerate(zip(ordered, contents, strict=True)):
            if berths.keeps(item) is keeps_address and (drive := _place(item, content, berths)):
                placed[position] = replace(drive, id=_drive_id(item, position))
    return tuple(placed[position] for position in sorted(placed))


def drive_origins(items: Sequence[Item], berths: Berths) -> dict[str, str]:
    """InstanceID of each drive's item, by the drive's id."""
    ordered = sorted(items_of(items, *_KINDS), key=berths.turn)
    return {_drive_id(item, position): item.instance_id for position, item in enumerate(ordered)}


def _drive_id(item: Item, position: int) -> str:
    return f"{_KINDS[ResourceType(item.resource_type)]}{position}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Content:
    """What a drive is: its kind, its transfer (empty for none), whether machines share it, oVirt's word for its bus."""

    kind: DriveKind
    transfer: str = ""
    shared: bool = False
    interface: str = ""


def _content(item: Item, machine: str, interfaces: Mapping[str, str], transfers: Transfers) -> _Content:
    kind = _KINDS[ResourceType(item.resource_type)]
    if (reference := _reference(item)) is None:
        return _Content(kind=kind)
    transfer = transfers.add(machine, item, kind, reference)
    interface = interfaces.get(reference.id, "") if reference.kind is HostKind.DISK else ""
    is_shared = transfers.is_shared(kind, reference)
    return _Content(kind=kind, transfer=transfer, shared=is_shared, interface=interface)


def _reference(item: Item) -> HostReference | None:
    """What of the package fills the drive."""
    references = [reference for text in item.host_resources if (reference := host_reference(text))]
    if references:
        return references[0]
    if item.resource_type in DRIVE_TYPES and item.host_resources:
        raise PlanError(
            f"{label(item)} is filled by {quoted(item.host_resources[0])}, expected 'ovf:/disk/ID' or 'ovf:/file/ID'",
            code="E_OVF_REF",
            where=item.where,
        )
    return None


def _place(item: Item, content: _Content, berths: Berths) -> Drive | None:
    """The drive in its place; None when it is dropped."""
    if content.kind is DriveKind.DISK and not content.transfer:
        berths.ledger.dropped(item, "it names no disk", matters=True)
        return None
    home, place = berths.take(item, content.kind, content.interface)
    if place is None:
        berths.ledger.dropped(item, "a machine has two floppy drives at most", matters=bool(content.transfer))
        return None
    result = f"{home} {place.controller}:{place.unit}"
    if home.change:
        berths.ledger.mapped(item, result, home.change)
    else:
        berths.ledger.kept(item, result)
    return Drive(
        id=item.instance_id,
        kind=content.kind,
        bus=home.bus,
        controller=place.controller,
        unit=place.unit,
        transfer=content.transfer,
        read_only=content.kind is DriveKind.CDROM,
        shared=content.shared,
    )
