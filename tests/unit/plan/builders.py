"""Envelopes, machines and plans made of few words, for the tests of the plan layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from lxml import etree

from virt_ova.ovf.envelope import (
    Disk,
    Envelope,
    Item,
    OperatingSystem,
    ResourceType,
    VirtualHardware,
    VirtualSystem,
    VirtualSystemCollection,
)
from virt_ova.plan.from_ovf import make_plan
from virt_ova.plan.guest import Guest
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import DiskSource, VolumeSource
from virt_ova.plan.machine import Connection, ConnectionKind, Cpus, Firmware, Machine
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import Decision, InstallPlan, PackageIdentity
from virt_ova.units import GIB

IDENTITY: Final = PackageIdentity(name="test.ova", descriptor_sha256="0" * 64)
HOST: Final = HostCapabilities(virt_types=("kvm", "qemu"), secure_boot=True, tpm=True)
USER: Final = Connection(kind=ConnectionKind.USER)
EFI: Final = {"firmware": "efi"}
SECURE: Final = {"firmware": "efi", "bootOptions.efiSecureBootEnabled": "true"}

_DOMAIN_SCHEMA = "/usr/share/libvirt/schemas/domain.rng"


def item(kind: ResourceType | int, id: str = "", **values: object) -> Item:  # noqa: A002 - OVF's word
    """An item; `subtypes` may be one word, `disk` and `file` make a HostResource."""
    fields = dict(values)
    if isinstance(subtypes := fields.get("subtypes"), str):
        fields["subtypes"] = tuple(subtypes.split())
    for word in ("disk", "file"):
        if name := fields.pop(word, None):
            fields["host_resources"] = (f"ovf:/{word}/{name}",)
    fields.setdefault("where", f"Item {id}")
    return Item(instance_id=id, resource_type=int(kind), **fields)  # type: ignore[arg-type]  # values are the test's


def system(
    *items: Item, config: Mapping[str, str] | None = None, os: str = "", os_id: int | None = None, **values: object
) -> VirtualSystem:
    """A system with one hardware section of `items`."""
    hardware = VirtualHardware(system_types=("vmx-13",), items=items, config=config or {})
    values.setdefault("id", "vm")
    return VirtualSystem(os=OperatingSystem(id=os_id, type=os), hardware=(hardware,), **values)  # type: ignore[arg-type]


def envelope(
    *content: VirtualSystem | VirtualSystemCollection,
    disks: Sequence[str | Disk] = ("d1", "d2", "d3"),
    **values: object,
) -> Envelope:
    """An envelope; a disk that is only named has 1 GiB and a file."""
    listed = tuple(
        Disk(id=disk, file_ref=f"{disk}-file", capacity_bytes=GIB) if isinstance(disk, str) else disk for disk in disks
    )
    return Envelope(ovf_version="1.1", namespace="", content=content, disks=listed, **values)  # type: ignore[arg-type]


def _parents(descriptor: Envelope, disk: Disk) -> tuple[str, ...]:
    """Members of the disks that `disk` lies on."""
    parent = next((each for each in descriptor.disks if each.id == disk.parent_ref), None)
    if parent is None:
        return ()
    return (f"{parent.id}.vmdk" if parent.file_ref else "", *_parents(descriptor, parent))


def sources_of(descriptor: Envelope) -> dict[str, DiskSource]:
    """What a package would say of the descriptor's disks."""
    return {
        disk.id: DiskSource(
            id=disk.id,
            member=f"{disk.id}.vmdk" if disk.file_ref else "",
            file_format="vmdk-stream" if disk.file_ref else "",
            capacity_bytes=disk.capacity_bytes or 0,
            file_size=1000 if disk.file_ref else 0,
            file_offset=512 * number,
            parents=_parents(descriptor, disk),
        )
        for number, disk in enumerate(descriptor.disks, start=1)
    }


def plan_of(
    descriptor: Envelope | VirtualSystem,
    *,
    host: HostCapabilities = HOST,
    options: InstallOptions | None = None,
    disks: Mapping[str, DiskSource] | None = None,
    files: Mapping[str, DiskSource] | None = None,
    guests: Mapping[OperatingSystem, Guest] | None = None,
) -> InstallPlan:
    """The plan for a descriptor, or for a system in an envelope of its own."""
    whole = envelope(descriptor) if isinstance(descriptor, VirtualSystem) else descriptor
    return make_plan(
        whole,
        identity=IDENTITY,
        disks=sources_of(whole) if disks is None else disks,
        files=files or {},
        host=host,
        options=options or InstallOptions(),
        guests=guests or {},
    )


def machine_of(*items: Item, host: HostCapabilities = HOST, **values: object) -> Machine:
    """The machine planned for a system of `items`."""
    return plan_of(system(*items, **values), host=host).machines[0]  # type: ignore[arg-type]


def decisions_of(plan: InstallPlan, piece: str) -> list[Decision]:
    """Decisions about pieces whose label begins with `piece`."""
    return [decision for decision in plan.decisions if decision.item.startswith(piece)]


def machine(**values: object) -> Machine:
    """A small BIOS machine; `values` replace its fields."""
    fields: dict[str, object] = {
        "name": "web",
        "cpus": Cpus(count=1),
        "memory_bytes": GIB,
        "firmware": Firmware(),
        "virt_type": "qemu",
    }
    return Machine(**(fields | values))  # type: ignore[arg-type]  # values are the test's


def volume(name: str = "web-disk1", image_format: str = "qcow2") -> VolumeSource:
    """An image in the default place."""
    return VolumeSource(image_format=image_format, path=f"/var/lib/images/{name}.{image_format}")


@cache
def _schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(_DOMAIN_SCHEMA))


def schema_error(xml: str) -> str:
    """Why libvirt's schema refuses `xml`; empty when it does not."""
    schema = _schema()
    return "" if schema.validate(etree.fromstring(xml)) else str(schema.error_log)
