"""Sections of the envelope and of its systems, each to its value.

References, DiskSection, NetworkSection, DeploymentOptionSection (DSP0243 7.1, 9.1, 9.2, 9.8), ProductSection (9.5),
StartupSection (9.7) and OperatingSystemSection (9.6).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from virt_ova.findings import Severity
from virt_ova.ovf.envelope import (
    DeploymentOption,
    Disk,
    File,
    Network,
    OperatingSystem,
    Product,
    Property,
    StartupItem,
)
from virt_ova.ovf.names import OVIRT, VBOX, VMW
from virt_ova.ovf.reading import Reading, bad_value, bounded, scaled
from virt_ova.ovf.xml import Element
from virt_ova.text import quoted
from virt_ova.units import GIB

MAX_DELAY_SECONDS: Final = 1 << 31

_PROPERTY_REFERENCE = re.compile(r"\$\{([^{}]{1,200})\}")


def read_file(reading: Reading, element: Element) -> File:
    """One File of References."""
    return File(
        id=required(reading, element, "id"),
        href=required(reading, element, "href"),
        size_bytes=reading.count(element, "size"),
        compression=(reading.attribute(element, "compression") or "").lower(),
        chunk_bytes=reading.count(element, "chunkSize"),
    )


def read_disk(reading: Reading, element: Element) -> Disk:
    """One Disk of a DiskSection."""
    capacity = reading.attribute(element, "capacity") or ""
    reference = _PROPERTY_REFERENCE.fullmatch(capacity)
    return Disk(
        id=required(reading, element, "diskId"),
        file_ref=reading.attribute(element, "fileRef") or "",
        parent_ref=reading.attribute(element, "parentRef") or "",
        capacity_bytes=None if reference else _capacity(reading, element, capacity),
        capacity_property=reference[1] if reference else "",
        capacity_units=(reading.attribute(element, "capacityAllocationUnits") or "") if reference else "",
        populated_bytes=_populated(reading, element),
        format_uri=reading.attribute(element, "format") or "",
        shared=reading.flag(element, "shared", default=False),
        interface=(reading.attribute(element, "disk-interface") or "").lower(),
    )


def _capacity(reading: Reading, element: Element, capacity: str) -> int | None:
    if capacity:
        unit = reading.attribute(element, "capacityAllocationUnits")
        return scaled(capacity, unit, where=f"{element.where}: capacity")
    size = reading.attribute(element, "size")
    if reading.dialect.is_ovirt and size:  # oVirt writes whole GiB, and the exact capacity only since 3.4
        return bounded(size, where=f"{element.where}: size", limit=1 << 30) * GIB
    reading.note("OVF_MISSING_VALUE", "the disk has no capacity: it must be taken from the image", element.where)
    return None


def _populated(reading: Reading, element: Element) -> int | None:
    """``ovf:populatedSize``: an estimate (9.1), so what cannot be read is only noted."""
    text = reading.attribute(element, "populatedSize")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        reading.note(
            "OVF_ODD_VALUE",
            f"found the populated size {quoted(text)}, expected a whole number: ignored",
            element.where,
        )
        return None
    return bounded(text, where=f"{element.where}: populatedSize")


def read_network(reading: Reading, element: Element) -> Network:
    """One Network of a NetworkSection."""
    return Network(
        name=required(reading, element, "name"),
        description=reading.child_text(element, "Description"),
    )


def read_option(reading: Reading, element: Element) -> DeploymentOption:
    """One Configuration of a DeploymentOptionSection."""
    return DeploymentOption(
        id=required(reading, element, "id"),
        label=reading.child_text(element, "Label"),
        description=reading.child_text(element, "Description"),
        default=reading.flag(element, "default", default=False),
    )


def read_product(reading: Reading, element: Element) -> Product:
    """One ProductSection with its properties."""
    prefix = reading.attribute(element, "class") or ""
    suffix = reading.attribute(element, "instance") or ""
    return Product(
        name=reading.child_text(element, "Product"),
        vendor=reading.child_text(element, "Vendor"),
        version=reading.child_text(element, "Version"),
        full_version=reading.child_text(element, "FullVersion"),
        properties=tuple(
            _read_property(reading, child, prefix, suffix) for child in reading.children(element, "Property")
        ),
    )


def _read_property(reading: Reading, element: Element, prefix: str, suffix: str) -> Property:
    """One Property; its full key is ``[class.]key[.instance]`` (9.5.1)."""
    key = required(reading, element, "key")
    kind = reading.attribute(element, "type")
    if kind is None:
        reading.note("OVF_MISSING_VALUE", f"the property {quoted(key)} has no type: taken as string", element.where)
    value = reading.raw_attribute(element, "value")
    option_values = _option_values(reading, element)
    plain = option_values.pop("", None)
    return Property(
        key=".".join(part for part in (prefix, key, suffix) if part),
        type=kind or "string",
        qualifiers=_qualifiers(reading, element),
        value=plain if value is None else value,
        option_values=option_values,
        user_configurable=reading.flag(element, "userConfigurable", default=False),
        password=_is_password(reading, element, kind or ""),
        label=reading.child_text(element, "Label"),
        description=reading.child_text(element, "Description"),
    )


def _option_values(reading: Reading, element: Element) -> dict[str, str]:
    """Values of the ``Value`` children by deployment option, the empty option for those without."""
    return {
        reading.attribute(child, "configuration") or "": reading.raw_attribute(child, "value") or ""
        for child in reading.children(element, "Value")
    }


def _qualifiers(reading: Reading, element: Element) -> str:
    """OVF's own, and VMware's behind them."""
    both = (reading.attribute(element, "qualifiers"), element.attributes.get((VMW, "qualifiers")))
    return " ".join(text for text in both if text)


def _is_password(reading: Reading, element: Element, kind: str) -> bool:
    """``ovf:password``, vCenter's ``ovf:isPassword``, or a type of vSphere's own. Doubt hides the value."""
    said = [text for name in ("password", "isPassword") if (text := reading.attribute(element, name))]
    return kind.strip().lower().startswith("password") or any(text.lower() not in {"false", "0"} for text in said)


def read_startup(reading: Reading, element: Element) -> tuple[StartupItem, ...]:
    """The items of the StartupSections directly in `element`."""
    return tuple(_read_startup_item(reading, item) for item in reading.inside(element, "StartupSection", "Item"))


def _read_startup_item(reading: Reading, element: Element) -> StartupItem:
    return StartupItem(
        system_id=required(reading, element, "id"),
        order=reading.count(element, "order") or 0,
        start_delay=reading.count(element, "startDelay", limit=MAX_DELAY_SECONDS) or 0,
        stop_delay=reading.count(element, "stopDelay", limit=MAX_DELAY_SECONDS) or 0,
        wait_for_guest=reading.flag(element, "waitingForGuest", default=False),
        start_action=_action(reading, element, "startAction", ("powerOn", "none")),
        stop_action=_action(reading, element, "stopAction", ("powerOff", "guestShutdown", "none")),
    )


def _action(reading: Reading, element: Element, name: str, words: Sequence[str]) -> str:
    """One of `words`, the first where nothing is said. Others occur (``suspend``), and are noted and taken as it."""
    said = reading.attribute(element, name) or words[0]
    if word := next((word for word in words if word.lower() == said.lower()), ""):
        return word
    reading.note("OVF_ODD_VALUE", f"found the {name} {quoted(said)}: taken as {words[0]}", element.where)
    return words[0]


def read_os(reading: Reading, element: Element) -> OperatingSystem:
    """An OperatingSystemSection. A vendor's own word is exact where CIM's number is ambiguous."""
    description = reading.child_text(element, "Description")
    vbox = next((c.text.strip() for c in element.children if (c.namespace, c.name) == (VBOX, "OSType")), "")
    word = element.attributes.get((VMW, "osType")) or reading.attribute(element, "osType") or vbox
    return OperatingSystem(
        id=_os_id(reading, element),
        type=(word or (description if reading.dialect.is_ovirt else "")).strip(),
        description=description,
        version=reading.attribute(element, "version") or "",
    )


def _os_id(reading: Reading, element: Element) -> int | None:
    """CIM_OperatingSystem.OSType. oVirt writes the machine's UUID there, and its own number as ``ovirt:id``."""
    text = element.attributes.get((OVIRT, "id")) if reading.dialect.is_ovirt else reading.attribute(element, "id")
    if text and text.isascii() and text.isdigit() and len(text) <= 5:  # noqa: PLR2004 - uint16
        return int(text)
    if text:
        message = f"found the operating system id {quoted(text)}, expected a number: ignored"
        reading.note("OVF_ODD_VALUE", message, element.where, Severity.INFO)
    return None


def required(reading: Reading, element: Element, name: str) -> str:
    """An OVF attribute that must be there and not be empty (``E_OVF_VALUE``)."""
    value = reading.attribute(element, name)
    if not value:
        raise bad_value(f"{quoted(element.name)} has no attribute '{name}', expected one", element.where)
    return value
