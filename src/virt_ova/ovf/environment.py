"""The OVF environment: what a machine is told of itself (DSP0243 11, DSP8027).

Names are written with prefixes, as VMware writes them: guests read this document with all kinds of parsers, and not all
of them know namespaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

NAMESPACE: Final = "http://schemas.dmtf.org/ovf/environment/1"

_NO_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """What runs the machine, in the words of a PlatformSection."""

    kind: str
    version: str
    vendor: str
    locale: str = "en"


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityProperties:
    """What one system or collection is told: its ``ovf:id``, and values by full key.

    Values may be passwords: they are not in its repr.
    """

    id: str
    values: Mapping[str, str] = field(repr=False)


def not_in_xml(text: str) -> str:
    """The first character of `text` that no XML document can hold; empty when there is none."""
    found = _NO_XML.search(text)
    return found[0] if found else ""


def without_foreign(text: str) -> str:
    """`text` without the characters that no XML document can hold."""
    return _NO_XML.sub("", text)


def environment_xml(own: EntityProperties, siblings: Iterable[EntityProperties], platform: Platform) -> bytes:
    """The document for one machine, in UTF-8; the same for the same input.

    Args:
        own: the machine; its values hold those of its collections that it does not override (DSP0243 11.1).
        siblings: the other entities of its collection.
        platform: what runs it.
    """
    root = Element("Environment", {"xmlns": NAMESPACE, "xmlns:oe": NAMESPACE, "oe:id": own.id})
    section = SubElement(root, "PlatformSection")
    for name, text in (
        ("Kind", platform.kind),
        ("Version", platform.version),
        ("Vendor", platform.vendor),
        ("Locale", platform.locale),
    ):
        SubElement(section, name).text = text
    _add_properties(root, own)
    for sibling in siblings:
        _add_properties(SubElement(root, "Entity", {"oe:id": sibling.id}), sibling)
    indent(root)
    document: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return document + b"\n"


def _add_properties(parent: Element, entity: EntityProperties) -> None:
    section = SubElement(parent, "PropertySection")
    for key, value in entity.values.items():
        SubElement(section, "Property", {"oe:key": key, "oe:value": value})
