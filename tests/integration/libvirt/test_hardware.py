"""What a real libvirt says of hardware before anything is made."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

import virt_ova
from tests.build.libvirtd import session_of_nobody, why_not
from tests.build.plans import machine, plan
from tests.build.small import small_ova
from tests.integration.libvirt.conftest import Daemon
from virt_ova.errors import PlanError, TargetError
from virt_ova.plan.machine import Bus, Controller, Drive, DriveKind, Firmware, FirmwareKind, Machine
from virt_ova.plan.to_qemu import USB_DEVICES
from virt_ova.target.libvirt.target import LibvirtTarget

SIZE = 1 << 20
MAC = "52:54:00:aa:bb:0c"


@pytest.fixture
def target(daemon: Daemon) -> LibvirtTarget:
    daemon.add_pool("images")
    return LibvirtTarget(libvirt.open(daemon.uri), uri=daemon.uri, in_place=True)


def on(bus: Bus, *controllers: Controller, chipset: str = "pc") -> Machine:
    drive = Drive(id="d0", kind=DriveKind.DISK, bus=bus, transfer="disk1", boot_order=1)
    return replace(machine(chipset=chipset), drives=(drive,), controllers=controllers)


def refusal(target: LibvirtTarget, one: Machine) -> PlanError:
    with pytest.raises(PlanError) as caught:
        target.check(plan(one), {"disk1": SIZE})
    return caught.value


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (on(Bus.NVME), "nvme"),
        (machine(chipset="pc-i440fx-99.9"), "pc-i440fx-99.9"),
        (on(Bus.IDE, chipset="q35"), "IDE controllers are unsupported"),
        (replace(machine(), firmware=Firmware(kind=FirmwareKind.EFI, secure_boot=True)), "any firmware"),
    ],
    ids=["nvme", "chipset", "ide on q35", "secure boot on pc"],
)
def test_hardware_that_the_host_lacks_is_refused_before_anything_is_made(
    target: LibvirtTarget, daemon: Daemon, one: Machine, words: str
) -> None:
    error = refusal(target, one)
    assert error.code == "E_PLAN_HARDWARE"
    assert error.message.startswith(f"{target.uri} does not take the hardware of 'box': ")
    assert words in error.message
    assert error.hint == "Choose other hardware with --machine, --disk-bus or --nic-model, or edit the plan."
    assert daemon.connection.listAllDomains(0) == []
    assert list((daemon.folder / "images").iterdir()) == []


@pytest.mark.parametrize(
    "one",
    [
        on(Bus.SATA, Controller(bus=Bus.SATA)),
        on(Bus.IDE),
        on(Bus.VIRTIO),
        *(on(Bus.SCSI, Controller(bus=Bus.SCSI, model=model)) for model in ("lsisas1068", "vmpvscsi", "virtio-scsi")),
        replace(machine(chipset="q35"), firmware=Firmware(kind=FirmwareKind.EFI, secure_boot=True)),
        replace(machine(chipset="q35", firmware=FirmwareKind.EFI), has_tpm=True),
    ],
    ids=["sata", "ide", "virtio", "lsisas1068", "vmpvscsi", "virtio-scsi", "secure boot", "tpm"],
)
def test_hardware_that_the_planner_chooses_is_taken(target: LibvirtTarget, daemon: Daemon, one: Machine) -> None:
    target.check(plan(one), {"disk1": SIZE})
    assert daemon.connection.listAllDomains(0) == []


def test_the_screens_of_a_plan_and_a_tablet_on_every_usb_controller_is_taken(target: LibvirtTarget) -> None:
    for model in USB_DEVICES:
        target.check(plan(replace(machine(), usb=model, has_tablet=True, video="vga")), {"disk1": SIZE})
    target.check(plan(replace(machine(), video="virtio")), {"disk1": SIZE})


def test_the_host_has_a_tpm_where_swtpm_is_installed_whole(target: LibvirtTarget) -> None:
    assert target.capabilities.tpm
    assert not target.capabilities.has_nvme


def test_a_machine_with_a_tpm_starts_and_takes_its_secrets_along(target: LibvirtTarget, daemon: Daemon) -> None:
    domain = target.define(replace(machine(transfer="", chipset="q35", firmware=FirmwareKind.EFI), has_tpm=True), {})
    domain.start()
    assert "<tpm model='tpm-crb'>" in daemon.connection.lookupByName("box").XMLDesc(0)
    domain.discard()
    assert daemon.connection.listAllDomains(0) == []


def with_mac(name: str, mac: str = MAC) -> Machine:
    one = machine(name, transfer="")
    return replace(one, nics=(replace(one.nics[0], mac=mac),))


def test_an_address_that_another_domain_has_is_refused(target: LibvirtTarget) -> None:
    first = target.define(with_mac("first"), {})
    with pytest.raises(TargetError) as caught:
        target.check(plan(with_mac("second")), {})
    assert (caught.value.code, str(caught.value)) == (
        "E_MAC",
        f"the MAC address {MAC} of 'second' belongs to 'first' already",
    )
    assert caught.value.hint == "Leave --keep-mac out, or change the address in the plan."
    target.check(plan(with_mac("second", "52:54:00:aa:bb:0d")), {})
    first.discard()
    target.check(plan(with_mac("second")), {})


def test_an_address_that_two_machines_of_a_plan_have_is_refused(target: LibvirtTarget) -> None:
    both = replace(plan(with_mac("first")), machines=(with_mac("first"), with_mac("second")))
    with pytest.raises(TargetError, match=rf"^the MAC address {MAC} of 'second' belongs to 'first' already$"):
        target.check(both, {})


def test_an_address_that_is_kept_is_the_domains(target: LibvirtTarget, daemon: Daemon) -> None:
    domain = target.define(with_mac("first"), {})
    assert f"<mac address='{MAC}'/>" in daemon.connection.lookupByName("first").XMLDesc(0)
    domain.discard()


def test_what_no_hypervisor_of_qemus_is_is_not_asked(tmp_path: Path) -> None:
    connection = libvirt.open("test:///default")
    target = LibvirtTarget(connection, uri="test:///default", in_place=False)
    one = on(Bus.NVME)
    target.check(replace(plan(one), transfers=()), {})
    target.close()
    assert list(tmp_path.iterdir()) == []


def test_a_user_who_may_make_no_network_device_may_install() -> None:
    if reason := why_not("setpriv"):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="virt-ova-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with session_of_nobody(folder) as uri:
            agreed = virt_ova.preflight(small_ova(folder / "a.ova"), uri)
    assert [nic.connection.kind for nic in agreed.machines[0].nics] == [virt_ova.ConnectionKind.USER]
