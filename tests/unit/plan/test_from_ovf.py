from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.plan.builders import (
    EFI,
    HOST,
    IDENTITY,
    SECURE,
    decisions_of,
    envelope,
    item,
    machine_of,
    plan_of,
    system,
)
from virt_ova.errors import PlanError
from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import (
    DeploymentOption,
    Disk,
    Envelope,
    Product,
    ResourceType,
    StartupItem,
    VirtualHardware,
    VirtualSystem,
    VirtualSystemCollection,
)
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Cpus, Firmware, FirmwareKind
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, ImageFormat, Outcome
from virt_ova.units import GIB, MIB

CPU = item(ResourceType.PROCESSOR, "1", quantity=2, element_name="2 virtual CPU(s)")
MEMORY = item(ResourceType.MEMORY, "2", quantity=512 * MIB)
IDE_DISK = (item(ResourceType.IDE_CONTROLLER, "8"), item(ResourceType.DISK, "9", parent="8", disk="d1"))


def refusal(descriptor: Envelope | VirtualSystem, **values: object) -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan_of(descriptor, **values)  # type: ignore[arg-type]  # values are the test's
    return caught.value


def test_every_decision_that_is_not_kept_is_a_finding() -> None:
    plan = plan_of(system(CPU, MEMORY, item(ResourceType.OTHER, "5", subtypes="vmware.vmci", where="Item 5")))
    changed = [decision for decision in plan.decisions if decision.outcome is not Outcome.KEPT]
    found = [finding for finding in plan.findings if finding.code.startswith("HW_")]
    assert len(changed) == len(found) > 0
    assert (
        Finding(
            code="HW_DROPPED",
            severity=Severity.INFO,
            message="device of type 1: vmware.vmci: dropped: it speaks to VMware's hypervisor alone",
            where="Item 5",
        )
        in found
    )
    assert decisions_of(plan, "2 virtual CPU(s)")[0].outcome is Outcome.KEPT


def test_findings_of_the_descriptor_come_first() -> None:
    noted = Finding(code="OVF_X", severity=Severity.INFO, message="x")
    assert plan_of(envelope(system(CPU), findings=(noted,))).findings[0] == noted


def test_nothing_to_install() -> None:
    assert str(refusal(envelope())) == "the descriptor has no VirtualSystem, so there is no machine to make"
    bare = refusal(VirtualSystem(id="vm", where="VirtualSystem"))
    assert bare.code == "E_OVF_HARDWARE"
    assert str(bare) == "VirtualSystem: system 'vm' has no VirtualHardwareSection, so no machine can be made"


def test_arm_guests_are_refused() -> None:
    error = refusal(system(CPU, os="arm-debian12-64"))
    assert error.code == "E_NOT_SUPPORTED"
    assert error.message == "the guest 'arm-debian12-64' needs an ARM processor, expected one for x86"


def test_a_disk_below_one_in_use_is_not_unused() -> None:
    parents = {"top": "middle", "middle": "base", "base": "", "other": ""}
    disks = tuple(Disk(id=name, file_ref=name, capacity_bytes=GIB, parent_ref=parents[name]) for name in parents)
    plan = plan_of(envelope(system(CPU, item(ResourceType.DISK, "1", disk="top")), disks=disks))
    assert [(each.member, each.parents) for each in plan.transfers] == [("top.vmdk", ("middle.vmdk", "base.vmdk"))]
    assert [each.message for each in plan.findings if each.code == "DISK_UNUSED"] == [
        "disk 'other' is attached to no machine and is not installed"
    ]


class TestNames:
    def test_the_package_names_the_machine(self) -> None:
        plan = plan_of(system(CPU, name="a/b <c>"))
        assert (plan.machines[0].name, plan.machines[0].title, plan.machines[0].package) == (
            "a-b -c",
            "a/b <c>",
            "test.ova",
        )
        noted = next(finding for finding in plan.findings if finding.code == "NAME_MAPPED")
        assert noted.message == "system 'a/b <c>' becomes machine 'a-b -c'"

    def test_a_nameless_system_is_named_after_its_package(self) -> None:
        assert plan_of(system(CPU, id="")).machines[0].name == "test"

    def test_the_user_names_the_machine(self) -> None:
        plan = plan_of(system(CPU, name="a/b"), options=InstallOptions(name="mine"))
        assert plan.machines[0].name == "mine"
        assert "NAME_MAPPED" not in {finding.code for finding in plan.findings}

    def test_a_bad_name_of_the_user_is_refused(self) -> None:
        assert refusal(system(CPU), options=InstallOptions(name="a/b")).code == "E_NAME"

    def test_machines_of_a_collection_have_names_of_their_own(self) -> None:
        content = (system(CPU, id="a", name="vm"), system(CPU, id="b", name="vm"))
        whole = envelope(VirtualSystemCollection(id="c", content=content))
        assert [machine.name for machine in plan_of(whole).machines] == ["vm", "vm-2"]
        named = plan_of(whole, options=InstallOptions(name="mine"))
        assert [machine.name for machine in named.machines] == ["mine-vm", "mine-vm-2"]


class TestCollections:
    def test_machines_come_in_the_order_of_their_start(self) -> None:
        inner = VirtualSystemCollection(id="inner", content=(system(CPU, id="x"), system(CPU, id="y")))
        whole = envelope(
            VirtualSystemCollection(
                id="c",
                content=(system(CPU, id="web"), inner, system(CPU, id="db")),
                startup=(
                    StartupItem(system_id="web", order=3),
                    StartupItem(system_id="inner", order=2),
                    StartupItem(system_id="db", order=1),
                ),
            ),
        )
        assert [machine.name for machine in plan_of(whole).machines] == ["db", "x", "y", "web"]

    def test_decisions_name_the_machine(self) -> None:
        plan = plan_of(envelope(system(CPU, id="a"), system(CPU, id="b")))
        assert decisions_of(plan, "a: 2 virtual CPU(s)")
        assert decisions_of(plan, "b: 2 virtual CPU(s)")
        assert any(finding.message.startswith("b: video: added vga") for finding in plan.findings)

    def test_each_machine_has_its_own_images(self) -> None:
        plan = plan_of(envelope(system(*IDE_DISK, id="a"), system(*IDE_DISK, id="b")))
        assert [transfer.image_name for transfer in plan.transfers] == ["a-disk1.qcow2", "b-disk1.qcow2"]
        assert [transfer.id for transfer in plan.transfers] == ["d1", "d1#2"]
        assert [machine.drives[0].transfer for machine in plan.machines] == ["d1", "d1#2"]

    def test_a_shared_disk_is_one_raw_image(self) -> None:
        disks = (Disk(id="d1", file_ref="f", capacity_bytes=GIB, shared=True),)
        descriptor = envelope(system(*IDE_DISK, id="a"), system(*IDE_DISK, id="b"), disks=disks)
        plan = plan_of(descriptor, options=InstallOptions(disk_mode=DiskMode.TRANSPLANT))
        (transfer,) = plan.transfers
        assert (transfer.id, transfer.image_name, transfer.mode) == ("d1", "a-disk1.raw", DiskMode.EXPAND)
        assert transfer.image_format is ImageFormat.RAW
        assert [(machine.drives[0].transfer, machine.drives[0].shared) for machine in plan.machines] == [
            ("d1", True)
        ] * 2
        assert [(each.severity, each.message) for each in plan.findings if each.code == "DISK_SHARED"] == [
            (Severity.INFO, "disk 'd1' is one raw image, which these machines share: 'a', 'b'")
        ]

    def test_a_shared_disk_of_one_machine_is_like_any_other(self) -> None:
        disks = (Disk(id="d1", file_ref="f", capacity_bytes=GIB, shared=True),)
        plan = plan_of(envelope(system(*IDE_DISK, id="a"), disks=disks))
        assert (plan.transfers[0].image_format, plan.machines[0].drives[0].shared) == (ImageFormat.QCOW2, False)
        assert [(each.severity, each.message) for each in plan.findings if each.code == "DISK_SHARED"] == [
            (Severity.INFO, "disk 'd1' is meant to be shared, but no two machines have it")
        ]


class TestOptions:
    def test_a_deployment_option_chooses_items(self) -> None:
        small = item(ResourceType.PROCESSOR, "1", quantity=1, configurations=("small",))
        large = item(ResourceType.PROCESSOR, "1", quantity=8, configurations=("large",))
        choices = (DeploymentOption(id="small", default=True), DeploymentOption(id="large"))
        whole = envelope(system(small, large), deployment_options=choices)
        assert plan_of(whole).machines[0].cpus.count == 1
        assert plan_of(whole, options=InstallOptions(deployment_option="large")).machines[0].cpus.count == 8
        error = refusal(whole, options=InstallOptions(deployment_option="huge"))
        assert error.code == "E_OPTION"
        assert error.message == "the package has no deployment option 'huge', it has: 'small', 'large'"

    def test_a_package_without_deployment_options_says_none(self) -> None:
        error = refusal(system(CPU), options=InstallOptions(deployment_option="x"))
        assert error.message == "the package has no deployment option 'x', it has: none"

    @pytest.mark.parametrize("mode", [DiskMode.TRANSPLANT, DiskMode.LINK])
    def test_raw_images_can_only_be_expanded(self, mode: DiskMode) -> None:
        error = refusal(system(CPU), options=InstallOptions(disk_mode=mode, image_format=ImageFormat.RAW))
        assert error.code == "E_OPTION"
        assert error.message == f"disk mode {mode} makes qcow2 images, not raw"
        assert error.hint == "Use --disk-mode expand for raw images."

    def test_the_virtualization_is_the_best_of_the_host_or_the_chosen(self) -> None:
        assert plan_of(system(CPU)).machines[0].virt_type == "kvm"
        assert plan_of(system(CPU), options=InstallOptions(virt_type="qemu")).machines[0].virt_type == "qemu"
        silent = HostCapabilities()
        assert plan_of(system(CPU), host=silent).machines[0].virt_type == ""
        assert plan_of(system(CPU), host=silent, options=InstallOptions(virt_type="kvm")).machines[0].virt_type == "kvm"

    def test_a_host_without_kvm_says_so(self) -> None:
        host = HostCapabilities(virt_types=("qemu",))
        error = refusal(system(CPU), host=host, options=InstallOptions(virt_type="kvm"))
        assert error.code == "E_VIRT_TYPE"
        assert error.message == "the host cannot run machines of type 'kvm', it can: qemu"


class TestQuantities:
    def test_processors_and_memory_are_kept(self) -> None:
        machine = machine_of(replace(CPU, quantity=4, cores_per_socket=2), MEMORY)
        assert machine.cpus == Cpus(count=4, cores_per_socket=2)
        assert machine.memory_bytes == 512 * MIB

    def test_missing_quantities_get_defaults_that_are_told(self) -> None:
        plan = plan_of(system())
        assert plan.machines[0].cpus == Cpus(count=1)
        assert plan.machines[0].memory_bytes == GIB
        messages = {finding.message for finding in plan.findings if finding.code == "HW_ADDED"}
        assert "processors: added 1: the package does not say how many" in messages
        assert "memory: added 1.0 GiB: the package does not say how much" in messages

    def test_uneven_sockets_are_flattened(self) -> None:
        plan = plan_of(system(replace(CPU, quantity=3, cores_per_socket=2)))
        assert plan.machines[0].cpus == Cpus(count=3)
        assert decisions_of(plan, "2 virtual")[0].reason == "3 cannot be shared out into sockets of 2 cores"

    def test_memory_is_rounded_up_to_whole_mib(self) -> None:
        plan = plan_of(system(replace(MEMORY, quantity=MIB + 1)))
        assert plan.machines[0].memory_bytes == 2 * MIB
        assert decisions_of(plan, "memory")[0].reason == "1048577 bytes are no whole number of MiB"

    def test_too_many_processors(self) -> None:
        error = refusal(system(replace(CPU, quantity=256)))
        assert error.code == "E_OVF_VALUE"
        assert str(error) == "Item 1: the package asks for 256 processors, a machine here can have 255"


class TestBoard:
    def test_bios_is_the_default_and_has_pc(self) -> None:
        plan = plan_of(system(CPU))
        assert plan.machines[0].firmware == Firmware()
        assert plan.machines[0].chipset == "pc"
        assert decisions_of(plan, "firmware")[0].reason == "the package names none, which means BIOS"

    def test_efi_has_q35(self) -> None:
        machine = machine_of(CPU, config=EFI)
        assert machine.firmware == Firmware(kind=FirmwareKind.EFI)
        assert machine.chipset == "q35"

    def test_efi_with_a_disk_on_ide_has_pc(self) -> None:
        machine = machine_of(*IDE_DISK, config=EFI)
        assert machine.chipset == "pc"
        assert machine.drives[0].bus == "ide"

    def test_secure_boot_has_q35_even_with_a_disk_on_ide(self) -> None:
        machine = machine_of(*IDE_DISK, config=SECURE)
        assert machine.firmware.secure_boot
        assert machine.chipset == "q35"
        assert machine.drives[0].bus == "sata"

    def test_secure_boot_is_dropped_with_a_warning(self) -> None:
        plan = plan_of(system(CPU, config=SECURE), host=replace(HOST, secure_boot=False))
        assert plan.machines[0].firmware == Firmware(kind=FirmwareKind.EFI)
        dropped = next(finding for finding in plan.findings if finding.message.startswith("secure boot"))
        assert dropped.severity is Severity.WARNING
        assert dropped.message == "secure boot: dropped: the host's firmware cannot enforce it"

    def test_a_host_without_the_firmware_is_refused(self) -> None:
        error = refusal(system(CPU, config=EFI), host=replace(HOST, firmware=frozenset({FirmwareKind.BIOS})))
        assert error.code == "E_FIRMWARE"
        assert error.message == "the package boots by EFI, which the host cannot"
        assert error.hint == "Install the OVMF firmware on the host."
        error = refusal(system(CPU), host=replace(HOST, firmware=frozenset({FirmwareKind.EFI})))
        assert error.message == "the package boots by BIOS, which the host cannot"
        assert error.hint == "Use another host."

    def test_a_host_without_pc_gives_what_it_has(self) -> None:
        plan = plan_of(system(*IDE_DISK), host=replace(HOST, chipsets=("q35",)))
        assert plan.machines[0].chipset == "q35"
        assert plan.machines[0].drives[0].bus == "sata"
        assert decisions_of(plan, "chipset")[0].reason == "the host has no pc"

    def test_secure_boot_without_q35_is_refused(self) -> None:
        error = refusal(system(CPU, config=SECURE), host=replace(HOST, chipsets=("pc",)))
        assert error.code == "E_FIRMWARE"
        assert error.message == "the package needs EFI secure boot, which needs chipset q35, and the host has pc"


def test_of_several_hardware_sections_the_best_known_is_taken() -> None:
    sections = (
        VirtualHardware(system_types=("xen-3",), items=()),
        VirtualHardware(system_types=("vmx-07",), items=(CPU,)),
    )
    plan = plan_of(VirtualSystem(id="vm", hardware=sections))
    assert plan.machines[0].cpus.count == 2
    noted = next(finding for finding in plan.findings if finding.code == "HW_ALTERNATIVE")
    assert noted.message == "of 2 hardware sections the one for 'vmx-07' is taken"


@pytest.mark.parametrize(("os", "clock"), [("windows9_64Guest", "localtime"), ("debian12_64Guest", "utc"), ("", "utc")])
def test_windows_keeps_local_time(os: str, clock: str) -> None:
    machine = machine_of(CPU, os=os)
    assert (machine.os_type, machine.clock) == (os, clock)


def test_the_description_is_the_annotation_or_the_product() -> None:
    product = Product(name="App", vendor="Vendor", version="1", full_version="1.2")
    assert plan_of(system(CPU, annotation="note", products=(product,))).machines[0].description == "note"
    assert plan_of(system(CPU, products=(product,))).machines[0].description == "Vendor App 1.2"
    assert machine_of(CPU).description == ""


def test_the_plan_names_its_package() -> None:
    plan = plan_of(system(CPU))
    assert (plan.version, plan.package) == (1, IDENTITY)
