"""From the bytes of a VMX to the values of an OVF descriptor, so that all that follows knows one form.

A VMX has no schema; the keys here are those that VMware writes, with the meaning that VMware's documents and libvirt's
``vmx.c`` give them. Nothing is taken that belongs to the host that the machine ran on: paths, addresses, identities.
"""

from __future__ import annotations

import re
from typing import Final

from virt_ova.errors import DescriptorError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import (
    BootDevice,
    Envelope,
    Item,
    Network,
    OperatingSystem,
    ResourceType,
    VirtualHardware,
    VirtualSystem,
)
from virt_ova.ovf.items import MAX_CPUS, MAX_MEMORY_BYTES
from virt_ova.text import quoted
from virt_ova.units import MIB
from virt_ova.vmx.drives import read_drives
from virt_ova.vmx.parts import Parts
from virt_ova.vmx.settings import Settings, bad_value, read_settings, unescape
from virt_ova.vmx.words import BOOT, BOOT_ORDER, DISK_ORDER, NICS, SOUND, TPM, USB, VMCI, VMXNET2_FEATURES, os_type

MAX_NICS: Final = 10
MAX_SERIAL: Final = 32
MAX_PARALLEL: Final = 3
MAX_PASSTHROUGH: Final = 16
SECURE_BOOT: Final = "uefi.secureBoot.enabled"

_INVENTORY_ESCAPE: Final = re.compile(r"%(2f|5c|25)", re.IGNORECASE)
"""How vCenter writes ``/``, ``\\`` and ``%`` in a machine's name."""

_OF_THE_HOST: Final = re.compile(
    r"(?:\.encoding|config\.version|extendedconfigfile|policy\.vm\S*|virtualhw\.\S+|cleanshutdown|softpoweroff"
    r"|deploymentplatform|guestosaltname|memallowautoscaledown|memtrimrate|evccompatibilitymode"
    r"|(?:uuid|vc|vm|sched|tools|toolsinstallmanager|isolation|monitor|monitor_control|numa|numvcpus|powertype|migrate"
    r"|vmotion|checkpoint|cpuid|svga|mks|hpet0|vmci0|hgfs|gui|log|replay|unity|proxyapps|snapshot|remotedisplay|disk"
    r"|vmx|vcpu|time|rtc|mem|memory|cpu|pcibridge\d+|pcislot\d+|toolscripts|chipset|msg|vmci"
    r"|(?:host|guest|user)cpuid)\.\S+"
    r"|(?:usb|ehci|usb_xhci|sound|floppy\d+|serial\d+|parallel\d+|ethernet\d+|pcipassthru\d+|(?:scsi|sata|ide|nvme)\d+)"
    r"[.:]\S+)",
    re.IGNORECASE,
)
"""Settings that say how VMware runs the machine, not what it is; not even their number is told."""

_MOST_TOLD: Final = 5


def read_vmx(data: bytes) -> Envelope:
    """The values of the VMX `data`: one system, with ids that are made here.

    Raises:
        DescriptorError: it cannot be read (``E_VMX_LIMIT``, ``E_VMX_ENCODING``, ``E_VMX_SYNTAX``), a setting makes no
            sense (``E_VMX_VALUE``), or the machine is encrypted (``E_NOT_SUPPORTED``).
    """
    settings = read_settings(data)
    parts = Parts(settings=settings)
    _check_encryption(parts)
    version = settings.count("virtualHW.version", least=1, most=999)
    if version is None:
        raise bad_value("found none, expected a number, which every VMX has", "virtualHW.version")
    _read_processors(parts)
    read_drives(parts)
    for number in range(MAX_NICS):
        _read_nic(parts, f"ethernet{number}")
    _read_devices(parts)
    system = _system(settings, version, tuple(parts.items))
    _note_unused(parts)
    return Envelope(
        ovf_version="",
        namespace="",
        producer="vmware",
        files=parts.files,
        disks=tuple(parts.disks),
        networks=tuple(parts.networks.values()),
        content=(system,),
        findings=tuple(parts.findings),
    )


def _system(settings: Settings, version: int, items: tuple[Item, ...]) -> VirtualSystem:
    config = {"firmware": settings.word("firmware") or "bios"}
    if settings.flag(SECURE_BOOT):
        config[SECURE_BOOT] = "true"
    hardware = VirtualHardware(
        system_types=(f"vmx-{version:02}",),
        items=items,
        config=config,
    )
    name = _name(settings)
    return VirtualSystem(
        id=name,
        name=name,
        annotation=settings.text("annotation"),
        os=OperatingSystem(type=os_type(settings.text("guestOS"))),
        hardware=(hardware,),
        boot=_boot(settings, items),
        where="VMX",
    )


def _boot(settings: Settings, items: tuple[Item, ...]) -> tuple[BootDevice, ...]:
    """What to boot from. ``hdd`` stands for all disks, in an order of their own if there is one."""
    by_key = {item.element_name: item.instance_id for item in items}
    disks = [by_key[key] for key in map(str.strip, settings.word(DISK_ORDER).split(",")) if key in by_key]
    words = settings.word(BOOT_ORDER).removeprefix("allow:").split(",")
    steps: list[BootDevice] = []
    for word in map(str.strip, words):
        kind = BOOT.get(word.rstrip("0123456789"), "")
        if kind == BOOT["hdd"]:
            steps += (BootDevice(kind=kind, instance_id=disk) for disk in disks)
        if kind:
            steps.append(BootDevice(kind=kind, instance_id=by_key.get(word, "")))
    return tuple(steps)


def _name(settings: Settings) -> str:
    """The machine's name. vCenter's escapes come first, as its own program reads them."""
    raw = _INVENTORY_ESCAPE.sub(lambda match: chr(int(match[1], 16)), settings.raw("displayName"))
    return unescape(raw, where="displayName").strip()


def _check_encryption(parts: Parts) -> None:
    """Refuse a machine whose hardware is encrypted; one with only its secrets encrypted can be read."""
    settings = parts.settings
    if "encryption.data" not in settings and "encryption.keySafe" not in settings:
        return
    settings.raw("encryption.data")
    settings.raw("encryption.keySafe")
    if "memsize" not in settings:
        raise DescriptorError(
            "the machine is encrypted, expected one that can be read",
            code="E_NOT_SUPPORTED",
            where="encryption.data",
            hint="Remove the encryption in VMware (VM > Settings > Options > Access Control), or export the machine.",
        )
    parts.note("VMX_ENCRYPTED", "a part of the settings is encrypted and cannot be read", "encryption.data")


def _read_processors(parts: Parts) -> None:
    settings = parts.settings
    item = Item(
        instance_id=parts.next_id,
        resource_type=ResourceType.PROCESSOR,
        element_name="numvcpus",
        quantity=settings.count("numvcpus", least=1, most=MAX_CPUS) or 1,
        cores_per_socket=settings.count("cpuid.coresPerSocket", least=1, most=MAX_CPUS),
        where="numvcpus",
    )
    parts.items.append(item)
    if (memory := settings.count("memsize", least=1, most=MAX_MEMORY_BYTES // MIB)) is not None:
        item = Item(
            instance_id=parts.next_id,
            resource_type=ResourceType.MEMORY,
            element_name="memsize",
            quantity=memory * MIB,
            where="memsize",
        )
        parts.items.append(item)


def _read_nic(parts: Parts, key: str) -> None:
    settings = parts.settings
    if not settings.flag(f"{key}.present"):
        return
    model = settings.word(f"{key}.virtualDev")
    features = settings.count(f"{key}.features", least=0, most=(1 << 32) - 1)
    if model == "vmxnet" and features == VMXNET2_FEATURES:
        model = "vmxnet2"
    network = _network(settings, key)
    parts.networks.setdefault(network, Network(name=network))
    parts.items.append(
        Item(
            instance_id=parts.next_id,
            resource_type=ResourceType.ETHERNET,
            subtypes=(NICS.get(model, model),),
            element_name=key,
            connections=(network,),
            automatic_allocation=settings.flag(f"{key}.startConnected", default=True),
            where=key,
        )
    )


def _network(settings: Settings, key: str) -> str:
    """What the network is called: vSphere names it, Workstation has bridged, nat, hostonly, and some by number."""
    name, kind = settings.text(f"{key}.networkName"), settings.word(f"{key}.connectionType")
    switch = settings.text(f"{key}.vnet")
    return name or (switch if kind == "custom" else "") or kind or "bridged"


def _read_devices(parts: Parts) -> None:
    """Ports, USB, sound, TPM, and what only VMware has."""
    settings = parts.settings
    for number in range(MAX_SERIAL):
        _read_device(parts, f"serial{number}", ResourceType.SERIAL_PORT)
    for number in range(MAX_PARALLEL):
        _read_device(parts, f"parallel{number}", ResourceType.PARALLEL_PORT)
    speeds = [prefix for prefix in USB if settings.flag(f"{prefix}.present")]
    for prefix in speeds:
        parts.add_device(prefix, ResourceType.USB_CONTROLLER, USB[prefix])
    if not speeds:
        _read_device(parts, "usb", ResourceType.USB_CONTROLLER)
    if settings.flag("sound.present"):
        model = settings.word("sound.virtualDev")
        parts.add_device("sound", ResourceType.SOUND, SOUND.get(model, model))
    _read_device(parts, "vtpm", ResourceType.OTHER, TPM)
    for number in range(MAX_PASSTHROUGH):
        _read_device(parts, f"pciPassthru{number}", ResourceType.OTHER, "vmware.pci.passthrough")
    _read_device(parts, "vmci0", ResourceType.OTHER, VMCI)


def _read_device(parts: Parts, key: str, resource_type: ResourceType, *subtypes: str) -> None:
    if parts.settings.flag(f"{key}.present"):
        parts.add_device(key, resource_type, *subtypes)


def _note_unused(parts: Parts) -> None:
    """Say once what of the VMX is not kept."""
    if parts.settings.text("checkpoint.vmState"):
        message = "the machine is suspended: what its memory held is not taken over, as after a power cut"
        parts.note("VMX_SUSPENDED", message, "checkpoint.vmState")
    if nvram := parts.settings.text("nvram"):
        message = f"the firmware's variables in {quoted(nvram)} are not taken over: the machine gets new ones"
        parts.note("VMX_NVRAM", message, "nvram", Severity.INFO)
    unused = [key for key in parts.settings.unasked if not _OF_THE_HOST.fullmatch(key)]
    if unused:
        names = ", ".join(map(quoted, unused[:_MOST_TOLD])) + (", ..." if len(unused) > _MOST_TOLD else "")
        parts.note("VMX_IGNORED", f"settings that are not known here: {len(unused)} ({names})", "", Severity.INFO)
