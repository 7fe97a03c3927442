"""VirtualHardwareSection and its items (DSP0243 8).

An item's fields are CIM setting data. OVF 0.9 has the same under older names (``InstanceId``, ``Caption``,
``BusNumber``); OVF 2 puts disks and network cards in items of their own kind; oVirt has its own fields and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from virt_ova.ovf.envelope import Item, ResourceType, VirtualHardware
from virt_ova.ovf.names import VMW
from virt_ova.ovf.reading import Reading, bad_value, bounded, scaled, vendor_config, words
from virt_ova.ovf.xml import Element
from virt_ova.text import quoted
from virt_ova.units import MIB

MAX_CPUS: Final = 4096
"""Most processors of one machine; no hypervisor has more."""

MAX_MEMORY_BYTES: Final = 1 << 47
"""Most memory of one machine: 128 TiB."""

MAX_RESOURCE_TYPE: Final = 65_535
"""uint16 in CIM; from 32768 on they are the vendors'."""

_LEAST_BYTES = 1 << 22
"""A memory quantity without unit from here on is taken as bytes, below as MiB."""

_ITEMS = frozenset({"Item", "StorageItem", "EthernetPortItem"})
_KNOWN_CHILDREN = frozenset({"Info", "System", "BootDeviceSection", *_ITEMS})
_BOUNDS = frozenset({"", "min", "max", "normal"})
_NO_PARENT = frozenset({"00000000-0000-0000-0000-000000000000"})
_OVIRT_NICS = {"0": "virtio", "1": "rtl8139", "2": "e1000", "3": "virtio", "5": "sriov", "6": "e1000e"}
"""oVirt's VmInterfaceType; 0 was rtl8139 and virtio at once."""

_OVIRT_MONITOR = 20

_ALIASES = {"InstanceId": "InstanceID", "Caption": "ElementName", "BusNumber": "Address"}
"""Older names; the newer one wins where both stand (OVF 1.x has Caption, too)."""


def read_hardware(reading: Reading, element: Element, host_paths: Mapping[str, str]) -> VirtualHardware:
    """One VirtualHardwareSection. `host_paths` gives the disk id of each oVirt image path."""
    types: list[str] = []
    items: list[Item] = []
    for name, child in reading.sections(element):
        if name == "System":
            types += [word for text in _fields(reading, child).get("VirtualSystemType", ()) for word in words(text)]
        elif name in _ITEMS:
            items += _read_item(reading, child, host_paths)
        elif name and name not in _KNOWN_CHILDREN:
            reading.unknown(child)
    return VirtualHardware(
        system_types=tuple(types),
        transports=tuple((reading.attribute(element, "transport") or "").split()),
        items=tuple(items),
        config=vendor_config(element, "Config"),
        extra_config=vendor_config(element, "ExtraConfig"),
    )


def _fields(reading: Reading, element: Element) -> dict[str, list[str]]:
    """Texts of the setting data fields by their newer name, in order, blank ones left out.

    Raises:
        DescriptorError: a field that can be there once is there with two values (``E_OVF_VALUE``).
    """
    found: dict[str, list[str]] = {}
    for child in element.children:
        if reading.dialect.is_setting(child) and (text := reading.text(child)):
            found.setdefault(child.name, []).append(text)
    for old, new in _ALIASES.items():
        if old in found:
            found.setdefault(new, found[old])
    return found


class _Fields:
    """The fields of one item."""

    def __init__(self, reading: Reading, element: Element) -> None:
        self.where = element.where
        self._texts = _fields(reading, element)

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self._texts.get(name, ()))

    def one(self, name: str) -> str:
        """The only value of a field, empty when absent; two different ones are ambiguous, hence an error."""
        values = self._texts.get(name, [""])
        if any(value != values[0] for value in values):
            raise bad_value(
                f"found {name} twice, as {quoted(values[0])} and {quoted(values[-1])}, expected it once",
                self.where,
            )
        return values[0]


def _read_item(reading: Reading, element: Element, host_paths: Mapping[str, str]) -> tuple[Item, ...]:
    """The item, or nothing when it is optional and cannot be told what it is."""
    fields = _Fields(reading, element)
    is_required = reading.flag(element, "required", default=True)
    if not (type_text := fields.one("ResourceType")):
        if is_required:
            raise bad_value("the item has no ResourceType, expected a number", fields.where)
        reading.note("OVF_MISSING_VALUE", "an optional item has no ResourceType: ignored", fields.where)
        return ()
    resource_type = bounded(type_text, where=f"{fields.where}: ResourceType", limit=MAX_RESOURCE_TYPE)
    bound = (reading.attribute(element, "bound") or "").lower()
    if bound not in _BOUNDS:
        raise bad_value(f"found the bound {quoted(bound)}, expected min, max or normal", fields.where)
    parent = fields.one("Parent")
    return (
        Item(
            instance_id=_instance_id(reading, fields),
            resource_type=_resource_type(reading, resource_type),
            subtypes=_subtypes(reading, fields, resource_type),
            element_name=fields.one("ElementName"),
            quantity=_quantity(reading, fields, resource_type, bound),
            parent="" if parent in _NO_PARENT else parent,
            address=fields.one("Address") or fields.one("MACAddress"),
            address_on_parent=fields.one("AddressOnParent"),
            host_resources=_host_resources(reading, fields, host_paths),
            connections=fields.all("Connection"),
            automatic_allocation=_automatic_allocation(reading, fields),
            required=is_required,
            configurations=words(reading.attribute(element, "configuration") or ""),
            bound=bound,
            cores_per_socket=_cores_per_socket(reading, element, fields),
            config=vendor_config(element, "Config"),
            where=fields.where,
        ),
    )


def _instance_id(reading: Reading, fields: _Fields) -> str:
    instance_id = fields.one("InstanceID")
    if not instance_id:
        reading.note("OVF_MISSING_VALUE", "the item has no InstanceID: nothing can refer to it", fields.where)
    return instance_id


def _resource_type(reading: Reading, resource_type: int) -> int:
    """The number; oVirt gives monitors 20, which is "other storage" (SATA, NVMe) everywhere else."""
    if reading.dialect.is_ovirt and resource_type == _OVIRT_MONITOR:
        return ResourceType.GRAPHICS
    return resource_type


def _subtypes(reading: Reading, fields: _Fields, resource_type: int) -> tuple[str, ...]:
    subtypes = words(fields.one("ResourceSubType").lower())
    if reading.dialect.is_ovirt and resource_type == ResourceType.ETHERNET:
        return tuple(_OVIRT_NICS.get(subtype, subtype) for subtype in subtypes)
    return subtypes


def _quantity(reading: Reading, fields: _Fields, resource_type: int, bound: str) -> int | None:
    """VirtualQuantity: a count, or bytes for memory. One of zero, or beyond any machine, is an error."""
    where = f"{fields.where}: VirtualQuantity"
    if reading.dialect.is_ovirt and resource_type == ResourceType.PROCESSOR:
        return _ovirt_cpus(fields)
    text = fields.one("VirtualQuantity")
    if resource_type not in {ResourceType.PROCESSOR, ResourceType.MEMORY}:
        return bounded(text, where=where) if text else None
    if not text:
        if bound in {"", "normal"}:
            kind = "processor" if resource_type == ResourceType.PROCESSOR else "memory"
            reading.note("OVF_MISSING_VALUE", f"the {kind} item has no VirtualQuantity", fields.where)
        return None
    if resource_type == ResourceType.PROCESSOR:
        quantity = bounded(text, where=where, limit=MAX_CPUS)
    else:
        quantity = _memory_bytes(reading, fields, text, where)
    if not quantity and bound != "min":
        raise bad_value("found 0, expected at least 1", where)
    return quantity


def _memory_bytes(reading: Reading, fields: _Fields, text: str, where: str) -> int:
    """Memory in bytes. Without a unit CIM means bytes, but who leaves it out means MiB (SugarCRM's appliance)."""
    unit = fields.one("AllocationUnits")
    if unit:
        return scaled(text, unit, where=where, limit=MAX_MEMORY_BYTES)
    quantity = bounded(text, where=where, limit=MAX_MEMORY_BYTES)
    is_bytes = quantity >= _LEAST_BYTES
    reading.note(
        "OVF_MISSING_VALUE",
        f"the memory of {quantity} has no unit: taken as {'bytes' if is_bytes else 'MiB'}",
        fields.where,
    )
    return quantity if is_bytes else quantity * MIB


def _ovirt_cpus(fields: _Fields) -> int | None:
    """Processors of oVirt's topology: its sockets, cores and threads are multiplied."""
    parts = [fields.one(name) for name in ("num_of_sockets", "cpu_per_socket", "threads_per_cpu")]
    total = 1
    for part in parts:
        total *= bounded(part, where=fields.where, limit=MAX_CPUS) if part else 1
    if not 1 <= total <= MAX_CPUS:
        raise bad_value(f"found {total} processors, expected 1 to {MAX_CPUS}", fields.where)
    return total


def _host_resources(reading: Reading, fields: _Fields, host_paths: Mapping[str, str]) -> tuple[str, ...]:
    resources = fields.all("HostResource")
    if not reading.dialect.is_ovirt:
        return resources
    return tuple(f"ovf:/disk/{host_paths[text]}" if text in host_paths else text for text in resources)


def _automatic_allocation(reading: Reading, fields: _Fields) -> bool | None:
    text = fields.one("AutomaticAllocation")
    return reading.boolean(text, where=f"{fields.where}: AutomaticAllocation") if text else None


def _cores_per_socket(reading: Reading, element: Element, fields: _Fields) -> int | None:
    text = next(
        (child.text.strip() for child in element.children if (child.namespace, child.name) == (VMW, "CoresPerSocket")),
        fields.one("cpu_per_socket") if reading.dialect.is_ovirt else "",
    )
    return bounded(text, where=f"{fields.where}: CoresPerSocket", limit=MAX_CPUS) if text else None
