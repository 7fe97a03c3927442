"""A disk that stays in the package: the new image lies on the member, and holds only what the guest writes.

QEMU will read the package, so only a member that a reader of ours has accepted is linked, and the image names it so
that QEMU opens those bytes and no other file. What the package was like is recorded: a machine whose package changes
would see a damaged disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from virt_ova.disk.base import BlockMap, DiskFormat, DiskReader, Sink
from virt_ova.disk.copy import write_blank
from virt_ova.disk.pump import Hasher, pump, read_spans, spans_between
from virt_ova.disk.qcow2.image import BackingFile
from virt_ova.disk.qcow2.layout import MAX_BACKING_NAME_BYTES
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.vmdk.reader import VmdkReader
from virt_ova.errors import DiskError
from virt_ova.package.package import Package
from virt_ova.paths import is_text
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.source.base import Member
from virt_ova.stories.ways import Advance, Way
from virt_ova.text import quoted
from virt_ova.units import KIB, SECTOR_BYTES

_CLUSTER_BYTES: Final = 64 * KIB
_DRIVERS: Final = {
    DiskFormat.VMDK_STREAM: "vmdk",
    DiskFormat.VMDK_SPARSE: "vmdk",
    DiskFormat.QCOW2: "qcow2",
    DiskFormat.VHD: "vpc",
    DiskFormat.VHDX: "vhdx",
    DiskFormat.VDI: "vdi",
    DiskFormat.ISO: "raw",
    DiskFormat.RAW: "raw",
}
"""QEMU's drivers."""


def open_link(package: Package, member: Member, reader: DiskReader, image_format: ImageFormat) -> tuple[BlockMap, Way]:
    """Lay out an image on `member`; the image's own blocks, of which there are none, and the way to fill it.

    Args:
        package: where it comes from.
        member: the disk.
        reader: has accepted the member.
        image_format: of the new image.

    Raises:
        DiskError: it cannot be linked (``E_DISK_LINK``).
    """
    if image_format is not ImageFormat.QCOW2:
        raise _refused(member, f"the new image is {image_format}, expected qcow2", "Leave out --format.")
    digest = package.expected_digest(member)
    backing = _backing(member, reader, f"{digest.algorithm}:{digest.hex}" if digest else "")
    name = backing.qemu_name.encode()
    if len(name) > MAX_BACKING_NAME_BYTES:
        raise _refused(
            member,
            f"what names it in the image has {len(name)} bytes, expected at most {MAX_BACKING_NAME_BYTES}",
            "Move the package to a place with a shorter path.",
        )
    sized = reader if isinstance(reader, VmdkReader) else reader.block_map
    blank = BlockMap(
        capacity_bytes=sized.capacity_bytes,
        block_bytes=_CLUSTER_BYTES,
        numbers=(),
        offsets=(),
        max_stored_bytes=0,
    )
    backing_file = BackingFile(name=name, format=backing.image_format)
    writer = Qcow2Writer(blank, backing_file=backing_file)

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        """Hash the member, and write the metadata."""
        if hasher:
            pieces = read_spans(spans_between(0, member.size), member.read_at)
            pump(pieces, sink, place=lambda _: [], hasher=hasher, advance=advance, threads=0)
        write_blank(writer, sink)

    return blank, Way(
        mode=DiskMode.LINK,
        size_bytes=writer.size_bytes,
        needed_bytes=writer.size_bytes,
        fill=fill,
        backing=backing,
    )


def _backing(member: Member, reader: DiskReader, digest: str) -> Backing:
    descriptor = member.source.fileno()
    if descriptor is None:
        raise _refused(
            member,
            "its bytes are no part of a local file as they are",
            "Save the package to a local file, without compression and chunks, or use --disk-mode expand.",
        )
    end_bytes = reader.end_bytes if isinstance(reader, VmdkReader) else member.size
    status = os.fstat(descriptor)
    return Backing(
        path=_path_of(member, descriptor, status),
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        member=member.name,
        image_format=_DRIVERS[reader.format],
        offset=member.offset,
        length=-(-end_bytes // SECTOR_BYTES) * SECTOR_BYTES,
        digest=digest,
    )


def _path_of(member: Member, descriptor: int, status: os.stat_result) -> str:
    """The path of an open file, if it still leads there."""
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    try:
        is_same = os.path.samestat(path.stat(), status)
    except OSError:
        is_same = False
    if not is_same:
        raise _refused(
            member, f"{quoted(str(path))} does not lead to the open package", "Open the package by its path."
        )
    if not is_text(str(path)):
        raise _refused(
            member,
            f"the path {quoted(str(path))} has control characters or is not UTF-8",
            "Rename the package or its folder.",
        )
    return str(path)


def _refused(member: Member, reason: str, hint: str) -> DiskError:
    return DiskError(f"the disk cannot be linked: {reason}", code="E_DISK_LINK", where=member.name, hint=hint)
