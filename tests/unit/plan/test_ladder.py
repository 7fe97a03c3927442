"""Where else the disks of a machine could be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.build.plans import machine
from virt_ova.plan.checking import check_plan
from virt_ova.plan.ladder import ladder, moved, unplugged
from virt_ova.plan.machine import Bus, Connection, ConnectionKind, Controller, Drive, DriveKind, FirmwareKind, Machine
from virt_ova.plan.plan import InstallPlan, PackageIdentity

SCSI = Controller(bus=Bus.SCSI, model="lsisas1068")


def disk(number: int, *, bus: Bus = Bus.SCSI, unit: int = 0) -> Drive:
    order = number or None
    return Drive(id=f"d{number}", kind=DriveKind.DISK, bus=bus, unit=unit, transfer=f"disk{number}", boot_order=order)


def cd(unit: int, bus: Bus = Bus.IDE) -> Drive:
    return Drive(id=f"cd{unit}", kind=DriveKind.CDROM, bus=bus, unit=unit, read_only=True)


def with_drives(*drives: Drive, controllers: tuple[Controller, ...] = (SCSI,), chipset: str = "pc") -> Machine:
    return replace(machine(chipset=chipset), controllers=controllers, drives=drives)


def places(each: Machine) -> list[tuple[str, str, int, int]]:
    return [(drive.id, drive.bus.value, drive.controller, drive.unit) for drive in each.drives]


def checked(each: Machine) -> None:
    """A plan with such a machine is one that an install would take."""
    without_images = tuple(replace(drive, transfer="") for drive in each.drives)
    identity = PackageIdentity(name="a", descriptor_sha256="0" * 64)
    check_plan(InstallPlan(package=identity, machines=(replace(each, drives=without_images),), transfers=()))


def test_disks_move_together_and_what_else_there_is_stays() -> None:
    planned = with_drives(disk(1), cd(2), disk(2, unit=1), controllers=(SCSI, Controller(bus=Bus.IDE)))
    rungs = ladder(planned)
    assert [rung.disks_on for rung in rungs] == ["scsi lsisas1068", "sata", "ide", "virtio"]
    assert rungs[0].machine is planned
    assert [places(rung.machine) for rung in rungs[1:]] == [
        [("d1", "sata", 0, 0), ("cd2", "ide", 0, 2), ("d2", "sata", 0, 1)],
        [("d1", "ide", 0, 0), ("cd2", "ide", 0, 2), ("d2", "ide", 0, 1)],
        [("d1", "virtio", 0, 0), ("cd2", "ide", 0, 2), ("d2", "virtio", 1, 0)],
    ]
    ide = Controller(bus=Bus.IDE)
    assert [rung.machine.controllers for rung in rungs[1:]] == [(ide, Controller(bus=Bus.SATA)), (ide,), (ide,)]
    for rung in rungs:
        checked(rung.machine)
        assert [drive.boot_order for drive in rung.machine.drives] == [1, None, 2]


def test_the_bus_that_was_planned_is_not_tried_twice() -> None:
    for bus, expected in ((Bus.SATA, ["sata", "ide", "virtio"]), (Bus.VIRTIO, ["virtio", "sata", "ide"])):
        planned = with_drives(disk(1, bus=bus), controllers=(Controller(bus=Bus.SATA),))
        assert [rung.disks_on for rung in ladder(planned)] == expected


@pytest.mark.parametrize(
    ("bus", "model", "expected"),
    [
        (Bus.VIRTIO, "", ["virtio", "sata", "ide"]),
        (Bus.SCSI, "virtio-scsi", ["scsi virtio-scsi", "sata", "ide", "virtio"]),
        (Bus.SATA, "", ["sata", "ide", "virtio"]),
        (Bus.IDE, "", ["ide", "sata", "virtio"]),
        (Bus.SCSI, "vmpvscsi", ["scsi vmpvscsi", "sata", "ide", "virtio"]),
    ],
)
def test_one_that_was_fitted_begins_where_it_is_and_comes_nowhere_twice(
    bus: Bus, model: str, expected: list[str]
) -> None:
    fitted = moved(with_drives(disk(1), cd(2), controllers=(SCSI, Controller(bus=Bus.IDE))), bus, model)
    assert fitted is not None
    assert [rung.disks_on for rung in ladder(fitted.machine)] == expected


def test_q35_has_no_ide() -> None:
    planned = replace(with_drives(disk(1), chipset="q35"), firmware=machine(firmware=FirmwareKind.EFI).firmware)
    assert [rung.disks_on for rung in ladder(planned)] == ["scsi lsisas1068", "sata", "virtio"]


def test_a_bus_that_has_no_room_is_left_out() -> None:
    disks = [disk(number, unit=number) for number in range(1, 4)]
    planned = with_drives(*disks, cd(0), cd(2), controllers=(SCSI, Controller(bus=Bus.IDE)))
    assert [rung.disks_on for rung in ladder(planned)] == ["scsi lsisas1068", "sata", "virtio"]


def test_places_of_cds_are_not_taken() -> None:
    sata = Controller(bus=Bus.SATA)
    planned = with_drives(cd(0, Bus.SATA), disk(1), cd(2, Bus.SATA), disk(2, unit=1), controllers=(SCSI, sata))
    assert places(ladder(planned)[1].machine) == [
        *(("cd0", "sata", 0, 0), ("d1", "sata", 0, 1), ("cd2", "sata", 0, 2), ("d2", "sata", 0, 3)),
    ]


def test_a_controller_that_a_cd_hangs_on_stays() -> None:
    planned = with_drives(disk(1), cd(3, Bus.SCSI))
    for rung in ladder(planned)[1:]:
        assert SCSI in rung.machine.controllers
        checked(rung.machine)


def test_disks_on_two_buses_are_told() -> None:
    planned = with_drives(disk(1), disk(2, bus=Bus.IDE), controllers=(SCSI, Controller(bus=Bus.IDE)))
    assert ladder(planned)[0].disks_on == "scsi lsisas1068 and ide"


def test_what_is_tried_is_plugged_into_nothing() -> None:
    planned = machine(connection=Connection(kind=ConnectionKind.NETWORK, name="default"))
    tried = unplugged(planned)
    assert [nic.connection for nic in tried.nics] == [Connection(kind=ConnectionKind.NONE)]
    assert replace(tried, nics=planned.nics) == planned
