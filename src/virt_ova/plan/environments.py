"""How a machine is told its properties: on a CD, the ``iso`` transport of DSP0243 11.2.

It is the only one that a machine under QEMU or Xen can have; VMware's ``guestInfo`` goes through VMware's own backdoor.
So a guest that was made for another transport gets the CD as well: cloud-init, for one, looks for it anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Item, ResourceType
from virt_ova.plan.berths import Berths
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Drive, DriveKind
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import Entity, Outcome
from virt_ova.plan.properties import surroundings
from virt_ova.plan.systems import Blueprint
from virt_ova.plan.transfers import Transfers
from virt_ova.text import quoted

ISO: Final = "iso"

_DRIVE_ID: Final = "environment"
_REASON: Final = "it holds the OVF environment, with the values of the package's properties"


def needs_environment(
    blueprint: Blueprint, entities: Sequence[Entity], options: InstallOptions, ledger: Ledger
) -> bool:
    """Whether the machine gets a CD that tells it its properties; notes what the package's own way would have been."""
    if not entities:
        return False
    own, siblings = surroundings(entities, blueprint.name)
    if not any(entity.properties for entity in (own, *siblings)):
        return False
    transports, where = blueprint.hardware.transports, blueprint.system.where
    if transports and ISO not in transports:
        message = (
            f"the guest expects its properties by {quoted(' '.join(transports))}, which this target has not: "
            "they are on a CD, and a guest that does not look there misses them"
        )
        ledger.note("OVF_TRANSPORT", Severity.WARNING, message, where)
    if not transports:
        became = "they are on a CD because some were given" if options.properties else "the guest is not told of them"
        message = f"the package does not say how the guest reads its properties: {became}"
        ledger.note("OVF_TRANSPORT", Severity.INFO, message, where)
    return bool(transports) or bool(options.properties)


def with_environment(
    drives: Sequence[Drive], berths: Berths, *, machine: str, transfers: Transfers
) -> tuple[Drive, ...]:
    """`drives` with the CD: in the first empty CD drive, as VMware does it, else in one of its own."""
    transfer = transfers.add_environment(machine)
    for number, drive in enumerate(drives):
        if drive.kind is DriveKind.CDROM and not drive.transfer:
            berths.ledger.setting(Outcome.ADDED, "CD", f"in the empty drive {drive.id}", _REASON)
            return (*drives[:number], replace(drive, transfer=transfer), *drives[number + 1 :])
    home, place = berths.take(Item(instance_id=_DRIVE_ID, resource_type=ResourceType.CD), DriveKind.CDROM, "")
    assert place is not None  # noqa: S101 - only floppy drives find none
    berths.ledger.setting(Outcome.ADDED, "CD drive", f"{home} {place.controller}:{place.unit}", _REASON)
    added = Drive(
        id=_DRIVE_ID,
        kind=DriveKind.CDROM,
        bus=home.bus,
        controller=place.controller,
        unit=place.unit,
        transfer=transfer,
        read_only=True,
    )
    return (*drives, added)
