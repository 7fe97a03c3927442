"""Ids and what refers to them (`E_OVF_REF`).

An id names one thing; a reference names something that is there. A package that breaks this could mean either of two
machines, so it is refused, except where a product is known to break the rule harmlessly; then it is a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from virt_ova.ovf.envelope import (
    Disk,
    Envelope,
    File,
    Item,
    StartupItem,
    VirtualHardware,
    VirtualSystem,
    VirtualSystemCollection,
)
from virt_ova.ovf.hardware import HostKind, disk_ids, host_reference
from virt_ova.ovf.reading import Reading, bad_reference
from virt_ova.text import quoted


def walk(
    content: Iterable[VirtualSystem | VirtualSystemCollection],
) -> Iterator[VirtualSystem | VirtualSystemCollection]:
    """Every system and collection, outer before inner, in document order."""
    for entity in content:
        yield entity
        if isinstance(entity, VirtualSystemCollection):
            yield from walk(entity.content)


def unique_files(reading: Reading, files: Iterable[File]) -> tuple[File, ...]:
    """The files without exact repetitions, which oVirt's uploader wrote.

    Raises:
        DescriptorError: two different files have one id.
    """
    where = "Envelope/References"
    found: dict[str, File] = {}
    for file in files:
        earlier = found.setdefault(file.id, file)
        if earlier is not file and earlier != file:
            raise bad_reference(f"two files have the id {quoted(file.id)}, expected one", where)
        if earlier is not file:
            reading.note("OVF_DUPLICATE", f"the file {quoted(file.id)} is listed twice", where)
    return tuple(found.values())


def check(reading: Reading, envelope: Envelope) -> None:
    """Check all ids and references of `envelope`.

    Raises:
        DescriptorError: one is missing or ambiguous (``E_OVF_REF``).
    """
    _check_disks(envelope)
    _unique((network.name for network in envelope.networks), "networks", "Envelope/NetworkSection")
    _unique((option.id for option in envelope.deployment_options), "options", "Envelope/DeploymentOptionSection")
    entities = tuple(walk(envelope.content))
    ids = _entity_ids(reading, entities)
    _check_startup(reading, envelope.startup, ids, "Envelope")
    names = _Names(envelope)
    for entity in entities:
        if isinstance(entity, VirtualSystemCollection):
            _check_startup(reading, entity.startup, ids, entity.where)
            continue
        for hardware in entity.hardware:
            _check_hardware(reading, names, hardware)


def _unique(ids: Iterable[str], what: str, where: str) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise bad_reference(f"two {what} have the id {quoted(name)}, expected one", where)
        seen.add(name)


def _entity_ids(
    reading: Reading,
    entities: Iterable[VirtualSystem | VirtualSystemCollection],
) -> set[str]:
    """Ids of the systems and collections. VMware exported vApps with two systems of one id: nothing refers to them."""
    ids: set[str] = set()
    for entity in entities:
        if entity.id in ids:
            reading.note("OVF_DUPLICATE", f"two systems have the id {quoted(entity.id)}", entity.where)
        ids.add(entity.id)
        keys: set[str] = set()
        for prop in (prop for product in entity.products for prop in product.properties):
            if prop.key in keys:
                reading.note("OVF_DUPLICATE", f"the property {quoted(prop.key)} is there twice", entity.where)
            keys.add(prop.key)
    return ids


def _check_disks(envelope: Envelope) -> None:
    where = "Envelope/DiskSection"
    _unique((disk.id for disk in envelope.disks), "disks", where)
    disks = {disk.id: disk for disk in envelope.disks}
    files = {file.id for file in envelope.files}
    users: dict[str, list[Disk]] = {}
    usage = _usage(envelope)
    for disk in envelope.disks:
        if disk.file_ref and disk.file_ref not in files:
            message = f"the disk {quoted(disk.id)} refers to the file {quoted(disk.file_ref)}, which is not listed"
            raise bad_reference(message, where)
        if disk.file_ref:
            _check_shared_file(disk, users.setdefault(disk.file_ref, []), usage, where)
        _check_parents(disk, disks, where)


def _check_shared_file(disk: Disk, others: list[Disk], usage: Mapping[str, set[str]], where: str) -> None:
    """Two disks may be in one file only when no configuration has both (a small and a large variant)."""
    for other in others:
        mine, theirs = usage.get(disk.id, {""}), usage.get(other.id, {""})
        if "" in mine | theirs or mine & theirs:
            pair = f"{quoted(other.id)} and {quoted(disk.id)}"
            raise bad_reference(f"the disks {pair} are both in the file {quoted(disk.file_ref)}", where)
    others.append(disk)


def _usage(envelope: Envelope) -> dict[str, set[str]]:
    """The configurations in which each disk is used, the empty one for all; unused disks are left out."""
    usage: dict[str, set[str]] = {}
    for entity in walk(envelope.content):
        for hardware in entity.hardware if isinstance(entity, VirtualSystem) else ():
            for item in hardware.items:
                for disk_id in disk_ids((item,)):
                    usage.setdefault(disk_id, set()).update(item.configurations or ("",))
    return usage


def _check_parents(disk: Disk, disks: Mapping[str, Disk], where: str) -> None:
    seen = {disk.id}
    current = disk
    while current.parent_ref:
        if current.parent_ref not in disks:
            message = f"the disk {quoted(current.id)} has the parent {quoted(current.parent_ref)}, which is not there"
            raise bad_reference(message, where)
        current = disks[current.parent_ref]
        if current.id in seen:
            raise bad_reference(f"the disk {quoted(disk.id)} is its own ancestor", where)
        seen.add(current.id)


def _check_startup(reading: Reading, startup: Iterable[StartupItem], ids: set[str], where: str) -> None:
    for item in startup:
        if item.system_id not in ids:
            reading.note("OVF_REF", f"the start order names {quoted(item.system_id)}, which is not there", where)


class _Names:
    """What items may refer to."""

    def __init__(self, envelope: Envelope) -> None:
        self.by_kind = {
            HostKind.DISK: {disk.id for disk in envelope.disks},
            HostKind.FILE: {file.id for file in envelope.files},
        }
        self.networks = {network.name for network in envelope.networks}
        self.options = {option.id for option in envelope.deployment_options}


def _check_hardware(reading: Reading, names: _Names, hardware: VirtualHardware) -> None:
    by_id: dict[str, list[Item]] = {}
    for item in hardware.items:
        by_id.setdefault(item.instance_id, []).append(item)
    for instance_id, items in by_id.items():
        if instance_id:
            _check_same_id(reading, items)
    parents = {item.instance_id: item.parent for item in hardware.items}
    for item in hardware.items:
        _check_item(reading, names, item)
        _check_item_parents(item, parents)


def _check_same_id(reading: Reading, items: list[Item]) -> None:
    """Items may share an InstanceID when at most one of them is in a configuration, range markers apart (9.8).

    One without configuration is the default that others override. When two claim the same configuration (SugarCRM's
    appliance), they must at least be of one kind; `virt_ova.ovf.hardware` takes the more specific. oVirt and virt-v2v
    write one placeholder for all.
    """
    for one, other in combinations(items, 2):
        is_override = bool(one.configurations) != bool(other.configurations)
        shared = set(one.configurations) & set(other.configurations)
        is_clash = bool(shared) or not (one.configurations or other.configurations)
        if one.bound != other.bound or is_override or not is_clash:
            continue
        same_kind = bool(shared) and one.resource_type == other.resource_type
        if not same_kind and not reading.dialect.is_ovirt:
            raise bad_reference(f"two items have the InstanceID {quoted(one.instance_id)}, expected one", other.where)
        reading.note("OVF_DUPLICATE", f"two items have the InstanceID {quoted(one.instance_id)}", other.where)


def _check_item(reading: Reading, names: _Names, item: Item) -> None:
    for option in item.configurations:
        if option not in names.options:
            reading.note("OVF_REF", f"the item is for the unknown configuration {quoted(option)}", item.where)
    for text in item.host_resources:
        reference = host_reference(text)
        if reference and reference.id not in names.by_kind[reference.kind]:
            message = f"the item refers to the {reference.kind} {quoted(reference.id)}, which is not listed"
            raise bad_reference(message, item.where)
    for network in item.connections:
        if network not in names.networks:
            message = f"the network {quoted(network)} is not in the NetworkSection"
            reading.note("OVF_REF", message, item.where)


def _check_item_parents(item: Item, parents: Mapping[str, str]) -> None:
    seen = {item.instance_id}
    parent = item.parent
    while parent:
        if parent not in parents:
            raise bad_reference(f"the item has the parent {quoted(parent)}, which is not there", item.where)
        if parent in seen:
            raise bad_reference(f"the item with the InstanceID {quoted(parent)} is its own ancestor", item.where)
        seen.add(parent)
        parent = parents[parent]
