"""From a system of an OVF descriptor to a VMX: the machine that the package asks for, in VMware's words.

It is made of the descriptor, not of a `virt_ova.plan.machine.Machine`: that is what a machine becomes *here*, with
substitutes for chips that QEMU lacks and VMware has. So a VMX is another spelling of the descriptor, and what VMware
cannot have, or writes otherwise, is a finding. libvirt's own converter takes the result (``domxml-from-native
vmware-vmx``). It asks for more than VMware does: memory in steps of 4 MiB, images whose names end as usual, a name for
every network, and no ``connectionType`` of ``hostonly``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from virt_ova.findings import Finding
from virt_ova.ovf.envelope import Envelope, Item, ResourceType, VirtualHardware, VirtualSystem
from virt_ova.ovf.hardware import cpu_count, firmware, host_reference, items_of, memory_bytes, nics
from virt_ova.text import printable, quoted
from virt_ova.units import GIB, MIB
from virt_ova.vmx.places import Places
from virt_ova.vmx.reader import MAX_NICS, MAX_PARALLEL, MAX_SERIAL, SECURE_BOOT
from virt_ova.vmx.record import Record
from virt_ova.vmx.settings import format_settings
from virt_ova.vmx.words import (
    BOOT,
    BOOT_ORDER,
    DISK_ORDER,
    NICS,
    SOUND,
    TPM,
    USB,
    VMCI,
    VMXNET2_FEATURES,
    guest_os,
    subtype_of,
)

DEFAULT_VERSION = 13
"""Virtual hardware where the package names none of VMware's: vSphere 6.5's, the first with NVMe and secure boot."""

_VERSION = re.compile(r"vmx-0*(?P<number>[1-9][0-9]{0,2})", re.IGNORECASE)
_DEFAULT_MEMORY_BYTES = GIB
_MEMORY_STEP_BYTES = 4 * MIB
_UNSAFE_IN_NAMES = str.maketrans({"/": "-", "\n": " ", "\r": " ", "\t": " "})
_BRIDGES = (("pciBridge0", ""), *((f"pciBridge{number}", "pcieRootPort") for number in (4, 5, 6, 7)))
"""What VMware gives every machine, for PCI Express cards to stand on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenVmx:
    """A VMX, and what in it is not as the package has it."""

    text: str
    findings: tuple[Finding, ...]


def write_vmx(
    envelope: Envelope,
    system: VirtualSystem,
    hardware: VirtualHardware,
    items: Sequence[Item],
    *,
    file_names: Mapping[str, str],
) -> WrittenVmx:
    """The VMX of one system.

    Args:
        envelope: the descriptor.
        system: of the descriptor.
        hardware: the section of the system that is written.
        items: what of it is hardware (`virt_ova.ovf.hardware.effective_items`).
        file_names: name of each file in the package by its ``ovf:id``.
    """
    record = Record()
    _write_machine(record, system, hardware)
    _write_processors(record, items)
    Places(record, envelope, file_names).write(items)
    for number, item in enumerate(nics(items)):
        _write_nic(record, number, item)
    _write_devices(record, items)
    _write_boot(record, system)
    _write_variables(record, hardware, file_names)
    return WrittenVmx(text=format_settings(record.settings.items()), findings=tuple(record.findings))


def _write_machine(record: Record, system: VirtualSystem, hardware: VirtualHardware) -> None:
    record.put("config.version", "8")
    record.put("virtualHW.version", str(_version(hardware)))
    name = system.name or system.id
    safe = name.translate(_UNSAFE_IN_NAMES)
    if safe != name:
        record.mapped(f"name {quoted(name)}", quoted(safe), "a name has neither slashes nor lines", system.where)
    record.put("displayName", safe or "appliance")
    if system.annotation:
        record.put("annotation", system.annotation)
    record.put("guestOS", guest_os(system.os))
    request = firmware(hardware)
    if request.kind == "efi":
        record.put("firmware", "efi")
    if request.secure_boot:
        record.put(SECURE_BOOT, "TRUE")
    for bridge, model in _BRIDGES:
        record.device(bridge, *((("virtualDev", model), ("functions", "8")) if model else ()))


def _version(hardware: VirtualHardware) -> int:
    """The number of the first ``vmx-N`` among the system types."""
    for word in hardware.system_types:
        if match := _VERSION.fullmatch(word):
            return int(match["number"])
    return DEFAULT_VERSION


def _write_processors(record: Record, items: Sequence[Item]) -> None:
    count = cpu_count(items) or 1
    record.put("numvcpus", str(count))
    cores = next((item.cores_per_socket for item in items_of(items, ResourceType.PROCESSOR)), None)
    if cores and count % cores == 0:
        record.put("cpuid.coresPerSocket", str(cores))
    asked = memory_bytes(items) or _DEFAULT_MEMORY_BYTES
    rounded = -(-asked // _MEMORY_STEP_BYTES) * _MEMORY_STEP_BYTES
    if rounded != asked:
        record.mapped("memory", f"{rounded // MIB} MiB", f"{asked} bytes are no multiple of 4 MiB")
    record.put("memsize", str(rounded // MIB))


def _write_nic(record: Record, number: int, item: Item) -> None:
    if number >= MAX_NICS:
        record.dropped(item, f"VMware has {MAX_NICS} network interfaces in a machine at most")
        return
    subtype = subtype_of(item.subtypes, NICS)
    if subtype is None:
        subtype = "e1000"
        record.mapped(record.label(item), "e1000", "VMware has no such network card, and nearly every guest has this")
    model = next(model for model, word in NICS.items() if word == subtype)
    settings = [("virtualDev", "vmxnet" if model == "vmxnet2" else model)] if model else []
    if model == "vmxnet2":
        settings.append(("features", str(VMXNET2_FEATURES)))
    network = printable(next(iter(item.connections), "")) or "VM Network"
    key = record.keys[item.instance_id] = f"ethernet{number}"
    record.device(key, *settings, ("networkName", network), ("addressType", "generated"))


def _write_devices(record: Record, items: Sequence[Item]) -> None:
    """Ports, USB, sound, TPM: what has neither a drive nor a network."""
    counts = {ResourceType.SERIAL_PORT: 0, ResourceType.PARALLEL_PORT: 0}
    for item in items:
        if item.resource_type == ResourceType.SERIAL_PORT:
            _write_port(record, item, "serial", counts, MAX_SERIAL)
        elif item.resource_type == ResourceType.PARALLEL_PORT:
            _write_port(record, item, "parallel", counts, MAX_PARALLEL)
        elif item.resource_type == ResourceType.USB_CONTROLLER:
            _write_usb(record, item)
        elif item.resource_type == ResourceType.SOUND or subtype_of(item.subtypes, SOUND):
            _write_sound(record, item)
        elif item.resource_type == ResourceType.TPM or TPM in item.subtypes:
            record.device("vtpm")
        elif VMCI in item.subtypes:
            record.device("vmci0")
        elif item.resource_type not in _WRITTEN_ELSEWHERE:
            record.dropped(item, "a VMX has no word for it")


def _write_port(record: Record, item: Item, kind: str, counts: dict[ResourceType, int], most: int) -> None:
    """A port that is connected to nothing."""
    number = counts[ResourceType(item.resource_type)]
    if number >= most:
        record.dropped(item, f"VMware has {most} {kind} ports in a machine at most")
        return
    counts[ResourceType(item.resource_type)] += 1
    record.device(f"{kind}{number}", ("fileType", "device"), ("fileName", "auto detect"), ("startConnected", "FALSE"))


def _write_usb(record: Record, item: Item) -> None:
    spelled = subtype_of(item.subtypes, USB)
    prefix = next((prefix for prefix, word in USB.items() if word == spelled), "usb")
    record.device(prefix)
    if prefix == "ehci":
        record.device("usb")


def _write_sound(record: Record, item: Item) -> None:
    subtype = subtype_of(item.subtypes, SOUND)
    model = next((model for model, word in SOUND.items() if word == subtype), "")
    record.device("sound", *([("virtualDev", model)] if model else []), ("autodetect", "TRUE"))


def _write_boot(record: Record, system: VirtualSystem) -> None:
    """The boot order: kinds of drives and single network cards, and which disk of several."""
    words, disks = [], []
    for step in system.boot:
        key = record.keys.get(step.instance_id, "")
        kind = "net" if key.startswith("ethernet") else step.kind
        word = next((word for word, name in BOOT.items() if name == kind), "")
        if kind == BOOT["hdd"] and key:
            disks.append(key)
        words.append((key or f"{word}0") if kind == BOOT["ethernet"] else word)
    if order := ",".join(dict.fromkeys(filter(None, words))):
        record.put(BOOT_ORDER, order)
    if disks:
        record.put(DISK_ORDER, ",".join(disks))


def _write_variables(record: Record, hardware: VirtualHardware, file_names: Mapping[str, str]) -> None:
    """The file of the firmware's variables, where the package has one in VMware's way."""
    reference = host_reference(hardware.extra_config.get("nvram", ""))
    if reference and reference.id in file_names:
        record.put("nvram", file_names[reference.id])


_WRITTEN_ELSEWHERE = frozenset(
    {
        ResourceType.PROCESSOR, ResourceType.MEMORY, ResourceType.ETHERNET, ResourceType.GRAPHICS,
        ResourceType.IDE_CONTROLLER, ResourceType.SCSI_CONTROLLER, ResourceType.OTHER_STORAGE,
        ResourceType.DISK, ResourceType.STORAGE_EXTENT, ResourceType.LOGICAL_DISK,
        ResourceType.CD, ResourceType.DVD, ResourceType.FLOPPY,
    },
)  # fmt: skip
"""Every machine of VMware has a screen, whatever the package says of it."""
