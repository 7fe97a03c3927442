"""One disk of a package on its way into a new image.

Opening a placement reads the disk's tables and lays the image out, so that its size is known before the first byte is
written; writing it is one pass in which the manifest is checked over the very bytes that are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from virt_ova.disk.base import BlockMap, DiskReader, DiskWriter, Sink
from virt_ova.disk.copy import copy_disk, write_blank
from virt_ova.disk.opener import open_disk
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.errors import DiskError
from virt_ova.package.package import Package
from virt_ova.plan.plan import ImageFormat
from virt_ova.progress import Monitor
from virt_ova.source.base import Member
from virt_ova.units import MIB, format_bytes

_BLANK_BLOCK_BYTES: Final = 64 << 10
_CAPACITY_SLACK_BYTES: Final = MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """A disk that was opened, and the layout of its new image.

    Attributes:
        package: where it comes from.
        member: its file; None for a blank disk.
        reader: None for a blank disk.
        block_map: the stored blocks; none for a blank disk.
        writer: the new image's layout.
        needed_bytes: most room that the new image can take.
    """

    package: Package
    member: Member | None
    reader: DiskReader | None
    block_map: BlockMap
    writer: DiskWriter
    needed_bytes: int

    @property
    def capacity_bytes(self) -> int:
        """Size of the guest's disk."""
        return self.block_map.capacity_bytes

    def write(self, sink: Sink, *, verify: bool, monitor: Monitor) -> None:
        """Fill `sink`; check the manifest meanwhile when `verify` is set.

        Raises:
            DigestError: the bytes differ from the manifest (``E_DIGEST``).
            DiskError: the image is damaged.
            SourceError: the package cannot be read, or changed.
            TargetError: the sink cannot be written.
        """
        if self.member is None or self.reader is None:
            write_blank(self.writer, sink)
            return
        check = self.package.digest_check(self.member) if verify else None
        step = f"Copying {self.member.name}"
        monitor.begin(step, self.member.size)
        copy_disk(
            self.member,
            self.reader,
            self.writer,
            sink,
            hasher=check,
            advance=lambda done: monitor.advance(step, done),
        )
        if check:
            check.finish()
        self.package.archive.check_unchanged()
        monitor.end(step)


def open_placement(
    package: Package, member: Member | None, *, capacity_bytes: int | None, image_format: ImageFormat
) -> Placement:
    """Open a disk and lay out its image.

    Args:
        package: where it comes from.
        member: its file; None for a blank disk.
        capacity_bytes: size that the descriptor declares; None when it declares none.
        image_format: of the new image.

    Raises:
        DiskError: the image is damaged, unsafe, or its size is not the one declared (``E_DISK_CAPACITY``).
        SourceError: the member cannot be read.
    """
    reader = open_disk(member) if member else None
    block_map = reader.block_map if reader else _blank(capacity_bytes)
    if member:
        _check_capacity(member, block_map, capacity_bytes)
    writer = _writer(block_map, image_format)
    return Placement(
        package=package,
        member=member,
        reader=reader,
        block_map=block_map,
        writer=writer,
        needed_bytes=writer.size_bytes if writer.maps_blocks else len(block_map) * block_map.block_bytes,
    )


def _blank(capacity_bytes: int | None) -> BlockMap:
    if not capacity_bytes:
        raise DiskError(
            "a blank disk has no capacity, expected at least 512 bytes",
            code="E_DISK_CAPACITY",
            hint="The descriptor gives the size by a property that has no value.",
        )
    return BlockMap(
        capacity_bytes=capacity_bytes, block_bytes=_BLANK_BLOCK_BYTES, numbers=(), offsets=(), max_stored_bytes=0
    )


def _writer(block_map: BlockMap, image_format: ImageFormat) -> DiskWriter:
    match image_format:
        case ImageFormat.QCOW2:
            return Qcow2Writer(block_map)
        case ImageFormat.RAW:
            return RawWriter(block_map)
    assert_never(image_format)


def _check_capacity(member: Member, block_map: BlockMap, declared: int | None) -> None:
    """Writers round one of the two to a block or a megabyte; a larger difference is another disk."""
    found = block_map.capacity_bytes
    if declared is not None and abs(found - declared) > max(block_map.block_bytes, _CAPACITY_SLACK_BYTES):
        raise DiskError(
            f"the image holds a disk of {found} bytes ({format_bytes(found)}), "
            f"expected {declared} bytes ({format_bytes(declared)}) as the descriptor declares",
            code="E_DISK_CAPACITY",
            where=member.name,
            hint="The descriptor belongs to another disk, or was edited by hand: correct its ovf:capacity.",
        )
