"""Names in a descriptor: namespaces, and which of them a dialect uses.

Elements are matched by namespace and local name, never by prefix. OVF 1.x and 2.x qualify everything; OVF 0.9, its
drafts and oVirt (which grew out of 0.9) leave most elements without a namespace. Sections named by ``xsi:type`` are
theirs, too, but unmistakable anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from virt_ova.errors import DescriptorError
from virt_ova.ovf.xml import Document, Element
from virt_ova.text import quoted

OVF_0_9: Final = "http://www.vmware.com/schema/ovf/1/envelope"
OVF_DRAFT: Final = "http://schemas.dmtf.org/ovf/envelope"
OVF_1: Final = "http://schemas.dmtf.org/ovf/envelope/1"
OVF_OVIRT: Final = "http://schemas.dmtf.org/ovf/envelope/1/"
OVF_2: Final = "http://schemas.dmtf.org/ovf/envelope/2"

VMW: Final = "http://www.vmware.com/schema/ovf"
VBOX: Final = "http://www.virtualbox.org/ovf/machine"
XENOVF: Final = "http://schemas.citrix.com/ovf/envelope/1"
OVIRT: Final = "http://www.ovirt.org/ovf"
XENC: Final = "http://www.w3.org/2001/04/xmlenc#"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
XSD: Final = "http://www.w3.org/2001/XMLSchema"
XML: Final = "http://www.w3.org/XML/1998/namespace"

ENVELOPES: Final = {OVF_0_9: "0.9", OVF_DRAFT: "0.9", OVF_OVIRT: "0.9", OVF_1: "1.1", OVF_2: "2.0"}
"""Namespace of the envelope to the version it stands for, unless the envelope says more exactly."""

_VERSION = re.compile(r"[0-9]\.[0-9](?:\.[0-9]{1,2})?")
_SETTING_DATA = re.compile(
    r"http://schemas\.dmtf\.org/wbem/wscim/1/cim[^/]{0,40}/2/"
    r"CIM_(?P<subject>VirtualSystem|ResourceAllocation|StorageAllocation|EthernetPortAllocation)SettingData(?:\.xsd)?"
)
"""CIM namespaces. Writers differ in the schema folder (``cim-schema``, ``cim2608 schema``) and in a last ``.xsd``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How the elements of one descriptor are named.

    Attributes:
        namespace: of the envelope.
        version: OVF version.
        is_unqualified: whether elements may have no namespace (OVF 0.9, oVirt).
        is_ovirt: whether oVirt's own meanings apply.
    """

    namespace: str
    version: str
    is_unqualified: bool
    is_ovirt: bool

    def is_ovf(self, element: Element) -> bool:
        """Whether `element` is of OVF's own vocabulary."""
        return element.namespace == self.namespace or (self.is_unqualified and not element.namespace)

    def is_setting(self, element: Element) -> bool:
        """Whether `element` is a field of CIM setting data (rasd, sasd, epasd, vssd), or oVirt's in their place."""
        if _SETTING_DATA.fullmatch(element.namespace):
            return True
        return self.is_unqualified and self.is_ovf(element)

    def section_name(self, element: Element) -> str:
        """Name of an OVF element, with 0.9's ``<Section xsi:type="ovf:DiskSection_Type">`` put as ``DiskSection``.

        Empty for an element of another vocabulary, and for a section without type.
        """
        if not self.is_ovf(element):
            return ""
        if element.name not in {"Section", "Content"}:
            return element.name
        kind = element.attributes.get((XSI, "type")) or element.attributes.get((XSD, "name"), "")
        return kind.strip().rpartition(":")[2].removesuffix("_Type")


def dialect_of(document: Document) -> Dialect:
    """The dialect of a descriptor.

    An Envelope without namespace is taken for the one OVF version that the document declares: vCloud's
    ``SLES11_SP2_64.ovf`` has lost its default namespace, but its attributes still tell.

    Raises:
        DescriptorError: it is no OVF envelope, or of an unknown version (``E_OVF_VERSION``).
    """
    root = document.root
    declared = sorted(document.namespaces & ENVELOPES.keys())
    namespace = root.namespace or (declared[0] if len(declared) == 1 else "")
    if root.name != "Envelope" or namespace not in ENVELOPES:
        raise DescriptorError(
            f"found the root element {quoted(root.name)} of namespace {quoted(root.namespace)}, "
            "expected an Envelope of OVF 0.9, 1.x or 2.x",
            code="E_OVF_VERSION",
        ).at(root.where)
    family = ENVELOPES[namespace]
    said = root.attributes.get((namespace, "version"), "").strip()
    is_exact = _VERSION.fullmatch(said) and said[0] == family[0]
    return Dialect(
        namespace=namespace,
        version=said if is_exact else family,
        is_unqualified=family == "0.9" or not root.namespace,
        is_ovirt=namespace == OVF_OVIRT,
    )
