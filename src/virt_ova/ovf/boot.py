"""What a system boots from: VMware's BootOrderSection, and the BootDeviceSection of OVF 2 (DSP0243 2.1, 9.13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from virt_ova.ovf.envelope import BootDevice
from virt_ova.ovf.names import VMW
from virt_ova.ovf.reading import Reading, words
from virt_ova.ovf.xml import Element

_KINDS: Final = {
    "disk": "disk", "hdd": "disk", "hard-disk": "disk",
    "cdrom": "cdrom", "cd": "cdrom", "cd/dvd": "cdrom",
    "floppy": "floppy",
    "net": "net", "network": "net", "ethernet": "net",
}  # fmt: skip
"""Words of VMware, and the identifiers of CIM_BootSourceSetting.StructuredBootString, lower case."""


def read_boot(reading: Reading, system: Element) -> tuple[BootDevice, ...]:
    """The steps of the boot order of `system`, the first to be tried first."""
    steps: list[BootDevice] = []
    for name, child in reading.sections(system):
        if (child.namespace, child.name) == (VMW, "BootOrderSection"):
            steps += _vmware_steps(child)
        elif name == "BootDeviceSection":
            steps += (_source_step(source) for source in _sources(child))
        elif name == "VirtualHardwareSection":
            sections = reading.children(child, "BootDeviceSection")
            steps += (_source_step(source) for section in sections for source in _sources(section))
    return tuple(step for step in steps if step.kind or step.instance_id)


def _vmware_steps(section: Element) -> Iterator[BootDevice]:
    """One device, or a list of kinds."""
    kinds = [_KINDS.get(word.lower(), "") for word in words(section.attributes.get((VMW, "type"), ""))]
    instance_id = section.attributes.get((VMW, "instanceId"), "").strip()
    if instance_id:
        yield BootDevice(kind=next(iter(kinds), ""), instance_id=instance_id)
        kinds = kinds[1:]
    yield from (BootDevice(kind=kind) for kind in kinds)


def _sources(element: Element) -> Iterator[Element]:
    """The boot sources in it, in document order."""
    for child in element.children:
        if child.name == "CIM_BootSourceSetting":
            yield child
        else:
            yield from _sources(child)


def _source_step(source: Element) -> BootDevice:
    """``CIM:Hard-Disk:1``, the InstanceID of an item, or both."""
    fields = {child.name: child.text.strip() for child in source.children}
    _, _, device = fields.get("StructuredBootString", "").partition(":")
    return BootDevice(kind=_KINDS.get(device.partition(":")[0].lower(), ""), instance_id=fields.get("InstanceID", ""))
