"""What the user may want of the hardware: --machine, --disk-bus, --nic-model, --keep-mac."""

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
    plan_of,
    sources_of,
    system,
)
from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Item, OperatingSystem, ResourceType, VirtualSystemCollection
from virt_ova.plan.from_ovf import make_plan
from virt_ova.plan.guest import Guest, Support
from virt_ova.plan.guestname import GuestName
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Bus, Machine
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.plan import InstallPlan, Outcome

DEBIAN = OperatingSystem(type="debian12_64Guest")
KNOWN = {
    DEBIAN: Guest(
        name=GuestName(family="linux", distro="debian", version="12"),
        id="http://debian.org/debian/12",
        short_id="debian12",
        supports=frozenset(Support),
    )
}
SCSI = item(ResourceType.SCSI_CONTROLLER, "3", subtypes="virtualscsi", element_name="SCSI")
IDE = item(ResourceType.IDE_CONTROLLER, "4", element_name="IDE")
DISK = item(ResourceType.DISK, "5", parent="3", address_on_parent="2", disk="d1", element_name="disk")
CD = item(ResourceType.CD, "6", parent="4", address_on_parent="0", element_name="CD")
NIC = item(ResourceType.ETHERNET, "7", subtypes="vmxnet3", connections=("LAN",), element_name="NIC")
FAITHFUL = InstallOptions(machine=MachineStyle.FAITHFUL)
VIRTIO = InstallOptions(machine=MachineStyle.VIRTIO)


def planned(
    *items: Item,
    options: InstallOptions,
    host: HostCapabilities = HOST,
    config: dict[str, str] | None = None,
    is_known: bool = True,
) -> InstallPlan:
    wanted = system(*(items or (SCSI, IDE, DISK, CD, NIC)), config=config, os=DEBIAN.type)
    return plan_of(wanted, host=host, options=options, guests=KNOWN if is_known else {})


def refused(*items: Item, options: InstallOptions, config: dict[str, str] | None = None) -> PlanError:
    with pytest.raises(PlanError) as caught:
        planned(*items, options=options, config=config)
    return caught.value


def drives(machine: Machine) -> list[str]:
    return [f"{drive.kind} {drive.bus} {drive.controller}:{drive.unit}" for drive in machine.drives]


class TestScreen:
    """virtio's, only for who wants it and has its driver: a VGA shows something to everyone."""

    CARD = item(ResourceType.GRAPHICS, "8", element_name="card")
    WITHOUT = replace(HOST, devices=frozenset({"VGA", "virtio-net-pci", "virtio-blk-pci"}))

    @pytest.mark.parametrize("card", [(CARD,), ()])
    @pytest.mark.parametrize(
        ("options", "host", "is_known", "model"),
        [
            (VIRTIO, HOST, True, "virtio"),
            (VIRTIO, HOST, False, "vga"),
            (VIRTIO, WITHOUT, True, "vga"),
            (InstallOptions(), HOST, True, "vga"),
            (FAITHFUL, HOST, True, "vga"),
        ],
    )
    def test_it_depends_on_what_is_wanted_and_there(
        self, card: tuple[Item, ...], options: InstallOptions, host: HostCapabilities, model: str, *, is_known: bool
    ) -> None:
        plan = planned(SCSI, IDE, DISK, CD, NIC, *card, options=options, host=host, is_known=is_known)
        assert plan.machines[0].video == model
        why = {"virtio": "virtio is wanted, and the guest has its driver", "vga": "every guest shows something on a"}
        (decision,) = decisions_of(plan, "card" if card else "video")
        assert (decision.outcome, decision.result) == (Outcome.MAPPED if card else Outcome.ADDED, model)
        assert why[model] in decision.reason


def warnings(plan: InstallPlan) -> list[str]:
    """Those about hardware."""
    found = [each for each in plan.findings if each.severity is Severity.WARNING and each.code != "DISK_UNUSED"]
    return [f"{each.code}: {each.message}" for each in found]


def test_the_guest_is_said_with_what_is_known_of_it() -> None:
    plan = planned(options=InstallOptions())
    (decision,) = (each for each in plan.decisions if each.item == "guest")
    assert (decision.outcome, decision.result, decision.reason) == (
        Outcome.KEPT,
        "debian12",
        "the package says 'debian12_64Guest'; libosinfo: it supports virtio-blk, virtio-gpu, virtio-net, virtio-scsi",
    )
    assert plan.machines[0].libosinfo_id == "http://debian.org/debian/12"


def test_without_the_database_the_plan_says_so() -> None:
    descriptor = envelope(system(SCSI, DISK))
    plan = make_plan(
        descriptor,
        identity=IDENTITY,
        disks=sources_of(descriptor),
        files={},
        host=HOST,
        options=InstallOptions(),
        guests=None,
    )
    (found,) = [each for each in plan.findings if each.code == "GUEST_DATABASE"]
    assert (found.severity, found.message) == (
        Severity.INFO,
        "libosinfo's database is not installed here: what the guest supports is guessed from its name alone",
    )


@pytest.mark.parametrize(
    ("year", "version", "drive"),
    [(2006, "4", "disk ide 0:1"), (2007, "5", "disk sata 0:0"), (None, "5", "disk sata 0:0"),
     (None, "2.4", "disk ide 0:1")],
)  # fmt: skip
def test_the_substitute_for_a_guest_of_before_ahci_is_ide(year: int | None, version: str, drive: str) -> None:
    name = GuestName(family="linux", distro="linux" if version == "2.4" else "rhel", version=version)
    old = {DEBIAN: Guest(name=name, short_id=str(name), year=year)}
    lsi = item(ResourceType.SCSI_CONTROLLER, "3", subtypes="lsilogic", element_name="SCSI")
    plan = plan_of(system(lsi, IDE, DISK, CD, os=DEBIAN.type), guests=old)
    assert drives(plan.machines[0])[0] == drive
    if drive.startswith("disk ide"):
        assert decisions_of(plan, "SCSI")[0].reason.endswith(f"; {name} is older than AHCI, and has the IDE driver")


class TestVirtio:
    def test_disks_and_network_are_virtio_and_the_rest_stays(self) -> None:
        machine = planned(options=VIRTIO).machines[0]
        assert drives(machine) == ["disk virtio 0:0", "cdrom ide 0:0"]
        assert [nic.model for nic in machine.nics] == ["virtio"]
        assert [controller.bus for controller in machine.controllers] == [Bus.IDE]

    def test_the_decisions_say_who_asked(self) -> None:
        plan = planned(options=VIRTIO)
        for piece, result in (("SCSI", "virtio"), ("disk", "virtio 0:0"), ("NIC", "virtio on user")):
            (decision,) = decisions_of(plan, piece)
            assert (decision.outcome, decision.result) == (Outcome.MAPPED, result)
            assert decision.reason == "--machine asks for it"

    def test_a_guest_that_has_the_drivers_gets_no_warning(self) -> None:
        assert warnings(planned(options=VIRTIO)) == []

    def test_a_guest_that_is_not_known_to_have_them_gets_one(self) -> None:
        (warning,) = warnings(planned(options=VIRTIO, is_known=False))
        assert warning == (
            "GUEST_DRIVER: the guest (debian12) is not known to have a driver for virtio-blk, "
            "without which it finds no disk"
        )

    def test_what_is_virtio_already_is_kept_with_its_place(self) -> None:
        virtio = item(ResourceType.SCSI_CONTROLLER, "3", subtypes="virtio", element_name="SCSI")
        plan = planned(virtio, DISK, NIC, options=InstallOptions(disk_bus=Bus.SCSI))
        assert drives(plan.machines[0]) == ["disk scsi 0:2"]
        assert decisions_of(plan, "disk")[0].outcome is Outcome.KEPT

    def test_efi_machines_get_q35(self) -> None:
        on_ide = replace(DISK, parent="4", address_on_parent="0")
        assert planned(IDE, on_ide, options=InstallOptions(), config=EFI).machines[0].chipset == "pc"
        assert planned(IDE, on_ide, options=VIRTIO, config=EFI).machines[0].chipset == "q35"


class TestFaithful:
    def test_a_chip_that_efi_cannot_boot_from_is_kept_with_a_warning(self) -> None:
        plan = planned(options=FAITHFUL, config=EFI)
        assert drives(plan.machines[0])[0] == "disk scsi 0:2"
        assert warnings(plan) == [
            "BOOT_DOUBTFUL: SCSI: virtualscsi: kept: EFI firmware has no driver for vmpvscsi and could not boot from it"
        ]

    def test_auto_replaces_it(self) -> None:
        assert drives(planned(options=InstallOptions(), config=EFI).machines[0])[0] == "disk sata 0:0"

    def test_a_chip_that_qemu_lacks_is_replaced_all_the_same(self) -> None:
        lsi = item(ResourceType.SCSI_CONTROLLER, "3", subtypes="lsilogic", element_name="SCSI")
        assert drives(planned(lsi, DISK, options=FAITHFUL).machines[0]) == ["disk sata 0:0"]


class TestDiskBus:
    @pytest.mark.parametrize(
        ("bus", "drive"),
        [(Bus.IDE, "disk ide 0:1"), (Bus.SATA, "disk sata 0:0"), (Bus.SCSI, "disk scsi 0:0"),
         (Bus.VIRTIO, "disk virtio 0:0")],
    )  # fmt: skip
    def test_every_disk_goes_there(self, bus: Bus, drive: str) -> None:
        machine = planned(options=InstallOptions(disk_bus=bus)).machines[0]
        assert drives(machine) == [drive, "cdrom ide 0:0"]

    def test_scsi_is_virtios(self) -> None:
        machine = planned(options=InstallOptions(disk_bus=Bus.SCSI)).machines[0]
        assert [each.model for each in machine.controllers if each.bus is Bus.SCSI] == ["virtio-scsi"]

    def test_it_counts_before_machine(self) -> None:
        options = InstallOptions(machine=MachineStyle.VIRTIO, disk_bus=Bus.SATA)
        machine = planned(options=options).machines[0]
        assert (drives(machine)[0], machine.nics[0].model) == ("disk sata 0:0", "virtio")

    def test_nvme_where_the_host_has_it(self) -> None:
        options = InstallOptions(disk_bus=Bus.NVME)
        error = refused(options=options)
        assert (error.code, str(error)) == ("E_OPTION", "--disk-bus nvme: the host cannot emulate NVMe")
        assert error.hint == "Choose another bus with --disk-bus."
        machine = planned(options=options, host=replace(HOST, has_nvme=True)).machines[0]
        assert drives(machine)[0] == "disk nvme 0:0"

    def test_two_nvme_disks_have_a_controller_each(self) -> None:
        second = replace(DISK, instance_id="8", address_on_parent="3", host_resources=("ovf:/disk/d2",))
        nvme = item(ResourceType.OTHER_STORAGE, "3", subtypes="nvme")
        machine = planned(nvme, DISK, second, options=InstallOptions(), host=replace(HOST, has_nvme=True)).machines[0]
        assert drives(machine) == ["disk nvme 0:0", "disk nvme 1:0"]
        assert machine.controllers == ()

    def test_ide_under_efi_needs_the_other_chipset(self) -> None:
        assert planned(options=InstallOptions(disk_bus=Bus.IDE), config=EFI).machines[0].chipset == "pc"
        error = refused(options=InstallOptions(disk_bus=Bus.IDE), config=SECURE)
        assert (error.code, str(error)) == ("E_OPTION", "--disk-bus ide: chipset q35 has no IDE")

    def test_a_floppy_bus_is_none(self) -> None:
        error = refused(options=InstallOptions(disk_bus=Bus.FDC))
        assert str(error) == "--disk-bus fdc: a disk cannot be put there, expected one of ide, sata, scsi, virtio, nvme"


class TestNicModel:
    def test_every_interface_is_one(self) -> None:
        plan = planned(options=InstallOptions(nic_model="e1000e"))
        assert [nic.model for nic in plan.machines[0].nics] == ["e1000e"]
        assert decisions_of(plan, "NIC")[0].reason == "--nic-model asks for it"

    def test_what_is_one_already_is_kept(self) -> None:
        plan = planned(options=InstallOptions(nic_model="vmxnet3"))
        assert decisions_of(plan, "NIC")[0].outcome is Outcome.KEPT

    @pytest.mark.parametrize("model", ["flexible", "vmxnet3"])
    def test_one_that_the_host_lacks_is_refused(self, model: str) -> None:
        host = replace(HOST, devices=frozenset({"e1000", "virtio-net-pci", "pvscsi"}))
        with pytest.raises(PlanError) as caught:
            planned(options=InstallOptions(nic_model=model), host=host)
        assert caught.value.code == "E_OPTION"
        assert str(caught.value) == (f"a network interface cannot be '{model}' here, expected one of e1000, virtio")

    def test_a_model_that_nobody_knows_is_virtio_for_a_guest_that_has_the_driver(self) -> None:
        odd = replace(NIC, subtypes=("odd",))
        plan = planned(odd, options=InstallOptions())
        assert plan.machines[0].nics[0].model == "virtio"
        assert decisions_of(plan, "NIC")[0].reason == "the model 'odd' is not known; debian12 has the driver"
        unknown = planned(odd, options=InstallOptions(), is_known=False)
        assert unknown.machines[0].nics[0].model == "e1000-82545em"


class TestKeepMac:
    KEEP = InstallOptions(keep_mac=True)

    @pytest.mark.parametrize("address", ["00:50:56:AA:BB:0c", "00-50-56-aa-bb-0c", "005056AABB0C"])
    def test_it_is_taken_over_in_one_spelling(self, address: str) -> None:
        nic = replace(NIC, address=address)
        assert planned(nic, options=self.KEEP).machines[0].nics[0].mac == "00:50:56:aa:bb:0c"

    def test_one_of_digits_alone_is_no_index(self) -> None:
        assert planned(replace(NIC, address="080027112233"), options=self.KEEP).machines[0].nics[0].mac == (
            "08:00:27:11:22:33"
        )

    def test_without_the_option_it_is_not(self) -> None:
        nic = replace(NIC, address="00:50:56:aa:bb:0c")
        assert planned(nic, options=InstallOptions()).machines[0].nics[0].mac == ""

    @pytest.mark.parametrize("address", ["", "7"])
    def test_where_the_package_has_none_a_warning_says_so(self, address: str) -> None:
        plan = planned(replace(NIC, address=address), options=self.KEEP)
        assert plan.machines[0].nics[0].mac == ""
        assert warnings(plan) == ["MAC_NEW: NIC: vmxnet3: the package names no MAC address to keep"]

    @pytest.mark.parametrize("address", ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "a,mac=b"])
    def test_an_address_of_no_host_is_refused(self, address: str) -> None:
        error = refused(replace(NIC, address=address), options=self.KEEP)
        assert (error.code, error.hint) == ("E_MAC", "Leave --keep-mac out to get a new address.")
        assert str(error) == (
            f"Item 7: NIC: vmxnet3 has the MAC address '{address}', expected one of a host, as 52:54:00:12:34:56"
        )

    def test_two_interfaces_of_one_address_are_refused(self) -> None:
        nic = replace(NIC, address="00:50:56:aa:bb:0c")
        error = refused(nic, replace(nic, instance_id="8"), options=self.KEEP)
        assert (error.code, error.hint) == ("E_MAC", "Leave --keep-mac out to get new addresses.")
        assert str(error) == (
            "the package gives the MAC address 00:50:56:aa:bb:0c to 2 network interfaces, expected one"
        )

    def test_two_machines_of_one_address_are_refused(self) -> None:
        nic = replace(NIC, address="00:50:56:aa:bb:0c")
        both = VirtualSystemCollection(id="both", content=(system(nic, id="a"), system(nic, id="b")))
        with pytest.raises(PlanError, match=r"^the package gives the MAC address 00:50:56:aa:bb:0c to 2 network"):
            plan_of(envelope(both), options=self.KEEP)


def test_the_name_that_a_slot_gave_is_said() -> None:
    nic = replace(NIC, config={"slotInfo.pciSlotNumber": "160"})
    (found,) = [each for each in planned(nic, options=InstallOptions()).findings if each.code == "NIC_NAME"]
    assert (found.severity, found.message) == (
        Severity.INFO,
        "NIC: vmxnet3: a guest that names interfaces by their slots called it ens160, and calls it otherwise here",
    )


@pytest.mark.parametrize("slot", ["-1", "x", "9" * 40, "²"])
def test_a_slot_that_is_no_number_is_passed_over(slot: str) -> None:
    nic = replace(NIC, config={"slotInfo.pciSlotNumber": slot})
    assert "NIC_NAME" not in {found.code for found in planned(nic, options=InstallOptions()).findings}


def test_interfaces_stay_in_their_order() -> None:
    nics = [
        replace(NIC, instance_id=str(number), subtypes=(model,))
        for number, model in enumerate(("vmxnet3", "e1000", "odd"), 7)
    ]
    assert [nic.model for nic in planned(*nics, options=InstallOptions()).machines[0].nics] == [
        "vmxnet3",
        "e1000-82545em",
        "virtio",
    ]
