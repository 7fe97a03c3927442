"""Disks whose file is gzip'd as a whole: what they are, and how to read them, once, from front to back.

Such a disk can only be read in order, and its size is only known for certain at its end. A VMDK says in its header how
large its disk is; of a raw image, CD or floppy the whole is inflated once to measure it, unless the size that the
package declares agrees with the one that the gzip file ends with (RFC 1952 2.3.1, ISIZE).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from virt_ova.disk.base import BlockMap, DiskFormat
from virt_ova.disk.forward import ForwardDisk, open_forward
from virt_ova.disk.probe import HEAD_BYTES, judge
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.source.gzipped import GzipReader, MemberReader
from virt_ova.text import printable
from virt_ova.units import GIB, MIB

MAX_UNDECLARED_BYTES: Final = 16 * GIB
"""Most that an image may inflate to whose size the package does not declare: a CD or floppy, mostly."""

SLACK_BYTES: Final = MIB
"""How far an image may go beyond the declared size, which some writers round."""

_SIZE_BYTES: Final = 4
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class GzippedDisk:
    """A disk in a gzip'd member.

    Attributes:
        member: the gzip file.
        format: what it holds.
        block_map: capacity and block size; which blocks are stored is not known yet, except of a raw image.
        inflated_bytes: how long a raw image is; more than a VMDK of that capacity can be.
    """

    member: Member
    format: DiskFormat
    block_map: BlockMap
    inflated_bytes: int

    def open(self, taken: Callable[[bytes], None] = lambda _: None) -> ForwardDisk:
        """The disk at its first byte; `taken` is told of the stored bytes as they are read.

        Raises:
            DiskError: as `open_forward`, and ``E_DISK_COMPRESSION``.
            SourceError: the member cannot be read.
        """
        return _open(self.member, self.inflated_bytes, taken)


def probe_gzipped(member: Member) -> DiskFormat:
    """What the image in the gzip file `member` is, by its head.

    Raises:
        DiskError: as `virt_ova.disk.probe.probe`, and ``E_DISK_COMPRESSION``.
        SourceError: the member cannot be read.
    """
    return judge(GzipReader(MemberReader(member)).read(HEAD_BYTES), b"", where=printable(member.name))


def examine_gzipped(member: Member, *, declared_bytes: int | None) -> GzippedDisk:
    """Find out what the gzip file `member` holds, and how large the disk is.

    Args:
        member: the gzip file.
        declared_bytes: capacity that the package declares; None when it declares none.

    Raises:
        DiskError: the image is unsafe, of a kind that must be read in places (``E_DISK_FORWARD``), or its file is no
            sound gzip file or larger than declared (``E_DISK_COMPRESSION``).
        SourceError: the member cannot be read.
    """
    disk_format = probe_gzipped(member)
    if disk_format in {DiskFormat.RAW, DiskFormat.ISO}:
        size = _raw_bytes(member, declared_bytes)
        return GzippedDisk(
            member=member, format=disk_format, block_map=_open(member, size).block_map, inflated_bytes=size
        )
    block_map = _open(member, HEAD_BYTES + _READ_BYTES).block_map
    most = block_map.capacity_bytes + block_map.capacity_bytes // 4 + 16 * MIB
    return GzippedDisk(member=member, format=disk_format, block_map=block_map, inflated_bytes=most)


def _open(member: Member, limit_bytes: int, taken: Callable[[bytes], None] = lambda _: None) -> ForwardDisk:
    source = GzipReader(MemberReader(member, taken=taken), limit_bytes=limit_bytes)
    try:
        return open_forward(source, size_bytes=limit_bytes)
    except DiskError as exc:
        if exc.code == "E_DISK_FORWARD":
            exc.hint = "Decompress the file, and take ovf:compression out of the descriptor."
        raise


def _raw_bytes(member: Member, declared: int | None) -> int:
    """Length of the raw image in `member`; when it is not exactly `declared`, by inflating all of it."""
    size = min(_SIZE_BYTES, member.size)
    if declared is not None:
        ends_with = int.from_bytes(member.read_at(member.size - size, size), "little")
        if ends_with == declared % (1 << 8 * _SIZE_BYTES):
            return declared
    most = MAX_UNDECLARED_BYTES if declared is None else declared + SLACK_BYTES
    reader, total = GzipReader(MemberReader(member), limit_bytes=most), 0
    while data := reader.read(_READ_BYTES):
        total += len(data)
    return total
