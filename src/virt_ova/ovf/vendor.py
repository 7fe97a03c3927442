"""What single products do in their own way, where it is more than a name.

oVirt (and virt-v2v for it) refers to images by path instead of by id; oVirt and VirtualBox say the firmware in elements
of their own, and VirtualBox the addresses of network adapters. Such words are put where the rest of the program looks
for them; nothing else is taken from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from virt_ova.ovf.envelope import (
    Envelope,
    Item,
    ResourceType,
    VirtualHardware,
    VirtualSystem,
    VirtualSystemCollection,
)
from virt_ova.ovf.names import OVF_0_9, OVF_OVIRT, VBOX, VMW, XENOVF
from virt_ova.ovf.reading import Reading
from virt_ova.ovf.xml import Document, Element

MAX_VIEW: Final = 1000
"""Most texts of products' own elements that are kept of one system."""

_OVF_FIELDS: Final = frozenset({"Info", "Name", "Section", "Content"})


def adopt_ovirt_files(envelope: Envelope) -> Envelope:
    """An oVirt envelope with each disk's file named by its id instead of its path."""
    by_path = {file.href: file.id for file in envelope.files}
    return replace(
        envelope,
        disks=tuple(replace(disk, file_ref=by_path.get(disk.file_ref, disk.file_ref)) for disk in envelope.disks),
    )


def ovirt_host_paths(envelope: Envelope) -> dict[str, str]:
    """Disk id by everything that an oVirt item may call it in HostResource: the path, the file's id, its own id."""
    paths_of = {file.id: (file.href, file.id) for file in envelope.files}
    return {
        path: disk.id for disk in envelope.disks for path in (disk.id, *paths_of.get(disk.file_ref, (disk.file_ref,)))
    }


def firmware_hints(reading: Reading, system: Element) -> dict[str, str]:
    """What oVirt's BiosType and VirtualBox's Firmware say, as configuration keys (see `VirtualHardware.config`)."""
    hints = {}
    if reading.dialect.is_ovirt and (bios_type := reading.child_text(system, "BiosType")):
        hints["ovirt.biosType"] = bios_type
    if (machine := vbox_machine(system)) is not None:
        for hardware in _named(machine.children, "Hardware"):
            for firmware in _named(hardware.children, "Firmware"):
                hints["vbox.firmware"] = firmware.attributes.get(("", "type"), "").strip()
    return hints


def with_vbox_addresses(items: tuple[Item, ...], system: Element) -> tuple[Item, ...]:
    """`items`, the network adapters among them with the addresses of those that are enabled in VirtualBox's settings.

    The settings have them by slot and the items in the same order; where the numbers differ, nothing is certain.
    """
    machine = vbox_machine(system)
    found = [
        (adapter.attributes.get(("", "slot"), ""), adapter.attributes.get(("", "MACAddress"), ""))
        for hardware in _named(machine.children if machine else (), "Hardware")
        for network in _named(hardware.children, "Network")
        for adapter in _named(network.children, "Adapter")
        if adapter.attributes.get(("", "enabled")) == "true"
    ]
    addresses = iter([address for _, address in sorted(found)])
    if len(found) != sum(item.resource_type == ResourceType.ETHERNET for item in items):
        return items
    return tuple(
        replace(item, address=item.address or next(addresses)) if item.resource_type == ResourceType.ETHERNET else item
        for item in items
    )


def is_ovirt_field(reading: Reading, element: Element) -> bool:
    """Whether `element`, a child of a system, is one of oVirt's own fields."""
    return reading.dialect.is_ovirt and not element.namespace and reading.dialect.section_name(element) == element.name


def view(reading: Reading, system: Element) -> dict[str, str]:
    """What products say of `system` in elements of their own: texts by path, attributes as ``path@name``.

    VirtualBox's settings in ``vbox:Machine``, and oVirt's fields. Nothing here is acted upon.
    """
    found: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for child in system.children:
        if child.namespace == VBOX:
            _add_to_view(child, f"vbox:{child.name}", found, seen)
        elif is_ovirt_field(reading, child) and child.name not in _OVF_FIELDS:
            _add_to_view(child, child.name, found, seen)
    return found


def _add_to_view(element: Element, path: str, found: dict[str, str], seen: Counter[str]) -> None:
    """What `element` and those in it say, up to `MAX_VIEW` in all; the second of a path is numbered."""
    seen[path] += 1
    place = path if seen[path] == 1 else f"{path}[{seen[path]}]"
    said = {f"{place}@{name}": value.strip() for (_, name), value in element.attributes.items()}
    if text := element.text.strip():
        said[place] = text
    if len(found) + len(said) > MAX_VIEW:
        return
    found |= said
    for child in element.children:
        _add_to_view(child, f"{place}/{child.name}", found, seen)


def vbox_machine(system: Element) -> Element | None:
    """VirtualBox's whole settings, if they are there."""
    return next(_named((child for child in system.children if child.namespace == VBOX), "Machine"), None)


def _named(elements: Iterable[Element], name: str) -> Iterator[Element]:
    return (element for element in elements if element.name == name)


def producer_of(
    document: Document,
    envelope: Envelope,
    content: Iterable[VirtualSystem | VirtualSystemCollection],
) -> str:
    """Which product wrote the descriptor, as far as it shows; the first evidence of the list counts."""
    hardware = tuple(_all_hardware(content))
    types = " ".join(word.lower() for section in hardware for word in section.system_types)
    transports = " ".join(word for section in hardware for word in section.transports)
    evidence = {
        "ovirt": envelope.namespace == OVF_OVIRT,
        "xen": XENOVF in document.namespaces,
        "virtualbox": VBOX in document.namespaces or types.startswith("virtualbox"),
        "ibm": "www.ibm.com/" in transports or any("www.ibm.com/" in uri for uri in document.namespaces),
        "vmware": VMW in document.namespaces or envelope.namespace == OVF_0_9 or "vmx-" in types,
    }
    return next((name for name, is_likely in evidence.items() if is_likely), "unknown")


def _all_hardware(content: Iterable[VirtualSystem | VirtualSystemCollection]) -> Iterator[VirtualHardware]:
    for entity in content:
        if isinstance(entity, VirtualSystem):
            yield from entity.hardware
        else:
            yield from _all_hardware(entity.content)
