"""Where else a machine's disks could be, for a guest that does not find them where the plan has them. Pure.

Nearly every guest has a driver for AHCI; older ones have that of the PIIX IDE controller; some were made for virtio
alone. CDs and floppies stay where they are: no guest needs them to boot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from virt_ova.plan.bays import units_of
from virt_ova.plan.machine import Bus, Connection, ConnectionKind, Controller, Drive, DriveKind, Machine

_BUSES: Final = (Bus.SATA, Bus.IDE, Bus.VIRTIO)
_ORPHANED: Final = frozenset({Bus.SCSI, Bus.NVME})
"""Buses whose controllers go with their last drive."""

_VIRTIO_DISKS: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """A machine to be tried, and where its disks are in it (``scsi lsisas1068``, ``sata``)."""

    disks_on: str
    machine: Machine


def ladder(machine: Machine) -> tuple[Rung, ...]:
    """`machine` as it is, then with its disks on SATA, IDE and virtio, as far as it can have them there."""
    rungs = [Rung(disks_on=place_of(machine), machine=machine)]
    for bus in _BUSES:
        is_there = all(drive.bus is bus for drive in _disks(machine))
        if not is_there and (rung := moved(machine, bus)) is not None:
            rungs.append(rung)
    return tuple(rungs)


def unplugged(machine: Machine) -> Machine:
    """`machine` with its network interfaces plugged into nothing: what is tried shall not be noticed elsewhere."""
    nowhere = Connection(kind=ConnectionKind.NONE)
    return replace(machine, nics=tuple(replace(nic, connection=nowhere) for nic in machine.nics))


def _disks(machine: Machine) -> list[Drive]:
    return [drive for drive in machine.drives if drive.kind is DriveKind.DISK]


def place_of(machine: Machine) -> str:
    """Where the disks of `machine` are."""
    models = {(each.bus, each.index): each.model for each in machine.controllers}
    places = (f"{drive.bus} {models.get((drive.bus, drive.controller), '')}".rstrip() for drive in _disks(machine))
    return " and ".join(dict.fromkeys(places))


def moved(machine: Machine, bus: Bus, model: str = "") -> Rung | None:
    """`machine` with all its disks on `bus`, on controllers of `model`; None when they find no place there."""
    if bus is Bus.IDE and "q35" in machine.chipset:
        return None
    others = [drive for drive in machine.drives if drive.kind is not DriveKind.DISK]
    used = {(drive.bus, drive.controller) for drive in others}
    kept = tuple(each for each in machine.controllers if each.bus not in _ORPHANED or (each.bus, each.index) in used)
    if bus is not Bus.VIRTIO and not any((each.bus, each.model) == (bus, model) for each in kept):
        index = max((each.index for each in kept if each.bus is bus), default=-1) + 1
        kept = (*kept, Controller(bus=bus, index=index, model=model))
    places = _free_places(Controller(bus=bus, model=model), kept, others)
    drives = []
    for drive in machine.drives:
        if drive.kind is DriveKind.DISK:
            if (place := next(places, None)) is None:
                return None
            drive = replace(drive, bus=bus, controller=place[0], unit=place[1])  # noqa: PLW2901 - the same, elsewhere
        drives.append(drive)
    return Rung(disks_on=f"{bus} {model}".rstrip(), machine=replace(machine, controllers=kept, drives=tuple(drives)))


def _free_places(
    kind: Controller, controllers: tuple[Controller, ...], drives: list[Drive]
) -> Iterator[tuple[int, int]]:
    """Controller and unit of each free place on controllers of the bus and model of `kind`."""
    alike = [each.index for each in controllers if (each.bus, each.model) == (kind.bus, kind.model)]
    indexes = range(_VIRTIO_DISKS) if kind.bus is Bus.VIRTIO else alike
    taken = {(drive.controller, drive.unit) for drive in drives if drive.bus is kind.bus}
    places = ((index, unit) for index in indexes for unit in range(units_of(kind.bus, kind.model)))
    return (place for place in places if place not in taken)
