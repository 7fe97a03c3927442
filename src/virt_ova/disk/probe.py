"""Tells what a disk image is, by its own bytes.

A name, an ``ovf:format`` and a guess by another program may all be wrong, and a wrong guess is an old way into a host:
a "raw" disk that is really a qcow2 with a backing file, an ISO with another image in its system area. So an image that
could be two things is refused, and a raw image is what has no known magic at all.
"""

from __future__ import annotations

from typing import Final

from virt_ova.disk.base import DiskFormat
from virt_ova.disk.vmdk import layout as vmdk
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.text import printable

HEAD_BYTES: Final = 0x8006
"""Up to the last magic, that of an ISO 9660."""

TAIL_BYTES: Final = 512
"""The footer of a VHD."""
_ISO_MAGIC_OFFSET: Final = 0x8001
_VDI_MAGIC_OFFSET: Final = 0x40

_MAGICS: Final = (
    (0, b"QFI\xfb", DiskFormat.QCOW2),
    (0, b"vhdxfile", DiskFormat.VHDX),
    (0, b"conectix", DiskFormat.VHD),
    (_VDI_MAGIC_OFFSET, b"\x7f\x10\xda\xbe", DiskFormat.VDI),
)
_REFUSED: Final = (
    (b"# Disk DescriptorFile", "a VMDK descriptor that names other files", "Export the machine as OVF or OVA again."),
    (b"COWD", "an old ESX sparse disk", "Export the machine as OVF or OVA again."),
    (b"QED\0", "a QED image", "Convert it to qcow2."),
    (b"LUKS\xba\xbe", "an encrypted disk", "Decrypt it first."),
    (b"Bochs Virtual HD Image", "a Bochs image", "Convert it to qcow2."),
    (b"WithoutFreeSpace", "a Parallels image", "Convert it to qcow2."),
    (b"WithouFreSpacExt", "a Parallels image", "Convert it to qcow2."),
    (b"\x1f\x8b", "a gzip file that the descriptor does not declare as compressed", "Decompress it."),
    (b"\xfd7zXZ\0", "an xz file", "Decompress it."),
    (b"BZh", "a bzip2 file", "Decompress it."),
    (b"PK\x03\x04", "a zip file", "Unpack it."),
)


def probe(member: Member) -> DiskFormat:
    """What the image in `member` is.

    Raises:
        DiskError: it is a kind that is not read (``E_DISK_TYPE``), or could be two kinds (``E_DISK_AMBIGUOUS``).
        SourceError: the member cannot be read.
    """
    head = _read(member, 0, HEAD_BYTES)
    tail = _read(member, member.size - TAIL_BYTES, TAIL_BYTES)
    return judge(head, tail, where=printable(member.name))


def judge(head: bytes, tail: bytes, *, where: str) -> DiskFormat:
    """What an image is that begins with `head` and ends with `tail`.

    Args:
        head: its first `HEAD_BYTES`, or all of it.
        tail: its last `TAIL_BYTES`, or fewer; what is not known yet does not count.
        where: its name, escaped.

    Raises:
        DiskError: as `probe`.
    """
    for magic, kind, hint in _REFUSED:
        if head.startswith(magic):
            raise DiskError(
                f"found {kind}, expected a disk that stands alone", code="E_DISK_TYPE", where=where, hint=hint
            )
    found = [disk_format for offset, magic, disk_format in _MAGICS if head[offset:].startswith(magic)]
    if head.startswith(vmdk.MAGIC):
        found.append(_vmdk_kind(head))
    if head[_ISO_MAGIC_OFFSET:].startswith(b"CD001"):
        found.append(DiskFormat.ISO)
    if tail.startswith(b"conectix") and DiskFormat.VHD not in found:
        found.append(DiskFormat.VHD)
    if len(found) > 1:
        raise DiskError(
            f"found the marks of {' and '.join(found)}, expected those of one format",
            code="E_DISK_AMBIGUOUS",
            where=where,
            hint="No writer makes such a file; do not trust this package.",
        )
    return found[0] if found else DiskFormat.RAW


def _vmdk_kind(head: bytes) -> DiskFormat:
    flags = int.from_bytes(head[8:12], "little")
    return DiskFormat.VMDK_STREAM if flags & vmdk.FLAG_COMPRESSED else DiskFormat.VMDK_SPARSE


def _read(member: Member, offset: int, size: int) -> bytes:
    """So many bytes of what is there of them."""
    start = min(max(0, offset), member.size)
    return member.read_at(start, max(0, min(size, member.size - start)))
