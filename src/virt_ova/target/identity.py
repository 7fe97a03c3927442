"""A domain's identity: a UUID of our own, never the package's.

libvirt replaces a domain silently when a definition carries the UUID and the name of an existing one, so the UUID is
always new.
"""

from __future__ import annotations

import uuid
from xml.etree import ElementTree as ET


def new_uuid() -> str:
    """A random UUID."""
    return str(uuid.uuid4())


def identified(domain_xml: str, domain_uuid: str) -> str:
    """`domain_xml` with the UUID `domain_uuid`."""
    domain = ET.fromstring(domain_xml)  # noqa: S314 - made by virt_ova.plan.to_libvirt
    element = ET.Element("uuid")
    element.text = domain_uuid
    domain.insert(1, element)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"
