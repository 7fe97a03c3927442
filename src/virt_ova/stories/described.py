"""The descriptor of a package, as a hypervisor is to read it that makes machines out of descriptors."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from virt_ova.disk.opener import open_disk
from virt_ova.errors import SourceError
from virt_ova.ovf.edit import as_sent
from virt_ova.ovf.envelope import File, VirtualSystem
from virt_ova.ovf.writer import write_envelope
from virt_ova.ovf.xml import decode
from virt_ova.package.descriptor import is_vmx
from virt_ova.package.package import Package, PackageDisk
from virt_ova.source.pipe import SAVE_FIRST
from virt_ova.text import printable


def described(package: Package) -> str:
    """The text of the descriptor; that of a VMX is written, with what only its disks tell.

    Raises:
        SourceError: it is a VMX out of a pipe, whose disks have not come yet (``E_PIPE_ORDER``).
        DiskError: a disk of a VMX is damaged, or cannot be read.
    """
    if not is_vmx(package.descriptor_member):
        return as_sent(decode(package.descriptor))
    if package.archive.rest is not None:
        raise SourceError(
            "the sizes of the disks of a .vmx stand in the disks, and must be known before the first one comes",
            code="E_PIPE_ORDER",
            where=printable(package.name),
            hint=SAVE_FIRST,
        )
    sizes = {file.id: file.size for file in package.files}
    capacities = {disk.id: _capacity_of(disk) for disk in package.disks}
    envelope = replace(
        package.envelope,
        files=tuple(_sized(file, sizes.get(file.id)) for file in package.envelope.files),
        disks=tuple(replace(disk, capacity_bytes=capacities[disk.id]) for disk in package.envelope.disks),
    )
    return write_envelope(envelope, cast("VirtualSystem", envelope.content[0]))


def _capacity_of(disk: PackageDisk) -> int:
    return open_disk(disk.require_member()).block_map.capacity_bytes


def _sized(file: File, size: int | None) -> File:
    return replace(file, size_bytes=size)
