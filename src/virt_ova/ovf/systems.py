"""Virtual systems and collections of them (DSP0243 7.2, 7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from virt_ova.errors import DescriptorError
from virt_ova.ovf import sections, vendor
from virt_ova.ovf.boot import read_boot
from virt_ova.ovf.envelope import (
    OperatingSystem,
    Product,
    VirtualHardware,
    VirtualSystem,
    VirtualSystemCollection,
)
from virt_ova.ovf.items import read_hardware
from virt_ova.ovf.names import VBOX, VMW, XENC
from virt_ova.ovf.reading import Reading
from virt_ova.ovf.xml import Element
from virt_ova.text import quoted

_CONTENT: Final = frozenset({"VirtualSystem", "VirtualSystemCollection"})

_ENVELOPE: Final = _CONTENT | {
    "Info", "References", "Strings", "DiskSection", "NetworkSection", "DeploymentOptionSection", "StartupSection",
    "EulaSection", "ProductSection",
}  # fmt: skip
_SYSTEM: Final = frozenset(
    {
        "Info", "Name", "AnnotationSection", "EulaSection", "ProductSection", "OperatingSystemSection",
        "VirtualHardwareSection", "BootDeviceSection",
    },
)  # fmt: skip
_COLLECTION: Final = _CONTENT | {
    "Info", "Name", "AnnotationSection", "EulaSection", "ProductSection", "StartupSection",
}  # fmt: skip
_VENDOR: Final = frozenset({(VBOX, "Machine"), (VMW, "BootOrderSection")})
"""Elements of products that are understood in a system."""


class Systems:
    """Reads the systems of one descriptor; `host_paths` gives the disk id of each oVirt image path."""

    def __init__(self, reading: Reading, host_paths: Mapping[str, str]) -> None:
        self._reading = reading
        self._host_paths = host_paths

    def read_envelope(self, root: Element) -> tuple[VirtualSystem | VirtualSystemCollection, ...]:
        """All content of the envelope. Licences and products that OVF 0.9 puts beside it hold for each part of it."""
        eulas, products = self._eulas(root), self._products(root)
        return tuple(
            replace(entity, eulas=eulas + entity.eulas, products=products + entity.products)
            for entity in self._read_content(root)
        )

    def _read_content(self, element: Element) -> tuple[VirtualSystem | VirtualSystemCollection, ...]:
        """The systems and collections directly in `element`, the envelope or a collection."""
        self._note_unknown(element, _COLLECTION if element.parent else _ENVELOPE)
        content: list[VirtualSystem | VirtualSystemCollection] = []
        for name, child in self._reading.sections(element):
            if name == "VirtualSystem":
                content.append(self._read_system(child))
            elif name == "VirtualSystemCollection":
                content.append(self._read_collection(child))
        return tuple(content)

    def _note_unknown(self, element: Element, known: frozenset[str]) -> None:
        """Note what is not understood in `element`; oVirt's own fields, and VirtualBox's settings, are."""
        for name, child in self._reading.sections(element):
            if child.namespace == XENC:
                raise DescriptorError(
                    "the section is encrypted, which is not supported",
                    code="E_NOT_SUPPORTED",
                    where=child.where,
                    hint="Decrypt the package with the tools of its author.",
                )
            is_known = name in known or (child.namespace, child.name) in _VENDOR
            if not is_known and not vendor.is_ovirt_field(self._reading, child):
                self._reading.unknown(child)

    def _read_collection(self, element: Element) -> VirtualSystemCollection:
        reading = self._reading
        entity_id = sections.required(reading, element, "id")
        return VirtualSystemCollection(
            id=entity_id,
            name=reading.child_text(element, "Name") or entity_id,
            info=reading.child_text(element, "Info"),
            annotation=self._texts(element, "AnnotationSection", "Annotation"),
            eulas=self._eulas(element),
            products=self._products(element),
            startup=sections.read_startup(reading, element),
            content=self._read_content(element),
            where=element.where,
        )

    def _read_system(self, element: Element) -> VirtualSystem:
        reading = self._reading
        self._note_unknown(element, _SYSTEM)
        entity_id = sections.required(reading, element, "id")
        return VirtualSystem(
            id=entity_id,
            name=reading.child_text(element, "Name") or entity_id,
            info=reading.child_text(element, "Info"),
            annotation=self._texts(element, "AnnotationSection", "Annotation"),
            eulas=self._eulas(element),
            os=self._os(element),
            hardware=self._hardware(element),
            products=self._products(element),
            boot=read_boot(reading, element),
            vendor=vendor.view(reading, element),
            where=element.where,
        )

    def _texts(self, element: Element, section: str, name: str) -> str:
        texts = (self._reading.text(text) for text in self._reading.inside(element, section, name))
        return "\n\n".join(text for text in texts if text)

    def _eulas(self, element: Element) -> tuple[str, ...]:
        found = (child for name, child in self._reading.sections(element) if name == "EulaSection")
        return tuple(self._licence(eula) for eula in found)

    def _licence(self, eula: Element) -> str:
        """The text; where only its id is there, that, for a licence that cannot be read has to be accepted, too."""
        for licence in self._reading.children(eula, "License"):
            message_id = self._reading.attribute(licence, "msgid")
            missing = f"(the text of the licence {quoted(message_id)} is not to be had)" if message_id else ""
            return self._reading.text(licence) or missing
        return ""

    def _products(self, element: Element) -> tuple[Product, ...]:
        found = (child for name, child in self._reading.sections(element) if name == "ProductSection")
        return tuple(sections.read_product(self._reading, product) for product in found)

    def _os(self, element: Element) -> OperatingSystem:
        """The operating system; VirtualBox's machine settings name it when the section does not."""
        found = (child for name, child in self._reading.sections(element) if name == "OperatingSystemSection")
        system = next((sections.read_os(self._reading, child) for child in found), OperatingSystem())
        machine = vendor.vbox_machine(element)
        if system.type or machine is None:
            return system
        return replace(system, type=machine.attributes.get(("", "OSType"), ""))

    def _hardware(self, element: Element) -> tuple[VirtualHardware, ...]:
        """The hardware sections; a system without one is no machine, which the planner must know."""
        hints = vendor.firmware_hints(self._reading, element)
        found = (child for name, child in self._reading.sections(element) if name == "VirtualHardwareSection")
        hardware = [read_hardware(self._reading, child, self._host_paths) for child in found]
        if not hardware:
            self._reading.note("OVF_NO_HARDWARE", "the system has no virtual hardware", element.where)
        return tuple(
            replace(
                section,
                config={**hints, **section.config},
                items=vendor.with_vbox_addresses(section.items, element),
            )
            for section in hardware
        )
