"""A machine as a QEMU command line (qemu(1)), for hosts without libvirt.

The same hardware as `virt_ova.plan.to_libvirt` gives, device by device, on ``-nodefaults``. The result is an argument
list, never a shell string; text that stands among comma-separated options has its commas doubled, as QEMU wants it.

The processor is ``max``: under KVM the host's, emulated all that QEMU knows (see `to_libvirt` for why).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from virt_ova.errors import PlanError
from virt_ova.plan.inputs import VolumeSource
from virt_ova.plan.machine import Bus, ConnectionKind, Controller, Drive, DriveKind, FirmwareKind, Machine, Nic
from virt_ova.plan.nics import MADE
from virt_ova.plan.to_libvirt import AGENT_PORT, IDE_UNITS_PER_CHANNEL, source_of, variables_of, wwn_of
from virt_ova.text import quoted
from virt_ova.units import MIB

SCSI_DEVICES = {
    "": "lsi53c895a",
    "lsilogic": "lsi53c895a",
    "lsisas1068": "mptsas1068",
    "lsisas1078": "megasas",
    "vmpvscsi": "pvscsi",
    "virtio-scsi": "virtio-scsi-pci",
    "am53c974": "am53c974",
    "dc390": "dc390",
}
"""libvirt's SCSI controller models by QEMU's names."""

NIC_DEVICES = {"virtio": "virtio-net-pci"}
"""libvirt's NIC models whose QEMU name differs."""

VIDEO_DEVICES = {
    "vga": "VGA",
    "vmvga": "vmware-svga",
    "cirrus": "cirrus-vga",
    "qxl": "qxl-vga",
    "virtio": "virtio-vga",
    "bochs": "bochs-display",
}
USB_DEVICES = {"ehci": "usb-ehci", "qemu-xhci": "qemu-xhci", "piix3-uhci": "piix3-usb-uhci"}
TABLET_DEVICE = "usb-tablet"
SOUND_DEVICES = {
    "es1370": ("ES1370,audiodev=audio0",),
    "ac97": ("AC97,audiodev=audio0",),
    "sb16": ("sb16,audiodev=audio0",),
    "ich6": ("intel-hda", "hda-duplex,audiodev=audio0"),
    "ich9": ("ich9-intel-hda", "hda-duplex,audiodev=audio0"),
}
_ACCELERATORS = {"": ("kvm", "tcg"), "kvm": ("kvm",), "qemu": ("tcg",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class QemuSettings:
    """What a command line must be told besides the machine.

    Attributes:
        binary: the emulator.
        serial: where the first serial port goes; further ones go nowhere.
        display: value of ``-display``.
        vnc: where a VNC server shows the screen, as ``-vnc`` has it (``unix:vnc.sock``); empty for none.
        host_forwards: ``hostfwd`` rules for the first user interface (``tcp:127.0.0.1:2222-:22``).
        firmware_code: file with EFI code, only read.
        firmware_vars: file with this machine's EFI variables, written to, where its package has none.
        tpm_socket: control socket of a running swtpm.
        agent: backend of the guest agent's port, as ``-chardev`` has it.
        keeps_writes: whether what the guest writes to its disks and EFI variables stays.
    """

    binary: str = "qemu-system-x86_64"
    serial: str = "mon:stdio"
    display: str = "none"
    vnc: str = ""
    host_forwards: tuple[str, ...] = ()
    firmware_code: str = ""
    firmware_vars: str = ""
    tpm_socket: str = ""
    agent: str = "null"
    keeps_writes: bool = True


def qemu_command(
    machine: Machine, *, sources: Mapping[str, VolumeSource], settings: QemuSettings | None = None
) -> list[str]:
    """The argument list that runs `machine`.

    Args:
        machine: what to run.
        sources: where each image is, by transfer id; `VolumeSource.path` is used, and may be relative.
        settings: what the machine does not say.

    Raises:
        PlanError: a drive's image is not among `sources` (``E_PLAN_SOURCE``), `settings` lacks the firmware or TPM
            that the machine needs (``E_PLAN_SETTINGS``), a network is libvirt's (``E_NETWORK``), or QEMU alone has no
            such hardware (``E_PLAN_HARDWARE``).
    """
    chosen = settings or QemuSettings()
    return [
        chosen.binary,
        *_board(machine),
        *_firmware(machine, sources, chosen),
        *_controllers(machine),
        *_drives(machine, sources, chosen),
        *_nics(machine, chosen),
        *_ports(machine, chosen),
        *_extras(machine, chosen),
    ]


def _escaped(text: str) -> str:
    return text.replace(",", ",,")


def _looked_up(names: Mapping[str, str], model: str, kind: str) -> str:
    if (name := names.get(model)) is None:
        known = ", ".join(sorted(filter(None, names)))
        raise PlanError(f"{kind} model {quoted(model)} is not known, expected one of {known}", code="E_PLAN_HARDWARE")
    return name


def _board(machine: Machine) -> Iterator[str]:
    yield from ("-name", f"guest={_escaped(machine.name)}", "-no-user-config", "-nodefaults")
    smm = ",smm=on" if machine.firmware.secure_boot else ""
    yield from ("-machine", f"{machine.chipset},usb=off{smm}")
    if machine.virt_type not in _ACCELERATORS:
        raise PlanError(
            f"virtualization type {quoted(machine.virt_type)} is not QEMU's, expected 'kvm' or 'qemu'",
            code="E_PLAN_HARDWARE",
        )
    for accelerator in _ACCELERATORS[machine.virt_type]:
        yield from ("-accel", accelerator)
    count, cores = machine.cpus.count, machine.cpus.cores_per_socket
    yield from ("-cpu", "max", "-smp", f"{count},sockets={count // cores},cores={cores},threads=1")
    yield from ("-m", f"{machine.memory_bytes // MIB}", "-rtc", f"base={machine.clock}", "-boot", "strict=on")


def _firmware(machine: Machine, sources: Mapping[str, VolumeSource], settings: QemuSettings) -> Iterator[str]:
    if machine.firmware.kind is FirmwareKind.BIOS:
        return
    own = variables_of(machine, sources)
    stored = own.path if own else settings.firmware_vars
    if not (settings.firmware_code and stored):
        raise PlanError("the machine boots by EFI, and no EFI firmware was given", code="E_PLAN_SETTINGS")
    if machine.firmware.secure_boot:
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
    code, variables = _escaped(settings.firmware_code), _escaped(stored)
    yield from ("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}")
    yield from ("-drive", f"if=pflash,format=raw,unit=1{_fate(settings)},file={variables}")


def _fate(settings: QemuSettings) -> str:
    """Option of a drive whose writes go to a nameless file that ends with QEMU."""
    return "" if settings.keeps_writes else ",snapshot=on"


def _has_own_ahci(machine: Machine) -> bool:
    """Whether the chipset brings SATA controller 0 (QEMU calls its ports ``ide.0`` to ``ide.5``)."""
    return machine.chipset.startswith(("q35", "pc-q35"))


def _controllers(machine: Machine) -> Iterator[str]:
    for controller in machine.controllers:
        device = _controller_device(machine, controller)
        if device:
            yield from ("-device", device)
    if machine.usb:
        yield from ("-device", f"{_looked_up(USB_DEVICES, machine.usb, 'USB')},id=usb")
    if _has_own_ahci(machine) and any(drive.bus is Bus.FDC for drive in machine.drives):
        yield from ("-device", "isa-fdc")


def _controller_device(machine: Machine, controller: Controller) -> str:
    """The controller's ``-device``; empty when the chipset brings it."""
    match controller.bus:
        case Bus.SATA if not (controller.index == 0 and _has_own_ahci(machine)):
            return f"ich9-ahci,id=sata{controller.index}"
        case Bus.SCSI:
            return f"{_looked_up(SCSI_DEVICES, controller.model, 'SCSI controller')},id=scsi{controller.index}"
        case _:
            return ""


def _drives(machine: Machine, sources: Mapping[str, VolumeSource], settings: QemuSettings) -> Iterator[str]:
    for number, drive in enumerate(machine.drives):
        source = source_of(drive, sources)
        options = [_drive_device(machine, drive)]
        if source is not None:
            read_only = "on" if drive.read_only or drive.kind is DriveKind.CDROM else "off"
            fate = _fate(settings) if read_only == "off" else ""
            backend = f"if=none,id=drive{number},format={source.image_format},readonly={read_only}{fate}"
            yield from ("-drive", f"{backend},file={_escaped(source.path)}")
            options.append(f"drive=drive{number}")
        if drive.shared:
            options.append("share-rw=on")
        if wwn := wwn_of(drive, machine):
            options.append(f"wwn=0x{wwn}")
        if drive.boot_order is not None:
            options.append(f"bootindex={drive.boot_order}")
        yield from ("-device", ",".join(options))


def _drive_device(machine: Machine, drive: Drive) -> str:
    """The drive's device and its place, without content."""
    kind = "cd" if drive.kind is DriveKind.CDROM else "hd"
    channel, ide_unit = divmod(drive.unit, IDE_UNITS_PER_CHANNEL)
    ahci = "ide" if drive.controller == 0 and _has_own_ahci(machine) else f"sata{drive.controller}"
    devices = {
        Bus.IDE: f"ide-{kind},bus=ide.{channel},unit={ide_unit}",
        Bus.SATA: f"ide-{kind},bus={ahci}.{drive.unit}",
        Bus.SCSI: f"scsi-{kind},bus=scsi{drive.controller}.0,scsi-id={drive.unit},lun=0",
        Bus.VIRTIO: "virtio-blk-pci",
        Bus.NVME: f"nvme,serial=nvme{drive.controller}-{drive.unit}",
        Bus.USB: "usb-storage,bus=usb.0",
        Bus.FDC: f"floppy,unit={drive.unit}",
    }
    return devices[drive.bus]


def _nics(machine: Machine, settings: QemuSettings) -> Iterator[str]:
    forwards = "".join(f",hostfwd={rule}" for rule in settings.host_forwards)
    for number, nic in enumerate(machine.nics):
        options = [NIC_DEVICES.get(nic.model, nic.model)]
        backend = _nic_backend(nic)
        if backend:
            if backend == "user":
                backend, forwards = backend + forwards, ""
            yield from ("-netdev", f"{backend},id=net{number}")
            options.append(f"netdev=net{number}")
        if nic.mac:
            options.append(f"mac={nic.mac}")
        if nic.boot_order is not None:
            options.append(f"bootindex={nic.boot_order}")
        yield from ("-device", ",".join(options))


def _nic_backend(nic: Nic) -> str:
    """What the interface is plugged into; empty for nothing, and QEMU says that it "has no peer"."""
    connection = nic.connection
    if connection.kind in {ConnectionKind.NETWORK, *MADE}:
        raise PlanError(
            f"network {quoted(nic.network)} goes to libvirt's network {quoted(connection.name)}, which QEMU "
            "alone cannot reach",
            code="E_NETWORK",
            hint="Use user, none or bridge:NAME.",
        )
    backends = {ConnectionKind.USER: "user", ConnectionKind.BRIDGE: f"bridge,br={_escaped(connection.name)}"}
    return backends.get(connection.kind, "")


def _ports(machine: Machine, settings: QemuSettings) -> Iterator[str]:
    for port in range(machine.serial_ports):
        yield from ("-serial", settings.serial if port == 0 else "null")
    for _ in range(machine.parallel_ports):
        yield from ("-parallel", "null")


def _extras(machine: Machine, settings: QemuSettings) -> Iterator[str]:
    yield from ("-display", settings.display)
    if machine.video:
        yield from ("-device", _looked_up(VIDEO_DEVICES, machine.video, "video"))
        yield from ("-vnc", settings.vnc) if settings.vnc else ()
    if machine.has_tablet:
        yield from ("-device", f"{TABLET_DEVICE},bus=usb.0")
    if machine.sound:
        if machine.sound not in SOUND_DEVICES:
            raise PlanError(f"sound model {quoted(machine.sound)} is not known", code="E_PLAN_HARDWARE")
        yield from ("-audiodev", "none,id=audio0")
        for device in SOUND_DEVICES[machine.sound]:
            yield from ("-device", device)
    if machine.has_tpm:
        yield from _tpm(machine, settings)
    if machine.has_agent_channel:  # last, so that no other device gets another slot for it
        yield from ("-chardev", f"{settings.agent},id=agent", "-device", "virtio-serial-pci,id=virtio-serial0")
        yield from ("-device", f"virtserialport,bus=virtio-serial0.0,chardev=agent,name={AGENT_PORT}")


def _tpm(machine: Machine, settings: QemuSettings) -> Iterator[str]:
    if not settings.tpm_socket:
        raise PlanError("the machine has a TPM, and no socket of an emulated one was given", code="E_PLAN_SETTINGS")
    model = "tpm-crb" if machine.firmware.kind is FirmwareKind.EFI else "tpm-tis"
    yield from ("-chardev", f"socket,id=tpm,path={_escaped(settings.tpm_socket)}")
    yield from ("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", f"{model},tpmdev=tpm0")
