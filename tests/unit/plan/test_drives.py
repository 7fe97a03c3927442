from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.plan.builders import EFI, HOST, decisions_of, envelope, item, machine_of, plan_of, sources_of, system
from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Disk, Item, ResourceType
from virt_ova.plan.inputs import DiskSource
from virt_ova.plan.machine import Bus, Controller, DriveKind, Machine
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import CHOOSABLE_MODES, FOR_HYPERVISORS, DiskMode, ImageFormat, InstallPlan, Outcome, Transfer
from virt_ova.units import GIB

XP = "winXPProGuest"


def scsi(subtypes: str, id: str = "3", **values: object) -> Item:  # noqa: A002 - OVF's word
    return item(ResourceType.SCSI_CONTROLLER, id, subtypes=subtypes, element_name=f"SCSI {id}", **values)


def disk(number: int, parent: str = "3", address: int | str = 0) -> Item:
    return item(
        ResourceType.DISK,
        f"disk-{number}",
        parent=parent,
        address_on_parent=str(address),
        disk=f"d{number}",
        element_name=f"Hard disk {number}",
    )


def places(machine: Machine) -> list[tuple[str, str, int, int]]:
    return [(drive.transfer, drive.bus.value, drive.controller, drive.unit) for drive in machine.drives]


def decided(plan: InstallPlan, piece: str) -> tuple[Outcome, str, str]:
    (decision,) = decisions_of(plan, piece)
    return decision.outcome, decision.result, decision.reason


LSI = "QEMU's 'lsilogic' is another chip (53C895A, not 53C1030) that needs another driver"
ANY = "; nearly every guest has the AHCI driver"
OLD = "; Windows before 8 always has the IDE driver"


@pytest.mark.parametrize(
    ("subtypes", "bus", "model"),
    [
        ("lsilogicsas", Bus.SCSI, "lsisas1068"),
        ("virtualscsi", Bus.SCSI, "vmpvscsi"),
        ("pvscsi", Bus.SCSI, "vmpvscsi"),
        ("virtio lsilogic", Bus.SCSI, "virtio-scsi"),
        ("lsilogic virtualscsi", Bus.SCSI, "vmpvscsi"),
    ],
)
def test_scsi_controllers_that_qemu_has_are_kept(subtypes: str, bus: Bus, model: str) -> None:
    plan = plan_of(system(scsi(subtypes), disk(1, address=2)))
    assert plan.machines[0].controllers == (Controller(bus=bus, model=model),)
    assert places(plan.machines[0]) == [("d1", "scsi", 0, 2)]
    assert decided(plan, "SCSI 3") == (Outcome.KEPT, f"scsi {model} 0", "the target has it")
    assert decided(plan, "Hard disk 1")[:2] == (Outcome.KEPT, f"scsi {model} 0:2")


@pytest.mark.parametrize(
    ("subtypes", "os", "bus", "reason"),
    [
        ("lsilogic", "debian12_64Guest", "sata", LSI + ANY),
        ("someother lsilogic", "", "sata", LSI + ANY),
        ("buslogic lsilogic", "", "sata", "libvirt has no BusLogic controller" + ANY),
        ("lsilogic", XP, "ide", LSI + OLD),
        ("buslogic", "Windows2003", "ide", "libvirt has no BusLogic controller" + OLD),
        ("lsilogic", "windows9_64Guest", "sata", LSI + ANY),
        ("strange", "", "sata", "the model 'strange' is not known" + ANY),
        ("", "", "sata", "the package names no model" + ANY),
    ],
)
def test_other_scsi_controllers_are_replaced(subtypes: str, os: str, bus: str, reason: str) -> None:
    plan = plan_of(system(scsi(subtypes), disk(1, address=3), os=os))
    assert places(plan.machines[0]) == [("d1", bus, 0, 0)]
    assert decided(plan, "SCSI 3") == (Outcome.MAPPED, bus, reason)
    assert decided(plan, "Hard disk 1") == (Outcome.MAPPED, f"{bus} 0:0", reason)


@pytest.mark.parametrize("os_id", [67, 70, 105])
def test_old_windows_is_known_by_its_number_when_no_word_is_there(os_id: int) -> None:
    assert places(machine_of(scsi("lsilogic"), disk(1), os_id=os_id)) == [("d1", "ide", 0, 0)]


def test_efi_cannot_boot_from_scsi_but_virtio() -> None:
    for subtype, model in (("lsilogicsas", "lsisas1068"), ("virtualscsi", "vmpvscsi")):
        plan = plan_of(system(scsi(subtype), disk(1), config=EFI))
        assert places(plan.machines[0]) == [("d1", "sata", 0, 0)]
        reason = f"EFI firmware has no driver for {model} and could not boot from it" + ANY
        assert decided(plan, "SCSI 3") == (Outcome.MAPPED, "sata", reason)
    assert places(machine_of(scsi("virtio"), disk(1), config=EFI)) == [("d1", "scsi", 0, 0)]


def test_what_the_emulator_lacks_is_replaced() -> None:
    plan = plan_of(system(scsi("virtualscsi"), disk(1)), host=replace(HOST, devices=frozenset({"e1000"})))
    assert decided(plan, "SCSI 3") == (Outcome.MAPPED, "sata", "the host's emulator has no pvscsi" + ANY)


def test_controllers_of_one_bus_are_counted() -> None:
    machine = machine_of(scsi("virtualscsi", "3"), scsi("lsilogicsas", "4"), disk(1), disk(2, "4", 1))
    assert [(each.index, each.model) for each in machine.controllers] == [(0, "vmpvscsi"), (1, "lsisas1068")]
    assert places(machine) == [("d1", "scsi", 0, 0), ("d2", "scsi", 1, 1)]


@pytest.mark.parametrize(
    ("subtypes", "reason"),
    [("ahci", ""), ("vmware.sata.ahci", ""), ("", ""), ("nvme", "the host cannot emulate NVMe" + ANY)],
)
def test_other_storage(subtypes: str, reason: str) -> None:
    controller = item(ResourceType.OTHER_STORAGE, "3", subtypes=subtypes, element_name="storage")
    plan = plan_of(system(controller, disk(1, address=4)))
    assert places(plan.machines[0]) == [("d1", "sata", 0, 0 if reason else 4)]
    assert decided(plan, "storage")[0] is (Outcome.MAPPED if reason else Outcome.KEPT)
    assert plan.machines[0].controllers == (Controller(bus=Bus.SATA),)


def test_virtio_scsi_may_be_called_other_storage() -> None:
    controller = item(ResourceType.OTHER_STORAGE, "3", subtypes="virtioscsi")
    assert places(machine_of(controller, disk(1))) == [("d1", "scsi", 0, 0)]


@pytest.mark.parametrize("kind", [ResourceType.OTHER_STORAGE, ResourceType.ISCSI_HBA, ResourceType.FC_HBA])
def test_a_controller_that_cannot_be_is_dropped_and_its_disks_go_elsewhere(kind: ResourceType) -> None:
    plan = plan_of(system(item(kind, "3", subtypes="vmware.nvdimm.controller", element_name="odd"), disk(1)))
    assert decided(plan, "odd") == (Outcome.DROPPED, "", "no target has such a controller")
    assert places(plan.machines[0]) == [("d1", "sata", 0, 0)]
    assert decided(plan, "Hard disk 1")[2] == "the package names no controller for it" + ANY
    dropped = next(finding for finding in plan.findings if finding.code == "HW_DROPPED")
    assert dropped.severity is Severity.WARNING


def test_a_replaced_controller_without_drives_is_dropped_quietly() -> None:
    plan = plan_of(system(scsi("lsilogic")))
    assert decided(plan, "SCSI 3") == (Outcome.DROPPED, "", "no drive hangs on it")
    assert plan.machines[0].controllers == ()
    dropped = next(finding for finding in plan.findings if finding.code == "HW_DROPPED")
    assert dropped.severity is Severity.INFO


class TestIde:
    PRIMARY = item(ResourceType.IDE_CONTROLLER, "5", address="0")
    SECONDARY = item(ResourceType.IDE_CONTROLLER, "6", address="1")

    def test_two_controllers_are_two_channels(self) -> None:
        machine = machine_of(self.SECONDARY, self.PRIMARY, disk(1, "5", 1), disk(2, "6", 0))
        assert sorted(places(machine)) == [("d1", "ide", 0, 1), ("d2", "ide", 0, 2)]
        assert machine.controllers == (Controller(bus=Bus.IDE),)

    def test_channels_without_address_go_by_turn(self) -> None:
        first, second = item(ResourceType.IDE_CONTROLLER, "5"), item(ResourceType.IDE_CONTROLLER, "6")
        assert places(machine_of(first, second, disk(1, "6", 1))) == [("d1", "ide", 0, 3)]

    def test_a_taken_place_gives_the_next(self) -> None:
        assert places(machine_of(self.PRIMARY, disk(1, "5", 0), disk(2, "5", 0))) == [
            ("d1", "ide", 0, 0),
            ("d2", "ide", 0, 1),
        ]

    def test_a_full_channel_spills_over_to_sata(self) -> None:
        disks = [f"d{number}" for number in range(1, 6)]
        whole = envelope(system(self.PRIMARY, *(disk(number, "5", number) for number in range(1, 6))), disks=disks)
        plan = plan_of(whole)
        assert sorted(places(plan.machines[0])) == [
            ("d1", "ide", 0, 1),
            ("d2", "ide", 0, 2),
            ("d3", "ide", 0, 3),
            ("d4", "ide", 0, 0),
            ("d5", "sata", 0, 0),
        ]
        assert decided(plan, "Hard disk 5") == (Outcome.MAPPED, "sata 0:0", "the IDE controller is full")

    def test_q35_has_no_ide(self) -> None:
        cd = item(ResourceType.CD, "7", parent="5", element_name="CD")
        plan = plan_of(system(self.PRIMARY, cd, config=EFI))
        assert places(plan.machines[0]) == [("", "sata", 0, 0)]
        assert decided(plan, "CD")[2] == "chipset q35 has no IDE, and nearly every guest has AHCI"


class TestOrder:
    def test_drives_follow_controllers_and_addresses(self) -> None:
        machine = machine_of(
            scsi("lsilogic", "3"), scsi("lsilogic", "4"), disk(3, "4", 0), disk(2, "3", 1), disk(1, "3", 0)
        )
        assert places(machine) == [("d1", "sata", 0, 0), ("d2", "sata", 0, 1), ("d3", "sata", 0, 2)]

    def test_kept_drives_keep_their_place_before_others_take_it(self) -> None:
        sata = item(ResourceType.OTHER_STORAGE, "9", subtypes="ahci")
        machine = machine_of(scsi("lsilogic"), disk(1), sata, disk(2, "9", 0))
        assert places(machine) == [("d1", "sata", 0, 1), ("d2", "sata", 0, 0)]
        assert [drive.boot_order for drive in machine.drives] == [1, 2]

    def test_many_disks_get_more_controllers(self) -> None:
        disks = [f"d{number}" for number in range(13)]
        whole = envelope(system(scsi("lsilogic"), *(disk(number, address=number) for number in range(13))), disks=disks)
        machine = plan_of(whole).machines[0]
        assert [each.index for each in machine.controllers] == [0, 1, 2]
        assert places(machine)[5:7] == [("d5", "sata", 0, 5), ("d6", "sata", 1, 0)]
        assert places(machine)[12] == ("d12", "sata", 2, 0)

    def test_an_address_beyond_qemus_controller_gets_a_free_one(self) -> None:
        assert places(machine_of(scsi("lsilogicsas"), disk(1, address=0), disk(2, address=15))) == [
            ("d1", "scsi", 0, 0),
            ("d2", "scsi", 0, 1),
        ]

    @pytest.mark.parametrize("address", ["", "x", "-1", "٣", "1000", "1.0"])
    def test_an_address_that_is_no_number_gets_the_first_free_place(self, address: str) -> None:
        assert places(machine_of(scsi("virtualscsi"), disk(1, address=address))) == [("d1", "scsi", 0, 0)]

    def test_disks_boot_before_cds_and_empty_drives_never(self) -> None:
        cd = item(ResourceType.CD, "7", file="iso")
        empty = item(ResourceType.CD, "8")
        floppy = item(ResourceType.FLOPPY, "10", file="img")
        files = {name: DiskSource(id=name, member=name, capacity_bytes=2048, file_size=2048) for name in ("iso", "img")}
        plan = plan_of(system(floppy, cd, empty, scsi("lsilogic"), disk(1)), files=files)
        orders = {(drive.kind, drive.transfer): drive.boot_order for drive in plan.machines[0].drives}
        assert orders == {
            (DriveKind.DISK, "d1"): 1,
            (DriveKind.CDROM, "file/iso"): 2,
            (DriveKind.FLOPPY, "file/img"): 3,
            (DriveKind.CDROM, ""): None,
        }


class TestRemovable:
    ISO = DiskSource(
        id="iso", member="tools.iso", file_format="iso", capacity_bytes=4096, file_size=4096, file_offset=1
    )

    def test_a_cd_is_raw_and_read_only(self) -> None:
        plan = plan_of(system(item(ResourceType.DVD, "7", file="iso")), files={"iso": self.ISO})
        assert plan.transfers == (
            Transfer(
                id="file/iso",
                member="tools.iso",
                file_format="iso",
                capacity_bytes=4096,
                image_format=ImageFormat.RAW,
                mode=DiskMode.EXPAND,
                image_name="vm-cdrom1.iso",
            ),
        )
        drive = plan.machines[0].drives[0]
        assert (drive.kind, drive.bus, drive.read_only) == (DriveKind.CDROM, Bus.IDE, True)

    def test_one_iso_in_two_drives_is_one_image(self) -> None:
        drives = [item(ResourceType.CD, number, file="iso") for number in ("7", "8")]
        plan = plan_of(system(*drives), files={"iso": self.ISO})
        assert len(plan.transfers) == 1
        assert [drive.transfer for drive in plan.machines[0].drives] == ["file/iso", "file/iso"]

    def test_a_cd_may_be_listed_as_a_disk(self) -> None:
        iso = replace(self.ISO, id="d1")
        plan = plan_of(envelope(system(item(ResourceType.CD, "7", disk="d1")), disks=("d1",)), disks={"d1": iso})
        assert plan.transfers[0].image_name == "vm-cdrom1.iso"
        assert plan.machines[0].drives[0].transfer == "d1"

    def test_a_cd_on_the_host_is_an_empty_drive(self) -> None:
        cd = item(ResourceType.CD, "7", host_resources=("/dev/cdrom",))
        assert machine_of(cd).drives[0].transfer == ""

    def test_a_machine_has_two_floppy_drives(self) -> None:
        floppies = [item(ResourceType.FLOPPY, str(number), element_name=f"Floppy {number}") for number in range(3)]
        plan = plan_of(system(*floppies))
        assert [drive.unit for drive in plan.machines[0].drives] == [0, 1]
        assert decided(plan, "Floppy 2") == (Outcome.DROPPED, "", "a machine has two floppy drives at most")


class TestOvirt:
    @pytest.mark.parametrize(
        ("interface", "place"),
        [
            ("virtio", ("d", "virtio", 0, 0)),
            ("virtio_scsi", ("d", "scsi", 0, 0)),
            ("ide", ("d", "ide", 0, 0)),
            ("sata", ("d", "sata", 0, 0)),
        ],
    )
    def test_the_disk_says_how_it_is_attached(self, interface: str, place: tuple[str, str, int, int]) -> None:
        described = Disk(id="d", file_ref="f", capacity_bytes=GIB, interface=interface)
        machine = plan_of(envelope(system(item(ResourceType.DISK, "1", disk="d")), disks=(described,))).machines[0]
        assert places(machine) == [place]
        assert not any(controller.bus is Bus.VIRTIO for controller in machine.controllers)

    def test_ide_without_ide_is_sata(self) -> None:
        described = Disk(id="d", file_ref="f", capacity_bytes=GIB, interface="ide")
        whole = envelope(system(item(ResourceType.DISK, "1", disk="d"), config=EFI), disks=(described,))
        assert places(plan_of(whole).machines[0]) == [("d", "sata", 0, 0)]


class TestTransfers:
    def test_transfers_come_in_the_order_of_the_package(self) -> None:
        whole = envelope(system(scsi("lsilogic"), disk(2, address=0), disk(1, address=1)))
        plan = plan_of(whole)
        assert [(each.id, each.image_name) for each in plan.transfers] == [
            ("d1", "vm-disk2.qcow2"),
            ("d2", "vm-disk1.qcow2"),
        ]

    def test_a_blank_disk_is_a_transfer_without_a_member(self) -> None:
        blank = Disk(id="d1", capacity_bytes=5 * GIB)
        options = InstallOptions(disk_mode=DiskMode.TRANSPLANT)
        plan = plan_of(envelope(system(scsi("lsilogic"), disk(1)), disks=(blank,)), options=options)
        (transfer,) = plan.transfers
        assert (transfer.member, transfer.file_format, transfer.capacity_bytes) == ("", "", 5 * GIB)
        assert transfer.mode is DiskMode.EXPAND

    def test_options_choose_format_and_mode(self) -> None:
        whole = envelope(system(scsi("lsilogic"), disk(1)))
        raw = plan_of(whole, options=InstallOptions(image_format=ImageFormat.RAW)).transfers[0]
        assert (raw.image_format, raw.mode, raw.image_name) == (ImageFormat.RAW, DiskMode.EXPAND, "vm-disk1.raw")
        for mode in CHOOSABLE_MODES:
            assert plan_of(whole, options=InstallOptions(disk_mode=mode)).transfers[0].mode is mode

    @pytest.mark.parametrize("mode", sorted(FOR_HYPERVISORS))
    def test_a_mode_for_hypervisors_that_take_packages_cannot_be_chosen(self, mode: DiskMode) -> None:
        with pytest.raises(PlanError, match=rf"^disk mode {mode} cannot be chosen$") as caught:
            plan_of(envelope(system(scsi("lsilogic"), disk(1))), options=InstallOptions(disk_mode=mode))
        assert caught.value.code == "E_OPTION"

    def test_what_cannot_be_transplanted_is_expanded_and_told(self) -> None:
        whole = envelope(system(scsi("lsilogic"), disk(1)))
        disks = {"d1": replace(sources_of(whole)["d1"], file_format="vmdk-sparse")}
        plan = plan_of(whole, disks=disks, options=InstallOptions(disk_mode=DiskMode.TRANSPLANT))
        assert plan.transfers[0].mode is DiskMode.EXPAND
        noted = next(finding for finding in plan.findings if finding.code == "DISK_MODE")
        assert noted.message == "disk 'd1' is vmdk-sparse, which cannot be transplanted: it is expanded"

    def test_a_disk_in_two_drives_is_two_images(self) -> None:
        twice = [disk(1, address=0), replace(disk(1, address=1), instance_id="other")]
        plan = plan_of(envelope(system(scsi("lsilogic"), *twice), disks=("d1",)))
        assert [(each.id, each.member, each.image_name) for each in plan.transfers] == [
            ("d1", "d1.vmdk", "vm-disk1.qcow2"),
            ("d1#2", "d1.vmdk", "vm-disk2.qcow2"),
        ]

    def test_disks_that_nobody_has_are_told(self) -> None:
        plan = plan_of(envelope(system(scsi("lsilogic"), disk(1)), disks=("d1", "d2")))
        (unused,) = [finding for finding in plan.findings if finding.code == "DISK_UNUSED"]
        assert unused.severity is Severity.WARNING
        assert unused.message == "disk 'd2' is attached to no machine and is not installed"

    def test_a_disk_drive_that_names_no_disk_is_dropped_with_a_warning(self) -> None:
        plan = plan_of(system(item(ResourceType.DISK, "1", element_name="Hard disk")))
        assert decided(plan, "Hard disk") == (Outcome.DROPPED, "", "it names no disk")
        assert plan.machines[0].drives == ()

    @pytest.mark.parametrize(
        ("resource", "code", "message"),
        [
            ("ovf:/disk/gone", "E_OVF_REF", "disk is filled by disk 'gone', which the package does not have"),
            ("ovf:/file/gone", "E_OVF_REF", "disk is filled by file 'gone', which the package does not have"),
            (
                "/etc/shadow",
                "E_OVF_REF",
                "disk is filled by '/etc/shadow', expected 'ovf:/disk/ID' or 'ovf:/file/ID'",
            ),
            ("ovf:/disk/blank", "E_OVF_VALUE", "disk is the blank disk 'blank', whose capacity is not known"),
        ],
    )
    def test_a_disk_that_cannot_be_had_is_an_error(self, resource: str, code: str, message: str) -> None:
        whole = envelope(system(item(ResourceType.DISK, "1", host_resources=(resource,))), disks=(Disk(id="blank"),))
        with pytest.raises(PlanError) as caught:
            plan_of(whole)
        assert caught.value.code == code
        assert str(caught.value) == f"Item 1: {message}"
