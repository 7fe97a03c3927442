"""What a machine boots from, in which order.

What the package asks for comes first, then disks, CDs and floppies. Drives without content are left out, and network
interfaces that were not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from virt_ova.findings import Severity
from virt_ova.ovf.envelope import BootDevice
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Drive, DriveKind, Nic
from virt_ova.plan.plan import Outcome
from virt_ova.text import printable

_NET: Final = "net"
_KINDS: Final = (DriveKind.DISK, DriveKind.CDROM, DriveKind.FLOPPY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bootable:
    """Something that a machine can boot from.

    Attributes:
        name: of the drive, or ``net`` and a number.
        kind: as in `virt_ova.ovf.envelope.BootDevice`.
        instance_id: of the item it comes from.
    """

    name: str
    kind: str
    instance_id: str


def with_boot_order(
    drives: Sequence[Drive],
    nics: Sequence[Nic],
    asked: Sequence[BootDevice],
    origins: Mapping[str, str],
    ledger: Ledger,
) -> tuple[tuple[Drive, ...], tuple[Nic, ...]]:
    """`drives` and `nics` with their boot orders.

    Args:
        drives: of the machine.
        nics: of the machine.
        asked: what the package asks for.
        origins: InstanceID by drive id, and by ``net0``, ``net1``, ... for the interfaces.
        ledger: takes the decision.
    """
    there = tuple(_bootables(drives, nics, origins))
    chosen = [match.name for step in asked for match in _matches(step, there, ledger)]
    usual = [each.name for kind in _KINDS for each in there if each.kind == kind]
    orders = {name: order for order, name in enumerate(dict.fromkeys((*chosen, *usual)), start=1)}
    if chosen:
        ledger.setting(Outcome.KEPT, "boot order", ", ".join(orders), "the package asks for it")
    return (
        tuple(replace(drive, boot_order=orders.get(drive.id)) for drive in drives),
        tuple(replace(nic, boot_order=orders.get(f"{_NET}{number}")) for number, nic in enumerate(nics)),
    )


def _bootables(drives: Sequence[Drive], nics: Sequence[Nic], origins: Mapping[str, str]) -> Iterator[Bootable]:
    for drive in drives:
        if drive.transfer:
            yield Bootable(name=drive.id, kind=drive.kind, instance_id=origins.get(drive.id, ""))
    for number in range(len(nics)):
        name = f"{_NET}{number}"
        yield Bootable(name=name, kind=_NET, instance_id=origins.get(name, ""))


def _matches(step: BootDevice, there: Sequence[Bootable], ledger: Ledger) -> list[Bootable]:
    """The one device that is meant, or all of its kind."""
    found = [each for each in there if step.instance_id and each.instance_id == step.instance_id]
    found = found or [each for each in there if step.kind and each.kind == step.kind]
    if not found:
        meant = " ".join(filter(None, (step.kind, printable(step.instance_id))))
        message = f"the boot order names '{meant}', and the machine has nothing like it to boot from"
        ledger.note("BOOT_ORDER", Severity.INFO, message)
    return found
