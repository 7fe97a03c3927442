"""Hardware by what was seen inside a guest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import pytest

from tests.build.plans import machine
from virt_ova.findings import Severity
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.insight import NIC_DRIVERS, STORAGE_DRIVERS, Insight
from virt_ova.plan.ladder import place_of
from virt_ova.plan.machine import Bus, Controller, Drive, DriveKind, FirmwareKind, Machine
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.tailoring import Tailored, tailor

HOST: Final = HostCapabilities()
AUTO: Final = InstallOptions()
FAITHFUL: Final = InstallOptions(machine=MachineStyle.FAITHFUL)
ALL_NICS: Final = {*NIC_DRIVERS, "virtio_pci"}
VIRTIO_BLK: Final = {"virtio_pci", "virtio_blk"}
AHCI: Final = {"ahci", "sd_mod"}


def guest(boot: Collection[str], later: Collection[str] = ALL_NICS, *names: str, family: str = "linux") -> Insight:
    drivers = tuple(sorted({*boot, *later}))
    return Insight(family=family, boot_drivers=tuple(sorted(boot)), drivers=drivers, named_disks=names)


def box(bus: Bus = Bus.SATA, model: str = "", nic: str = "virtio", **values: object) -> Machine:
    made = machine(**values)  # type: ignore[arg-type]  # values are the test's
    controllers = () if bus is Bus.VIRTIO else (Controller(bus=bus, model=model),)
    drives = tuple(replace(drive, bus=bus) for drive in made.drives)
    return replace(made, controllers=controllers, drives=drives, nics=(replace(made.nics[0], model=nic),))


def said(tailored: Tailored) -> list[tuple[str, str]]:
    for finding in tailored.findings:
        assert finding.severity is (Severity.WARNING if finding.code == "GUEST_LACKS" else Severity.INFO)
    return [(finding.code, finding.message) for finding in tailored.findings]


def test_virtio_is_taken_when_the_guest_has_it() -> None:
    tailored = tailor(box(nic="e1000"), guest({*AHCI, *VIRTIO_BLK}, {"virtio_net", "e1000"}), options=AUTO, host=HOST)
    assert place_of(tailored.machine) == "virtio"
    assert [nic.model for nic in tailored.machine.nics] == ["virtio"]
    assert said(tailored) == [
        ("GUEST_FITTED", "'box' has its disk on virtio instead of sata: the guest has the drivers when it starts"),
        ("GUEST_FITTED", "network interface 1 of 'box' is virtio instead of e1000: the guest has the driver"),
    ]


def test_a_driver_that_comes_too_late_is_none_for_a_disk() -> None:
    tailored = tailor(box(), guest(AHCI, {*VIRTIO_BLK, "virtio_net"}), options=AUTO, host=HOST)
    assert (place_of(tailored.machine), said(tailored)) == ("sata", [])


def test_what_the_user_wants_is_kept_when_the_guest_has_it() -> None:
    all_there = guest(STORAGE_DRIVERS)
    for options in (FAITHFUL, InstallOptions(disk_bus=Bus.SATA, nic_model="e1000")):
        planned = box(nic="e1000")
        assert tailor(planned, all_there, options=options, host=HOST) == Tailored(machine=planned)


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        (VIRTIO_BLK, "virtio"),
        ({"virtio_pci", "virtio_scsi", "sd_mod"}, "scsi virtio-scsi"),
        ({"ata_piix", "sd_mod"}, "ide"),
        ({"piix"}, "ide"),
        ({"mptsas", "sd_mod"}, "scsi lsisas1068"),
        ({"vmw_pvscsi", "sd_mod"}, "scsi vmpvscsi"),
    ],
)
def test_the_next_place_is_one_that_the_guest_has_a_driver_for(has: set[str], expected: str) -> None:
    tailored = tailor(box(), guest(has), options=AUTO, host=HOST)
    assert place_of(tailored.machine) == expected
    missing = "ahci" if "sd_mod" in has else "ahci and sd_mod"
    code, reason = ("GUEST_LACKS", f"the guest has no {missing} when it starts")
    if "virtio" in expected:
        code, reason = ("GUEST_FITTED", "the guest has the drivers when it starts")
    assert said(tailored) == [(code, f"'box' has its disk on {expected} instead of sata: {reason}")]


def test_virtio_that_was_asked_for_gives_way_to_what_the_guest_has() -> None:
    options = InstallOptions(machine=MachineStyle.VIRTIO)
    tailored = tailor(box(Bus.VIRTIO), guest(AHCI, {"e1000"}), options=options, host=HOST)
    assert place_of(tailored.machine) == "sata"
    assert [nic.model for nic in tailored.machine.nics] == ["e1000-82545em"]
    disk = "'box' has its disk on sata instead of virtio: the guest has no virtio_blk and virtio_pci when it starts"
    nic = "network interface 1 of 'box' is e1000-82545em instead of virtio: the guest has no virtio_net and virtio_pci"
    assert said(tailored) == [("GUEST_LACKS", disk), ("GUEST_LACKS", nic)]


def test_what_was_named_by_the_user_stays_with_a_warning() -> None:
    options = InstallOptions(disk_bus=Bus.NVME, nic_model="vmxnet3")
    planned = box(Bus.NVME, nic="vmxnet3")
    tailored = tailor(planned, guest(AHCI, {"e1000"}), options=options, host=HOST)
    assert tailored.machine == planned
    assert said(tailored) == [
        ("GUEST_LACKS", "'box' may not find its disk on nvme, where it is: the guest has no nvme when it starts"),
        ("GUEST_LACKS", "network interface 1 of 'box' is vmxnet3: the guest has no vmxnet3"),
    ]


def test_firmware_must_boot_from_it_and_the_host_must_have_it() -> None:
    has_sas = guest({"mptsas", "sd_mod"})
    message = "'box' may not find its disk on sata, where it is: the guest has no ahci when it starts"
    efi = box(firmware=FirmwareKind.EFI, chipset="q35")
    assert said(tailor(efi, has_sas, options=AUTO, host=HOST)) == [("GUEST_LACKS", message)]
    without = HostCapabilities(devices=frozenset({"virtio-net-pci"}))
    assert said(tailor(box(), has_sas, options=AUTO, host=without)) == [("GUEST_LACKS", message)]
    has_ide = guest({"ata_piix", "sd_mod"})
    assert said(tailor(efi, has_ide, options=AUTO, host=HOST)) == [("GUEST_LACKS", message)]


@pytest.mark.parametrize(
    ("planned", "names", "expected"),
    [
        (Bus.SATA, ("/dev/sda1",), "scsi virtio-scsi"),
        (Bus.SATA, ("/dev/vda1",), "virtio"),
        (Bus.IDE, ("/dev/hda1",), "ide"),
        (Bus.NVME, ("/dev/nvme0n1p1",), "nvme"),
    ],
)
def test_names_of_disks_are_kept(planned: Bus, names: tuple[str, ...], expected: str) -> None:
    tailored = tailor(box(planned), guest(STORAGE_DRIVERS, NIC_DRIVERS, *names), options=AUTO, host=HOST)
    assert place_of(tailored.machine) == expected


def test_a_name_that_would_change_is_told() -> None:
    tailored = tailor(box(), guest({*AHCI, *VIRTIO_BLK}, NIC_DRIVERS, "/dev/vda1"), options=FAITHFUL, host=HOST)
    message = "the guest names /dev/vda1, which would have another name"
    assert said(tailored) == [("GUEST_LACKS", f"'box' may not find its disk on sata, where it is: {message}")]


def test_of_a_windows_only_the_drivers_of_virtio_are_known_for_networks() -> None:
    without = guest({*AHCI}, (), family="windows")
    assert said(tailor(box(nic="e1000e"), without, options=AUTO, host=HOST)) == []
    (finding,) = tailor(box(), without, options=AUTO, host=HOST).findings
    assert finding.message.startswith("network interface 1 of 'box' is e1000-82545em instead of virtio: ")


def test_what_was_not_seen_changes_nothing() -> None:
    for planned in (box(), replace(box(), drives=(), nics=())):
        assert tailor(planned, Insight(obstacle="it is dark"), options=AUTO, host=HOST) == Tailored(machine=planned)
    cd = Drive(id="cd", kind=DriveKind.CDROM, bus=Bus.SATA, read_only=True)
    without_disk = replace(box(), drives=(cd,))
    assert tailor(without_disk, guest(STORAGE_DRIVERS), options=AUTO, host=HOST) == Tailored(machine=without_disk)
