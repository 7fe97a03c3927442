"""From the values of a descriptor to its text: OVF 1.1 (DSP0243) with VMware's own attributes, as VMware reads it.

Only for values that were read from something else, such as a VMX: a descriptor that has a text is sent as its author
wrote it (`virt_ova.ovf.edit`). One machine is written; names have the usual prefixes, because not all readers know
namespaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from virt_ova.ovf.envelope import Disk, Envelope, File, Item, ResourceType, VirtualHardware, VirtualSystem
from virt_ova.ovf.environment import without_foreign
from virt_ova.ovf.names import OVF_1, VMW
from virt_ova.units import MIB

STREAM_OPTIMIZED: Final = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"

_CIM: Final = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_"
_OTHER_SYSTEM: Final = 1
"""CIM_OperatingSystem.OSType of what has no number of its own; VMware goes by ``vmw:osType``."""

_MEMORY_UNITS: Final = "byte * 2^20"
_CONFIG: Final = {"firmware": "firmware", "uefi.secureBoot.enabled": "bootOptions.efiSecureBootEnabled"}
"""Settings of a VMX, and what they are in a descriptor."""


def write_envelope(envelope: Envelope, system: VirtualSystem) -> str:
    """The descriptor of `system`, all of whose files and disks are those of `envelope`."""
    spaces = {"xmlns": OVF_1, "xmlns:ovf": OVF_1, "xmlns:vmw": VMW}
    spaces |= {"xmlns:rasd": f"{_CIM}ResourceAllocationSettingData", "xmlns:vssd": f"{_CIM}VirtualSystemSettingData"}
    root = Element("Envelope", spaces)
    references = SubElement(root, "References")
    for file in envelope.files:
        SubElement(references, "File", _attributes(_of_file(file)))
    disks = _section(root, "DiskSection", "Disks")
    for disk in envelope.disks:
        SubElement(disks, "Disk", _attributes(_of_disk(disk)))
    networks = _section(root, "NetworkSection", "Networks")
    for network in envelope.networks:
        SubElement(networks, "Network", _attributes({"ovf:name": network.name}))
    _add_system(root, system)
    indent(root)
    return str(tostring(root, encoding="unicode"))


def _of_file(file: File) -> dict[str, str]:
    return {"ovf:id": file.id, "ovf:href": file.href, "ovf:size": str(file.size_bytes or "")}


def _of_disk(disk: Disk) -> dict[str, str]:
    return {
        "ovf:diskId": disk.id,
        "ovf:fileRef": disk.file_ref,
        "ovf:capacity": str(disk.capacity_bytes or ""),
        "ovf:format": disk.format_uri or STREAM_OPTIMIZED,
    }


def _add_system(root: Element, system: VirtualSystem) -> None:
    element = SubElement(root, "VirtualSystem", _attributes({"ovf:id": system.id or "vm"}))
    _add(element, "Info", "A virtual machine")
    _add(element, "Name", system.name)
    if system.annotation:
        _add(_section(element, "AnnotationSection", "An annotation"), "Annotation", system.annotation)
    number = str(system.os.id or _OTHER_SYSTEM)
    section = _section(element, "OperatingSystemSection", "The operating system")
    section.attrib |= _attributes({"ovf:id": number, "vmw:osType": system.os.type})
    for hardware in system.hardware:
        _add_hardware(element, hardware)
    for step in system.boot:
        section = _section(element, "vmw:BootOrderSection", "What is booted from")
        steps = {"ovf:required": "false", "vmw:instanceId": step.instance_id, "vmw:type": step.kind}
        section.attrib |= _attributes(steps)


def _add_hardware(parent: Element, hardware: VirtualHardware) -> None:
    section = _section(parent, "VirtualHardwareSection", "Virtual hardware")
    family = SubElement(section, "System")
    _add(family, "vssd:ElementName", "Virtual hardware family")
    _add(family, "vssd:InstanceID", "0")
    _add(family, "vssd:VirtualSystemType", " ".join(hardware.system_types))
    for item in hardware.items:
        element = SubElement(section, "Item")
        for name, text in _fields(item):
            _add(element, name, text)
    for key, name in _CONFIG.items():
        if value := hardware.config.get(key):
            attributes = {"ovf:required": "false", "vmw:key": name, "vmw:value": value}
            SubElement(section, "vmw:Config", _attributes(attributes))


def _fields(item: Item) -> Iterator[tuple[str, str]]:
    """Names and values of an item, in the order that the schema wants, which is that of the alphabet."""
    is_memory = item.resource_type == ResourceType.MEMORY
    connected, quantity = item.automatic_allocation, item.quantity
    yield "rasd:Address", item.address
    yield "rasd:AddressOnParent", item.address_on_parent
    yield "rasd:AllocationUnits", _MEMORY_UNITS if is_memory else ""
    yield "rasd:AutomaticAllocation", "" if connected is None else str(connected).lower()
    yield from (("rasd:Connection", name) for name in item.connections)
    yield "rasd:ElementName", item.element_name or f"item {item.instance_id}"
    yield from (("rasd:HostResource", name) for name in item.host_resources)
    yield "rasd:InstanceID", item.instance_id
    yield "rasd:Parent", item.parent
    yield "rasd:ResourceSubType", " ".join(item.subtypes)
    yield "rasd:ResourceType", str(int(item.resource_type))
    if quantity is not None:
        yield "rasd:VirtualQuantity", str(quantity // MIB if is_memory else quantity)
    yield "vmw:CoresPerSocket", str(item.cores_per_socket or "")


def _section(parent: Element, name: str, info: str) -> Element:
    section = SubElement(parent, name)
    _add(section, "Info", info)
    return section


def _add(parent: Element, name: str, text: str) -> None:
    """A child with a text, if there is any."""
    if text:
        SubElement(parent, name).text = without_foreign(text)


def _attributes(found: dict[str, str]) -> dict[str, str]:
    """Those that say something."""
    return {name: without_foreign(text) for name, text in found.items() if text}
