"""QEMU itself is the judge: every command line that should work is started, stopped before its first instruction."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.plan.builders import USER, machine
from virt_ova.errors import PlanError
from virt_ova.plan.inputs import VolumeSource
from virt_ova.plan.machine import (
    Bus,
    Connection,
    ConnectionKind,
    Controller,
    Cpus,
    Drive,
    DriveKind,
    Firmware,
    FirmwareKind,
    Machine,
    Nic,
)
from virt_ova.plan.to_qemu import (
    SCSI_DEVICES,
    SOUND_DEVICES,
    USB_DEVICES,
    VIDEO_DEVICES,
    QemuSettings,
    qemu_command,
)

OVMF = Path("/usr/share/OVMF")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
needs_ovmf = pytest.mark.skipif(not OVMF.is_dir(), reason="OVMF is not installed")
EFI = Firmware(kind=FirmwareKind.EFI)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VolumeSource]:
    folder = tmp_path_factory.mktemp("a,b")
    names = [f"d{number}" for number in range(6)]
    for name in names:
        (folder / f"{name}.raw").write_bytes(bytes(1 << 20))
    return {name: VolumeSource(image_format="raw", path=f"{folder}/{name}.raw") for name in names}


def run(virtual: Machine, sources: dict[str, VolumeSource], settings: QemuSettings | None = None) -> str:
    """Start `virtual`, let QEMU list its devices, quit; what QEMU printed. A device it does not take fails the test."""
    command = qemu_command(virtual, sources=sources, settings=settings or QemuSettings(serial="null"))
    done = subprocess.run(
        [*command, "-S", "-monitor", "stdio"],
        input="info qtree\ninfo block\nquit\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.replace("has no peer", "").count("warning") <= 1, done.stderr
    return done.stdout


def argument(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def disk(bus: Bus, number: int = 0, **values: object) -> Drive:
    fields: dict[str, object] = {"id": f"disk{number}", "kind": DriveKind.DISK, "bus": bus, "transfer": f"d{number}"}
    return Drive(**(fields | values))  # type: ignore[arg-type]  # values are the test's


@needs_qemu
def test_two_machines_share_a_disk_on_every_bus(tmp_path: Path, sources: dict[str, VolumeSource]) -> None:
    """QEMU locks its images: without a word the second one would not start."""
    buses = (Bus.IDE, Bus.SATA, Bus.SCSI, Bus.VIRTIO, Bus.NVME, Bus.USB)
    controllers = (Controller(bus=Bus.SATA), Controller(bus=Bus.SCSI, model="lsisas1068"))
    drives = tuple(disk(bus, number, shared=True) for number, bus in enumerate(buses))
    virtual = machine(controllers=controllers, drives=drives, usb="ehci")
    command = qemu_command(virtual, sources=sources, settings=QemuSettings(serial="null"))
    pid_file = tmp_path / "pid"
    subprocess.run([*command, "-S", "-daemonize", "-pidfile", pid_file], check=True, timeout=60)
    try:
        assert "share-rw = true" in run(virtual, sources)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


@needs_qemu
@pytest.mark.parametrize("chipset", ["pc", "q35"])
def test_qemu_takes_a_machine_with_nearly_everything(chipset: str, sources: dict[str, VolumeSource]) -> None:
    ide = chipset == "pc"
    models = ["lsisas1068", "vmpvscsi", "virtio-scsi"]
    scsi = [Controller(bus=Bus.SCSI, index=index, model=model) for index, model in enumerate(models)]
    virtual = machine(
        chipset=chipset,
        cpus=Cpus(count=4, cores_per_socket=2),
        controllers=(*scsi, Controller(bus=Bus.SATA), Controller(bus=Bus.SATA, index=1), Controller(bus=Bus.IDE)),
        drives=(
            disk(Bus.SCSI, 0, unit=7, boot_order=1),
            disk(Bus.SCSI, 1, controller=1, unit=63, boot_order=2),
            disk(Bus.SCSI, 2, controller=2, unit=255),
            disk(Bus.SATA, 3, controller=1, unit=5),
            disk(Bus.VIRTIO, 4),
            Drive(id="cd", kind=DriveKind.CDROM, bus=Bus.IDE if ide else Bus.SATA, unit=3, transfer="d5", boot_order=3),
            Drive(id="empty", kind=DriveKind.CDROM, bus=Bus.SATA, unit=4),
            Drive(id="fd", kind=DriveKind.FLOPPY, bus=Bus.FDC, unit=1),
        ),
        nics=tuple(Nic(model=model, connection=USER) for model in ("e1000-82545em", "e1000e", "vmxnet3", "pcnet")),
        serial_ports=2,
        parallel_ports=1,
        sound="ich6" if ide else "ich9",
        usb="ehci",
    )
    tree = run(virtual, sources)
    for device in ("mptsas1068", "pvscsi", "virtio-scsi-pci", "ich9-ahci", "floppy", "vmxnet3", "pcnet", "hda-duplex"):
        assert f"dev: {device}, id " in tree
    assert tree.count("dev: isa-serial") == 2


@needs_qemu
@pytest.mark.parametrize("model", SCSI_DEVICES)
def test_qemu_takes_every_scsi_controller(model: str, sources: dict[str, VolumeSource]) -> None:
    controllers = (Controller(bus=Bus.SCSI, model=model),)
    tree = run(machine(controllers=controllers, drives=(disk(Bus.SCSI, unit=2),)), sources)
    assert "dev: scsi-hd" in tree
    assert "scsi-id = 2 (0x2)" in tree


@needs_qemu
@pytest.mark.parametrize("model", ["e1000", "e1000-82545em", "e1000e", "pcnet", "rtl8139", "virtio", "vmxnet3"])
def test_qemu_takes_every_network_card(model: str, sources: dict[str, VolumeSource]) -> None:
    nic = Nic(model=model, connection=USER, mac="52:54:00:00:00:01")
    assert "52:54:00:00:00:01" in run(machine(nics=(nic,)), sources)


@needs_qemu
@pytest.mark.parametrize("model", SOUND_DEVICES)
def test_qemu_takes_every_sound_card(model: str, sources: dict[str, VolumeSource]) -> None:
    assert 'audiodev = "audio0"' in run(machine(sound=model), sources)


@needs_qemu
@pytest.mark.parametrize("model", VIDEO_DEVICES)
def test_qemu_takes_every_screen(model: str, sources: dict[str, VolumeSource]) -> None:
    assert f"dev: {VIDEO_DEVICES[model]}, id" in run(machine(video=model), sources)


@needs_qemu
@pytest.mark.parametrize("model", USB_DEVICES)
def test_qemu_takes_every_usb_controller(model: str, sources: dict[str, VolumeSource]) -> None:
    shown = run(machine(usb=model, has_tablet=True, drives=(disk(Bus.USB),)), sources)
    assert "dev: usb-storage" in shown
    assert "dev: usb-tablet" in shown


@needs_qemu
def test_qemu_takes_nvme(sources: dict[str, VolumeSource]) -> None:
    assert "dev: nvme, id" in run(machine(drives=(disk(Bus.NVME),)), sources)


@needs_qemu
@needs_ovmf
@pytest.mark.parametrize(("chipset", "secure_boot"), [("pc", False), ("q35", False), ("q35", True)])
def test_qemu_takes_efi(chipset: str, secure_boot: bool, sources: dict[str, VolumeSource], tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    variables = tmp_path / "vars,1.fd"
    shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
    code = OVMF / ("OVMF_CODE_4M.secboot.fd" if secure_boot else "OVMF_CODE_4M.fd")
    settings = QemuSettings(serial="null", firmware_code=str(code), firmware_vars=str(variables))
    virtual = machine(chipset=chipset, firmware=Firmware(kind=FirmwareKind.EFI, secure_boot=secure_boot))
    shown = run(virtual, sources, settings)
    assert str(code) in shown
    assert f"secure = {'true' if secure_boot else 'false'}" in shown


@pytest.mark.parametrize(("keeps_writes", "fate"), [(True, ""), (False, ",snapshot=on")])
def test_variables_of_the_package_are_used(*, keeps_writes: bool, fate: str) -> None:
    virtual = machine(chipset="q35", firmware=Firmware(kind=FirmwareKind.EFI, variables="v"))
    own = {"v": VolumeSource(image_format="raw", path="a,b.fd")}
    settings = QemuSettings(firmware_code="code", firmware_vars="other", keeps_writes=keeps_writes)
    command = qemu_command(virtual, sources=own, settings=settings)
    assert f"if=pflash,format=raw,unit=1{fate},file=a,,b.fd" in command
    assert "other" not in " ".join(command)


@needs_qemu
def test_an_interface_without_a_cable_has_no_peer(sources: dict[str, VolumeSource]) -> None:
    virtual = machine(nics=(Nic(model="e1000", connection=Connection(kind=ConnectionKind.NONE)),))
    command = qemu_command(virtual, sources={})
    assert "-netdev" not in command
    assert "dev: e1000, id" in run(virtual, sources)


@pytest.fixture
def tpm_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "tpm"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield path


def test_a_tpm_is_reached_by_its_socket(tpm_socket: Path) -> None:
    command = qemu_command(machine(has_tpm=True), sources={}, settings=QemuSettings(tpm_socket=str(tpm_socket)))
    assert argument(command, "-chardev") == f"socket,id=tpm,path={tpm_socket}"
    assert argument(command, "-tpmdev") == "emulator,id=tpm0,chardev=tpm"
    assert "tpm-tis,tpmdev=tpm0" in command


@pytest.mark.parametrize(("virt_type", "accelerators"), [("kvm", ["kvm"]), ("qemu", ["tcg"]), ("", ["kvm", "tcg"])])
def test_the_accelerator_follows_the_virtualization(virt_type: str, accelerators: list[str]) -> None:
    command = qemu_command(machine(virt_type=virt_type), sources={})
    found = [command[place + 1] for place, option in enumerate(command) if option == "-accel"]
    assert found == accelerators


def test_settings_and_names_enter_as_arguments_of_their_own() -> None:
    nics = (Nic(model="virtio", connection=USER), Nic(model="virtio", connection=USER))
    bridge = Nic(model="e1000", connection=Connection(kind=ConnectionKind.BRIDGE, name="br0"))
    settings = QemuSettings(binary="/opt/qemu", serial="mon:stdio", display="gtk", host_forwards=("tcp::2222-:22",))
    command = qemu_command(machine(name="a,b=$(id)", nics=(*nics, bridge)), sources={}, settings=settings)
    assert command[0] == "/opt/qemu"
    assert argument(command, "-name") == "guest=a,,b=$(id)"
    assert argument(command, "-serial") == "mon:stdio"
    assert argument(command, "-display") == "gtk"
    netdevs = [command[place + 1] for place, option in enumerate(command) if option == "-netdev"]
    assert netdevs == ["user,hostfwd=tcp::2222-:22,id=net0", "user,id=net1", "bridge,br=br0,id=net2"]


@needs_qemu
def test_a_machine_may_have_no_screen_and_no_ports(sources: dict[str, VolumeSource]) -> None:
    tree = run(machine(video="", serial_ports=0), sources)
    assert "dev: VGA" not in tree
    assert "dev: isa-serial" not in tree


def test_a_relative_path_stays_relative() -> None:
    drive = disk(Bus.VIRTIO, boot_order=1)
    command = qemu_command(machine(drives=(drive,)), sources={"d0": VolumeSource(image_format="qcow2", path="a.qcow2")})
    assert argument(command, "-drive") == "if=none,id=drive0,format=qcow2,readonly=off,file=a.qcow2"
    assert "virtio-blk-pci,drive=drive0,bootindex=1" in command


@pytest.mark.parametrize(
    ("virtual", "code", "message"),
    [
        (machine(firmware=EFI), "E_PLAN_SETTINGS", "the machine boots by EFI, and no EFI firmware was given"),
        (machine(has_tpm=True), "E_PLAN_SETTINGS", "the machine has a TPM, and no socket of an emulated one was given"),
        (
            machine(drives=(disk(Bus.SATA),)),
            "E_PLAN_SOURCE",
            "drive 'disk0' is filled by transfer 'd0', which has no image",
        ),
        (
            machine(virt_type="xen"),
            "E_PLAN_HARDWARE",
            "virtualization type 'xen' is not QEMU's, expected 'kvm' or 'qemu'",
        ),
        (
            machine(controllers=(Controller(bus=Bus.SCSI, model="buslogic"),)),
            "E_PLAN_HARDWARE",
            (
                "SCSI controller model 'buslogic' is not known, expected one of am53c974, dc390, lsilogic, lsisas1068, "
                "lsisas1078, virtio-scsi, vmpvscsi"
            ),
        ),
        (machine(sound="gus"), "E_PLAN_HARDWARE", "sound model 'gus' is not known"),
        (
            machine(
                nics=(Nic(model="e1000", network="LAN", connection=Connection(kind=ConnectionKind.NETWORK, name="n")),)
            ),
            "E_NETWORK",
            "network 'LAN' goes to libvirt's network 'n', which QEMU alone cannot reach",
        ),
        (
            machine(
                nics=(Nic(model="e1000", network="LAN", connection=Connection(kind=ConnectionKind.PRIVATE, name="n")),)
            ),
            "E_NETWORK",
            "network 'LAN' goes to libvirt's network 'n', which QEMU alone cannot reach",
        ),
    ],
)
def test_what_qemu_alone_cannot_do_is_refused(virtual: Machine, code: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        qemu_command(virtual, sources={})
    assert caught.value.code == code
    assert str(caught.value) == message


def test_a_network_interface_can_be_booted_from() -> None:
    nic = Nic(model="e1000", network="LAN", connection=Connection(kind=ConnectionKind.USER), boot_order=3)
    assert "e1000,netdev=net0,bootindex=3" in qemu_command(machine(nics=(nic,)), sources={})


def test_what_is_only_tried_keeps_nothing_that_it_writes() -> None:
    drives = (
        Drive(id="a", kind=DriveKind.DISK, bus=Bus.VIRTIO, transfer="disk1"),
        Drive(id="b", kind=DriveKind.CDROM, bus=Bus.IDE, unit=2, transfer="disk1", read_only=True),
        Drive(id="c", kind=DriveKind.FLOPPY, bus=Bus.FDC, transfer="disk1"),
    )
    firmware = Firmware(kind=FirmwareKind.EFI)
    tried = machine(drives=drives, firmware=firmware)
    settings = QemuSettings(firmware_code="code.fd", firmware_vars="vars.fd", keeps_writes=False)
    command = qemu_command(tried, sources={"disk1": VolumeSource(image_format="raw", path="d.raw")}, settings=settings)
    backends = [word for word in command if "file=" in word]
    assert {word.rpartition("file=")[2]: "snapshot=on" in word for word in backends[:2]} == {
        "code.fd": False,
        "vars.fd": True,
    }
    assert ["snapshot=on" in word for word in backends[2:]] == [True, False, True]
