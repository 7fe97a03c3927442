"""Ids and what refers to them (`E_OVF_REF`).

An id names one thing; a reference names something that is there. A package that breaks this could mean either of two
machines, so it is refused, except where a product is known to break the rule harmlessly; then it is a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

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
from virt_ova.ovf.hardware import HostKind, disk_ids, effective_items, host_reference, nics
from virt_ova.ovf.reading import Reading, bad_reference
from virt_ova.text import quoted

_VARIABLES_SUFFIX: Final = ".nvram"


def walk(
    content: Iterable[VirtualSystem | VirtualSystemCollection],
) -> Iterator[VirtualSystem | VirtualSystemCollection]:
    """Every system and collection, outer before inner, in document order."""
    for entity in content:
        yield entity
        if isinstance(entity, VirtualSystemCollection):
            yield from walk(entity.content)


def systems_of(envelope: Envelope) -> Iterator[VirtualSystem]:
    """Every system, in document order, however deep."""
    return (entity for entity in walk(envelope.content) if isinstance(entity, VirtualSystem))


def is_single(envelope: Envelope) -> bool:
    """Whether it is of one system, in no collection."""
    return len(envelope.content) == 1 and isinstance(envelope.content[0], VirtualSystem)


def drive_files(envelope: Envelope) -> frozenset[str]:
    """Ids of the files that fill a drive by themselves, without a Disk: CDs and floppies."""
    items = (item for system in systems_of(envelope) for hardware in system.hardware for item in hardware.items)
    references = (host_reference(text) for item in items for text in item.host_resources)
    return frozenset(ref.id for ref in references if ref and ref.kind is HostKind.FILE)


def disk_files(envelope: Envelope, option: str | None) -> frozenset[str]:
    """Ids of the files that disks are made from under a deployment option, None for the default.

    Disks that need not be there are left out, and those of systems with several hardware sections: which one is taken
    is decided elsewhere.
    """
    sections = (system.hardware[0] for system in systems_of(envelope) if len(system.hardware) == 1)
    items = (item for section in sections for item in effective_items(envelope, section, option) if item.required)
    disks = set(disk_ids(items))
    return frozenset(disk.file_ref for disk in envelope.disks if disk.id in disks) - {""}


def variables_file(envelope: Envelope, hardware: VirtualHardware) -> str:
    """Id of the file with the variables of the firmware of `hardware`; empty when there is none.

    VMware names it in ``vmw:ExtraConfig``; without that it is the only ``.nvram`` of a package with one system.
    """
    if stated := hardware.extra_config.get("nvram", ""):
        reference = host_reference(stated)
        return reference.id if reference and reference.kind is HostKind.FILE else ""
    named = [file.id for file in envelope.files if file.href.lower().endswith(_VARIABLES_SUFFIX)]
    return named[0] if len(named) == len(tuple(systems_of(envelope))) == 1 else ""


def variables_files(envelope: Envelope) -> frozenset[str]:
    """Ids of the files that `variables_file` finds for any hardware."""
    sections = (section for system in systems_of(envelope) for section in system.hardware)
    return frozenset(variables_file(envelope, section) for section in sections) - {""}


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
    files = {file.id for file in envelope.files}
    usage = _usage(envelope)
    users: dict[str, dict[str, str]] = {}
    parents = {disk.id: disk.parent_ref for disk in envelope.disks}
    sound: set[str] = set()
    for disk in envelope.disks:
        if disk.file_ref and disk.file_ref not in files:
            message = f"the disk {quoted(disk.id)} refers to the file {quoted(disk.file_ref)}, which is not listed"
            raise bad_reference(message, where)
        if disk.file_ref:
            _check_shared_file(disk, users.setdefault(disk.file_ref, {}), usage.get(disk.id, {""}), where)
        _check_ancestors(disk.id, parents, sound, f"the disk {quoted(disk.id)}", where)


def _check_shared_file(disk: Disk, users: dict[str, str], configurations: set[str], where: str) -> None:
    """Two disks may be in one file only when no configuration has both (a small and a large variant).

    `users` gives the disk that is in the file by configuration, the empty one for all.
    """
    is_clash = users and ("" in configurations or "" in users or not configurations.isdisjoint(users))
    if is_clash:
        other = next((users[name] for name in sorted(configurations) if name in users), next(iter(users.values())))
        pair = f"{quoted(other)} and {quoted(disk.id)}"
        raise bad_reference(f"the disks {pair} are both in the file {quoted(disk.file_ref)}", where)
    users.update(dict.fromkeys(configurations, disk.id))


def _check_ancestors(start: str, parents: Mapping[str, str], sound: set[str], who: str, where: str) -> None:
    """Follow `parents` up from `start`, as far as is not known to be `sound`: each must be there, and none twice."""
    seen: set[str] = set()
    current = start
    while current and current not in sound:
        if current not in parents:
            raise bad_reference(f"{who} has the parent or ancestor {quoted(current)}, which is not there", where)
        if current in seen:
            raise bad_reference(f"{who} descends from {quoted(current)}, which is its own ancestor", where)
        seen.add(current)
        current = parents[current]
    sound |= seen


def _usage(envelope: Envelope) -> dict[str, set[str]]:
    """The configurations in which each disk is used, the empty one for all; unused disks are left out."""
    usage: dict[str, set[str]] = {}
    for entity in walk(envelope.content):
        for hardware in entity.hardware if isinstance(entity, VirtualSystem) else ():
            for item in hardware.items:
                for disk_id in disk_ids((item,)):
                    usage.setdefault(disk_id, set()).update(item.configurations or ("",))
    return usage


def _check_startup(reading: Reading, startup: Iterable[StartupItem], ids: set[str], where: str) -> None:
    named: set[str] = set()
    for item in startup:
        shown_id = quoted(item.system_id)
        if item.system_id not in ids:
            reading.note("OVF_REF", f"the start order names {shown_id}, which is not there", where)
        if item.system_id in named:
            reading.note("OVF_DUPLICATE", f"the start order names {shown_id} twice: the first counts", where)
        named.add(item.system_id)


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
    sound: set[str] = set()
    for item in hardware.items:
        _check_item(reading, names, item)
        _check_ancestors(item.parent, parents, sound, "the item", item.where)


def _check_same_id(reading: Reading, items: list[Item]) -> None:
    """Items may share an InstanceID when at most one of them is in a configuration, range markers apart (9.8).

    One without configuration is the default that others override. When two claim the same configuration (SugarCRM's
    appliance), they must at least be of one kind; `virt_ova.ovf.hardware` takes the more specific. oVirt and virt-v2v
    write one placeholder for all.
    """
    takers: dict[tuple[str, str], Item] = {}
    shown_id = quoted(items[0].instance_id)
    is_noted = False
    for item in items:
        for configuration in item.configurations or ("",):
            other = takers.setdefault((item.bound, configuration), item)
            if other is item:
                continue
            same_kind = bool(configuration) and item.resource_type == other.resource_type
            if not same_kind and not reading.dialect.is_ovirt:
                raise bad_reference(f"two items have the InstanceID {shown_id}, expected one", item.where)
            if not is_noted:
                reading.note("OVF_DUPLICATE", f"several items have the InstanceID {shown_id}", item.where)
            is_noted = True


def _check_item(reading: Reading, names: _Names, item: Item) -> None:
    for option in item.configurations:
        if option not in names.options:
            reading.note("OVF_REF", f"the item is for the unknown configuration {quoted(option)}", item.where)
    for text in item.host_resources:
        reference = host_reference(text)
        if reference and reference.id not in names.by_kind[reference.kind]:
            message = f"the item refers to the {reference.kind} {quoted(reference.id)}, which is not listed"
            raise bad_reference(message, item.where)
    for network in item.connections if nics((item,)) else ():
        if network not in names.networks:
            message = f"the network {quoted(network)} is not in the NetworkSection"
            reading.note("OVF_REF", message, item.where)
