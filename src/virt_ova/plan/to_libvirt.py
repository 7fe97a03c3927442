"""A machine as libvirt's domain XML (https://libvirt.org/formatdomain.html).

Built by the element API alone, so that no text of a package can become markup. Everything that libvirt would otherwise
guess and that a guest can see is said: disk formats (probing a guest's raw disk is a known hole), drive addresses, boot
order, the absence of a USB controller or memory balloon. Of a linked image the whole chain is said, and that the
package's owner and mode are to be left alone; what the package was like is noted in the metadata. There, too, stands
the turn of a machine that is started and stopped with others, for whoever stops them: in the reverse order.

Choices that are not in the machine:

* the processor is ``host-passthrough`` under KVM, as virt-install has it, and ``maximum`` when emulated, because QEMU's
  own default lacks x86-64-v2, which current distributions need to boot;
* a shared disk is not cached by the host, as libvirt wants it where machines may run on different ones;
* an interface that is plugged into nothing is a user interface whose link is down: the guest keeps its hardware;
* the screen is a VNC server on the loopback address, so that a machine can be watched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from virt_ova.errors import PlanError
from virt_ova.plan.inputs import Backing, VolumeSource
from virt_ova.plan.machine import Bus, Connection, ConnectionKind, Drive, DriveKind, FirmwareKind, Machine, Nic
from virt_ova.text import printable
from virt_ova.units import KIB

METADATA_NAMESPACE = "https://virt-ova.org/xmlns/domain/1"
"""Of the element in ``<metadata>`` that tells where a domain comes from."""

_LIBOSINFO_NAMESPACE = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
"""Of the element by which virt-manager and others know what the guest is."""

IDE_UNITS_PER_CHANNEL = 2

AGENT_PORT = "org.qemu.guest_agent.0"
"""Name by which a guest agent finds its port."""

UNIT_ADDRESSED_SCSI = frozenset({"lsilogic", "am53c974", "dc390", "ncr53c90"})
"""SCSI models whose drives libvirt tells apart by unit; on all others each drive is a target of its own, because QEMU's
pvscsi and mptsas1068 have one logical unit per target (libvirt, ``qemuBuildDiskDeviceProps``)."""

_NEEDS_WWN = "lsisas1068"
"""SCSI model whose drives need a world wide name: by it QEMU's mptsas1068 makes up their SAS addresses, and where there
is none Linux (mptsas) finds no drive."""

_LOCAL_WWN = 0x3 << 60
"""A name that is assigned locally (NAA 3)."""

_DEVICE_LETTERS = {
    Bus.IDE: "hd",
    Bus.SATA: "sd",
    Bus.SCSI: "sd",
    Bus.USB: "sd",
    Bus.VIRTIO: "vd",
    Bus.FDC: "fd",
}
_LONGEST_TITLE = 200
_LONGEST_DESCRIPTION = 4096


def domain_xml(machine: Machine, *, sources: Mapping[str, VolumeSource], keeps_writes: bool = True) -> str:
    """Domain XML that defines `machine`.

    Args:
        machine: what to define.
        sources: where each image is, by transfer id.
        keeps_writes: whether what the guest writes to its disks stays when it is stopped.

    Raises:
        PlanError: a drive's image is not among `sources` (``E_PLAN_SOURCE``), or libvirt has no such hardware
            (``E_PLAN_HARDWARE``).
    """
    domain = Element("domain", {"type": machine.virt_type or "qemu"})
    _add_identity(domain, machine, sources)
    _add_text(domain, "memory", str(machine.memory_bytes // KIB), unit="KiB")
    _add_text(domain, "vcpu", str(machine.cpus.count))
    _add_os(domain, machine, sources)
    _add_features(domain, machine)
    _add_cpu(domain, machine)
    SubElement(domain, "clock", {"offset": machine.clock})
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _add_text(domain, event, action)
    devices = SubElement(domain, "devices")
    _add_drives(devices, machine, sources, keeps_writes=keeps_writes)
    _add_controllers(devices, machine)
    for nic in machine.nics:
        _add_nic(devices, nic)
    _add_ports(devices, machine)
    _add_extras(devices, machine)
    _add_screen(devices, machine)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _add_text(parent: Element, tag: str, text: str, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    element.text = text
    return element


def _add_identity(domain: Element, machine: Machine, sources: Mapping[str, VolumeSource]) -> None:
    _add_text(domain, "name", machine.name)
    if machine.title:
        _add_text(domain, "title", printable(machine.title, limit=_LONGEST_TITLE))
    if machine.description:
        _add_text(domain, "description", _printable_lines(machine.description))
    origin = {"package": machine.package, "name": machine.title, "guest": machine.os_type}
    metadata = SubElement(domain, "metadata")
    appliance = SubElement(metadata, "appliance", {"xmlns": METADATA_NAMESPACE})
    for tag, text in origin.items():
        if text:
            _add_text(appliance, tag, printable(text))
    _add_turn(appliance, machine)
    linked = {source.backing: None for drive in machine.drives if (source := source_of(drive, sources))}
    for backing in filter(None, linked):
        SubElement(appliance, "link", _link_attributes(backing))
    if machine.libosinfo_id:
        libosinfo = SubElement(metadata, "libosinfo", {"xmlns": _LIBOSINFO_NAMESPACE})
        SubElement(libosinfo, "os", {"id": machine.libosinfo_id})


def _add_turn(appliance: Element, machine: Machine) -> None:
    """What the machine is a part of, and its turn when all of them are started or stopped."""
    if machine.collection:
        _add_text(appliance, "collection", printable(machine.collection))
    if (turn := machine.startup) is None:
        return
    started = {
        "position": str(turn.position),
        "action": "power-on" if turn.is_started else "none",
        "delay": str(turn.delay_seconds),
        "waits-for-guest": "yes" if turn.waits_for_guest else "no",
    }
    SubElement(appliance, "startup", started)
    SubElement(appliance, "shutdown", {"action": turn.stop_action, "delay": str(turn.stop_delay_seconds)})


def _link_attributes(backing: Backing) -> dict[str, str]:
    attributes = {
        "file": backing.path,
        "size": str(backing.size_bytes),
        "modified": backing.modified,
        "member": printable(backing.member),
        "offset": str(backing.offset),
        "length": str(backing.length),
    }
    return attributes | ({"digest": backing.digest} if backing.digest else {})


def _printable_lines(text: str) -> str:
    """`text` with its lines kept and everything that XML or a terminal cannot show escaped."""
    lines = text[:_LONGEST_DESCRIPTION].splitlines()
    return "\n".join(printable(line, limit=_LONGEST_DESCRIPTION) for line in lines)


def _add_os(domain: Element, machine: Machine, sources: Mapping[str, VolumeSource]) -> None:
    is_efi = machine.firmware.kind is FirmwareKind.EFI
    os = SubElement(domain, "os", {"firmware": "efi"} if is_efi else {})
    _add_text(os, "type", "hvm", arch=machine.architecture, machine=machine.chipset)
    if is_efi:
        enabled = "yes" if machine.firmware.secure_boot else "no"
        firmware = SubElement(os, "firmware")
        for feature in ("enrolled-keys", "secure-boot"):
            SubElement(firmware, "feature", {"enabled": enabled, "name": feature})
    if variables := variables_of(machine, sources):
        _add_text(os, "nvram", variables.path)


def _add_features(domain: Element, machine: Machine) -> None:
    features = SubElement(domain, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    if machine.firmware.secure_boot:
        SubElement(features, "smm", {"state": "on"})


def _add_cpu(domain: Element, machine: Machine) -> None:
    modes = {"kvm": {"mode": "host-passthrough"}, "qemu": {"mode": "maximum"}}
    attributes = modes.get(machine.virt_type, {})
    cores = machine.cpus.cores_per_socket
    if not attributes and cores == 1:
        return
    cpu = SubElement(domain, "cpu", attributes)
    if cores > 1:
        sockets = str(machine.cpus.count // cores)
        SubElement(cpu, "topology", {"sockets": sockets, "cores": str(cores), "threads": "1"})


def _add_drives(devices: Element, machine: Machine, sources: Mapping[str, VolumeSource], *, keeps_writes: bool) -> None:
    models = {controller.index: controller.model for controller in machine.controllers if controller.bus is Bus.SCSI}
    counts: dict[str, int] = {}
    for drive in machine.drives:
        disk = _add_disk(devices, drive, source_of(drive, sources))
        SubElement(disk, "target", {"dev": _device_name(drive, counts), "bus": drive.bus})
        if wwn := wwn_of(drive, machine):
            _add_text(disk, "wwn", wwn)
        if drive.boot_order is not None:
            SubElement(disk, "boot", {"order": str(drive.boot_order)})
        is_spared = drive.kind is DriveKind.FLOPPY and not keeps_writes  # libvirt throws away what disks write, no more
        is_read_only = drive.read_only or drive.kind is DriveKind.CDROM or is_spared
        if is_read_only:
            SubElement(disk, "readonly")
        if drive.transfer and not is_read_only and not keeps_writes:
            SubElement(disk, "transient")
        elif drive.shared:
            SubElement(disk, "shareable")
        _add_address(disk, drive, models.get(drive.controller, ""))


def wwn_of(drive: Drive, machine: Machine) -> str:
    """World wide name of the drive, 16 hex digits, unlike those of the machine's others; empty when it needs none."""
    models = {each.index: each.model for each in machine.controllers if each.bus is drive.bus}
    if drive.bus is not Bus.SCSI or models.get(drive.controller) != _NEEDS_WWN:
        return ""
    return f"{_LOCAL_WWN + (drive.controller << 8) + drive.unit + 1:016x}"


def source_of(drive: Drive, sources: Mapping[str, VolumeSource]) -> VolumeSource | None:
    """Where the drive's image is; None for an empty drive.

    Raises:
        PlanError: it should have one but has not (``E_PLAN_SOURCE``).
    """
    return _image(f"drive '{printable(drive.id)}' is filled by", drive.transfer, sources)


def variables_of(machine: Machine, sources: Mapping[str, VolumeSource]) -> VolumeSource | None:
    """Where the machine's own EFI variables are; None when it starts with fresh ones. Raises as `source_of`."""
    what = f"the EFI variables of '{printable(machine.name)}' come by"
    return _image(what, machine.firmware.variables, sources)


def _image(what: str, transfer: str, sources: Mapping[str, VolumeSource]) -> VolumeSource | None:
    if not transfer:
        return None
    if (source := sources.get(transfer)) is None:
        raise PlanError(f"{what} transfer '{printable(transfer)}', which has no image", code="E_PLAN_SOURCE")
    return source


def _add_disk(devices: Element, drive: Drive, source: VolumeSource | None) -> Element:
    by_volume = source is not None and bool(source.pool)
    disk = SubElement(devices, "disk", {"type": "volume" if by_volume else "file", "device": drive.kind})
    driver = {"name": "qemu", "type": source.image_format if source else "raw"}
    SubElement(disk, "driver", driver | ({"cache": "none"} if drive.shared else {}))
    if source is not None:
        names = {"pool": source.pool, "volume": source.volume} if by_volume else {"file": source.path}
        SubElement(disk, "source", names)
        if source.backing is not None:
            _add_backing(disk, source.backing)
    return disk


def _device_name(drive: Drive, counts: dict[str, int]) -> str:
    """What libvirt calls the drive's device; `counts` says how many have each beginning of a name, and is kept."""
    if drive.bus is Bus.NVME:
        return f"nvme{drive.controller}n{drive.unit + 1}"
    letters = _DEVICE_LETTERS[drive.bus]
    position = drive.unit if drive.bus in {Bus.IDE, Bus.FDC} else counts.get(letters, 0)
    counts[letters] = counts.get(letters, 0) + 1
    return letters + _letters(position)


def _add_backing(disk: Element, backing: Backing) -> None:
    store = SubElement(disk, "backingStore", {"type": "file"})
    SubElement(store, "format", {"type": backing.image_format})
    source = SubElement(store, "source", {"file": backing.path})
    place = {"offset": str(backing.offset), "size": str(backing.length)}
    SubElement(SubElement(source, "slices"), "slice", {"type": "storage"} | place)
    SubElement(source, "seclabel", {"model": "dac", "relabel": "no"})
    SubElement(store, "backingStore")


def _letters(position: int) -> str:
    """``a`` to ``z``, ``aa``, ...: the end of a disk's device name."""
    text = ""
    rest = position + 1
    while rest:
        rest, digit = divmod(rest - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def _add_address(disk: Element, drive: Drive, scsi_model: str) -> None:
    """The drive's place; virtio and USB drives are devices of their own and have none."""
    if drive.bus in {Bus.VIRTIO, Bus.USB}:
        return
    bus = target = 0
    unit = drive.unit
    if drive.bus is Bus.IDE:
        bus, unit = divmod(unit, IDE_UNITS_PER_CHANNEL)
    elif drive.bus is Bus.SCSI and scsi_model not in UNIT_ADDRESSED_SCSI:
        target, unit = unit, 0
    place = {"controller": drive.controller, "bus": bus, "target": target, "unit": unit}
    SubElement(disk, "address", {"type": "drive"} | {name: str(number) for name, number in place.items()})


def _add_controllers(devices: Element, machine: Machine) -> None:
    for controller in machine.controllers:
        attributes = {"type": controller.bus.value, "index": str(controller.index)}
        if controller.model:
            attributes["model"] = controller.model
        SubElement(devices, "controller", attributes)
    for index in sorted({drive.controller for drive in machine.drives if drive.bus is Bus.NVME}):
        nvme = SubElement(devices, "controller", {"type": Bus.NVME.value, "index": str(index)})
        _add_text(nvme, "serial", f"nvme{index}")
    SubElement(devices, "controller", {"type": "usb", "index": "0", "model": machine.usb or "none"})


def _add_nic(devices: Element, nic: Nic) -> None:
    interface = SubElement(devices, "interface", {"type": _interface_type(nic.connection)})
    if nic.mac:
        SubElement(interface, "mac", {"address": nic.mac})
    if nic.connection.name:
        SubElement(interface, "source", {_interface_type(nic.connection): nic.connection.name})
    elif nic.connection.kind is ConnectionKind.NONE:
        SubElement(interface, "link", {"state": "down"})
    SubElement(interface, "model", {"type": nic.model})
    if nic.boot_order is not None:
        SubElement(interface, "boot", {"order": str(nic.boot_order)})


def _interface_type(connection: Connection) -> str:
    match connection.kind:
        case ConnectionKind.NONE | ConnectionKind.USER:
            return "user"
        case ConnectionKind.BRIDGE:
            return "bridge"
        case ConnectionKind.NETWORK | ConnectionKind.PRIVATE | ConnectionKind.SHARED:
            return "network"
    assert_never(connection.kind)


def _add_ports(devices: Element, machine: Machine) -> None:
    for port in range(machine.serial_ports):
        serial = SubElement(devices, "serial", {"type": "pty"})
        SubElement(serial, "target", {"type": "isa-serial", "port": str(port)})
    for port in range(machine.parallel_ports):
        parallel = SubElement(devices, "parallel", {"type": "null"})
        SubElement(parallel, "target", {"port": str(port)})
    if machine.serial_ports:
        console = SubElement(devices, "console", {"type": "pty"})
        SubElement(console, "target", {"type": "serial", "port": "0"})


def _add_extras(devices: Element, machine: Machine) -> None:
    if machine.has_agent_channel:
        channel = SubElement(devices, "channel", {"type": "unix"})
        SubElement(channel, "target", {"type": "virtio", "name": AGENT_PORT})
    if machine.has_tpm:
        model = "tpm-crb" if machine.firmware.kind is FirmwareKind.EFI else "tpm-tis"
        tpm = SubElement(devices, "tpm", {"model": model})
        SubElement(tpm, "backend", {"type": "emulator", "version": "2.0"})
    if machine.has_tablet:
        SubElement(devices, "input", {"type": "tablet", "bus": "usb"})
    if machine.sound:
        SubElement(devices, "sound", {"model": machine.sound})
    SubElement(devices, "memballoon", {"model": "none"})


def _add_screen(devices: Element, machine: Machine) -> None:
    if machine.video:
        graphics = SubElement(devices, "graphics", {"type": "vnc", "autoport": "yes"})
        SubElement(graphics, "listen", {"type": "address", "address": "127.0.0.1"})
    SubElement(SubElement(devices, "video"), "model", {"type": machine.video or "none"})
