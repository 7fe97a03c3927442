"""VMware's words for hardware and guests, in a VMX and in an OVF descriptor.

The guests' names differ in form alone (``debian12-64``, ``debian12_64Guest``), but for the few listed here. What a VMX
leaves out has a default: a network card without a model is a ``flexible`` one, a SCSI controller is the guest's usual.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from virt_ova.ovf.envelope import OperatingSystem

SCSI: Final = {"buslogic": "buslogic", "lsilogic": "lsilogic", "lsisas1068": "lsilogicsas", "pvscsi": "virtualscsi"}
"""``scsiN.virtualDev`` to ResourceSubType."""

NICS: Final = {
    "": "flexible",
    "vlance": "pcnet32",
    "vmxnet": "vmxnet",
    "vmxnet2": "vmxnet2",
    "vmxnet3": "vmxnet3",
    "e1000": "e1000",
    "e1000e": "e1000e",
}
"""``ethernetN.virtualDev`` to ResourceSubType; vmxnet2 is written as vmxnet with `VMXNET2_FEATURES`."""

VMXNET2_FEATURES: Final = 15

SOUND: Final = {
    "hdaudio": "vmware.soundcard.hdaudio",
    "es1371": "vmware.soundcard.ensoniq1371",
    "sb16": "vmware.soundcard.sb16",
}
"""``sound.virtualDev`` to ResourceSubType."""

USB: Final = {"usb_xhci": "vmware.usb.xhci", "ehci": "vmware.usb.ehci"}
"""Prefixes of settings to ResourceSubType, the fastest controller first; ``usb`` alone is an UHCI without a name."""

AHCI: Final = "vmware.sata.ahci"
NVME: Final = "vmware.nvme.controller"
TPM: Final = "vmware.vtpm"
VMCI: Final = "vmware.vmci"

BOOT: Final = {"hdd": "disk", "cdrom": "cdrom", "floppy": "floppy", "ethernet": "net"}
"""Words of `BOOT_ORDER`, network cards without their number, to `virt_ova.ovf.envelope.BootDevice.kind`."""

BOOT_ORDER: Final = "bios.bootOrder"
DISK_ORDER: Final = "bios.hddOrder"

OTHER_SPELLINGS: Final = {
    "lsisas1068": "lsilogicsas", "pvscsi": "virtualscsi", "vmpvscsi": "virtualscsi",
    "pcnet": "pcnet32", "vlance": "pcnet32", "82545em": "e1000",
    "hda": SOUND["hdaudio"], "ensoniq1371": SOUND["es1371"], "sb16": SOUND["sb16"],
    "ehci": USB["ehci"], "xhci": USB["usb_xhci"],
    "ahci": AHCI, "sata": AHCI, "intelahci": AHCI, "ich9-ahci": AHCI, "nvme": NVME,
}  # fmt: skip
"""Subtypes that other writers use for what VMware has, too."""

_GUESTS: Final = {
    "other": "otherGuest", "other-64": "otherGuest64",
    "longhorn": "winLonghornGuest", "longhorn-64": "winLonghorn64Guest",
    "windows7srv-64": "windows7Server64Guest", "windows8srv-64": "windows8Server64Guest",
    "windows9srv-64": "windows9Server64Guest",
    "windows2019srv-64": "windows2019srv_64Guest", "windows2019srvnext-64": "windows2019srvNext_64Guest",
    "windows2022srvnext-64": "windows2022srvNext_64Guest",
    "rockylinux-64": "rockylinux_64Guest", "almalinux-64": "almalinux_64Guest",
    "vmware-photon-64": "vmwarePhoton64Guest",
}  # fmt: skip
"""Guests whose names do not follow the rule."""

_VMX_GUESTS: Final = {osa.lower(): guest for guest, osa in _GUESTS.items()}

_CIM_GUESTS: Final = {
    29: "solaris10", 36: "otherlinux", 42: "freebsd", 58: "win2000serv", 67: "winxppro", 69: "winnetstandard",
    70: "winnetstandard-64", 73: "winvista", 74: "winvista-64", 76: "longhorn", 77: "longhorn-64",
    78: "freebsd-64", 79: "rhel7", 80: "rhel7-64", 82: "suse", 83: "suse-64", 84: "sles", 85: "sles-64",
    93: "ubuntu", 94: "ubuntu-64", 95: "debian10", 96: "debian10-64", 97: "other24xlinux", 98: "other24xlinux-64",
    99: "other26xlinux", 100: "other26xlinux-64", 101: "otherlinux-64", 103: "windows7srv-64", 105: "windows7-64",
    106: "centos", 107: "centos-64", 108: "oraclelinux", 109: "oraclelinux-64", 112: "windows8srv-64",
    113: "windows8", 114: "windows8-64", 115: "windows8srv-64", 116: "windows9srv-64", 119: "windows9",
    120: "windows9-64", 121: "windows2019srv-64",
}  # fmt: skip
"""CIM_OperatingSystem.OSType to the nearest guest of VMware, where the descriptor has no word of VMware's."""

_OS_TYPE: Final = re.compile(r"(?P<name>[A-Za-z0-9_-]+?)(?P<bits>_?64)?Guest", re.ASCII)
_VBOX_64: Final = re.compile(r".*_(?:64|x64)")


def subtype_of(subtypes: tuple[str, ...], table: Mapping[str, str]) -> str | None:
    """The first of a preference list that is a value of `table`, in VMware's spelling; None when there is none."""
    spelled = (OTHER_SPELLINGS.get(subtype, subtype) for subtype in subtypes)
    return next((subtype for subtype in spelled if subtype in table.values()), None)


def os_type(guest: str) -> str:
    """``vmw:osType`` of a ``guestOS``; empty for an empty one."""
    lowered = guest.lower()
    if not guest or lowered in _GUESTS:
        return _GUESTS.get(lowered, "")
    name = lowered.removesuffix("-64")
    if name == lowered:
        return f"{lowered}Guest"
    return f"{name}{'_' if name[-1:].isdigit() else ''}64Guest"


def guest_os(os: OperatingSystem) -> str:
    """The ``guestOS`` of an operating system: by VMware's word for it, else by its number, else its width alone."""
    if guest := _VMX_GUESTS.get(os.type.lower()):
        return guest
    if match := _OS_TYPE.fullmatch(os.type):
        return match["name"].lower() + ("-64" if match["bits"] else "")
    if os.id in _CIM_GUESTS:
        return _CIM_GUESTS[os.id]
    is_32_bit = bool(os.type) and not _VBOX_64.fullmatch(os.type)
    return "other" if is_32_bit else "other-64"
