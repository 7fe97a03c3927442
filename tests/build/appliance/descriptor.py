"""The OVF descriptor: ``appliance.ovf``, written as vSphere writes one, with its blanks filled in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lxml import etree

from tests.build.appliance.spec import ApplianceSpec, ControllerName

_TEMPLATE = Path(__file__).with_name("appliance.ovf")
_OVF = "http://schemas.dmtf.org/ovf/envelope/1"
_VMW = "http://www.vmware.com/schema/ovf"
_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
_PREFIXES = {
    "ovf": _OVF,
    "vmw": _VMW,
    "rasd": f"{_CIM}/CIM_ResourceAllocationSettingData",
    "vssd": f"{_CIM}/CIM_VirtualSystemSettingData",
}
_CONTROLLERS: Mapping[ControllerName, tuple[int, str]] = {
    "ide": (5, ""),
    "AHCI": (20, "vmware.sata.ahci"),
    "lsilogic": (6, "lsilogic"),
    "lsilogicsas": (6, "lsilogicsas"),
    "buslogic": (6, "buslogic"),
    "VirtualSCSI": (6, "VirtualSCSI"),
    "NVMe": (20, "vmware.nvme.controller"),
    "virtio": (6, "virtio"),
}
"""Resource type and subtype."""


def write_descriptor(spec: ApplianceSpec, *, disk_name: str, disk_size_bytes: int) -> bytes:
    """The descriptor of an appliance whose disk is the file `disk_name` of `disk_size_bytes`."""
    envelope = etree.fromstring(_TEMPLATE.read_bytes(), etree.XMLParser(remove_blank_text=True))
    file = _one(envelope, "ovf:References/ovf:File")
    file.set(f"{{{_OVF}}}href", disk_name)
    file.set(f"{{{_OVF}}}size", str(disk_size_bytes))
    _one(envelope, "ovf:DiskSection/ovf:Disk").set(f"{{{_OVF}}}capacity", str(spec.disk.capacity_mib))
    system = _one(envelope, "ovf:VirtualSystem")
    if spec.variables:
        _add_variables(envelope, spec)
    system.set(f"{{{_OVF}}}id", spec.name)
    _one(system, "ovf:Name").text = spec.name
    _fill_hardware(_one(system, "ovf:VirtualHardwareSection"), spec)
    return etree.tostring(envelope, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _fill_hardware(hardware: etree._Element, spec: ApplianceSpec) -> None:
    _one(hardware, "ovf:System/vssd:VirtualSystemIdentifier").text = spec.name
    firmware = _one(hardware, "vmw:Config[@vmw:key='firmware']")
    firmware.set(f"{{{_VMW}}}value", "efi" if spec.disk.is_efi else "bios")
    if spec.disk.firmware == "secure-boot":
        attributes = {f"{{{_VMW}}}key": "bootOptions.efiSecureBootEnabled", f"{{{_VMW}}}value": "true"}
        firmware.addprevious(etree.Element(firmware.tag, {f"{{{_OVF}}}required": "false", **attributes}))
    _one(hardware, "ovf:Item[rasd:ResourceType='3']/rasd:VirtualQuantity").text = str(spec.cpus)
    _one(hardware, "ovf:Item[rasd:ResourceType='4']/rasd:VirtualQuantity").text = str(spec.memory_mib)
    _one(hardware, "ovf:Item[rasd:ResourceType='10']/rasd:ResourceSubType").text = spec.nic
    controller = _one(hardware, "ovf:Item[rasd:InstanceID='3']")
    if not spec.tpm:
        hardware.remove(_one(hardware, "ovf:Item[rasd:ResourceSubType='vmware.vtpm']"))
    resource_type, subtype = _CONTROLLERS[spec.controller]
    _one(controller, "rasd:ResourceType").text = str(resource_type)
    if subtype:
        _one(controller, "rasd:ResourceSubType").text = subtype
    else:
        controller.remove(_one(controller, "rasd:ResourceSubType"))


def _add_variables(envelope: etree._Element, spec: ApplianceSpec) -> None:
    """The file of the firmware's variables, as VMware names it."""
    size = str(len(spec.variables))
    attributes = {f"{{{_OVF}}}href": spec.variables_name, f"{{{_OVF}}}id": "file2", f"{{{_OVF}}}size": size}
    etree.SubElement(_one(envelope, "ovf:References"), f"{{{_OVF}}}File", attributes)
    stated = {f"{{{_VMW}}}key": "nvram", f"{{{_VMW}}}value": "ovf:/file/file2"}
    hardware = _one(envelope, "ovf:VirtualSystem/ovf:VirtualHardwareSection")
    etree.SubElement(hardware, f"{{{_VMW}}}ExtraConfig", {f"{{{_OVF}}}required": "false", **stated})


def _one(parent: etree._Element, path: str) -> etree._Element:
    """The element at `path`, of which there is one."""
    element = parent.find(path, _PREFIXES)
    if element is None:
        raise LookupError(f"{_TEMPLATE.name} has no {path}")
    return element
