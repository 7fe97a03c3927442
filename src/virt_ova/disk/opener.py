"""From a member to the reader for its format: the only place that knows them all, and loads the one that is needed."""

from __future__ import annotations

from virt_ova.disk.base import DeltaReader, DiskFormat, DiskReader
from virt_ova.disk.probe import probe
from virt_ova.disk.raw import RawReader
from virt_ova.disk.vmdk.reader import VmdkReader
from virt_ova.disk.vmdk.split import SplitReader
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.text import printable


def open_disk(member: Member) -> DiskReader:
    """A reader for the disk image in `member`.

    Raises:
        DiskError: the image is damaged, unsafe, or of a kind that is not read.
        SourceError: the member cannot be read.
    """
    try:
        return _open(member)
    except DiskError as exc:
        exc.where = exc.where or member.name
        raise


def open_delta(member: Member) -> DeltaReader:
    """A reader for the image in `member`, which holds only the difference to another disk.

    Raises:
        DiskError: as `open_disk`, or differences are not read in that format (``E_NOT_SUPPORTED``).
        SourceError: the member cannot be read.
    """
    disk_format = probe(member)
    if member.extents or disk_format not in {DiskFormat.VMDK_STREAM, DiskFormat.VMDK_SPARSE}:
        found = f"{len(member.extents)} files" if member.extents else disk_format
        raise DiskError(
            f"the disk is declared as the difference to another one, and its image is {found}, expected a VMDK file",
            code="E_NOT_SUPPORTED",
            where=printable(member.name),
            hint="Merge the disks where they were made, and export the machine again.",
        )
    try:
        return VmdkReader(member, is_delta=True)
    except DiskError as exc:
        exc.where = exc.where or member.name
        raise


def _open(member: Member) -> DiskReader:
    match disk_format := probe(member):
        case DiskFormat.VMDK_STREAM | DiskFormat.VMDK_SPARSE:
            return SplitReader(member) if member.extents else VmdkReader(member)
        case DiskFormat.QCOW2:
            from virt_ova.disk.qcow2.reader import Qcow2Reader  # noqa: PLC0415

            return Qcow2Reader(member)
        case DiskFormat.VHD:
            from virt_ova.disk.vhd.reader import open_vhd  # noqa: PLC0415

            return open_vhd(member)
        case DiskFormat.VHDX:
            from virt_ova.disk.vhdx.reader import open_vhdx  # noqa: PLC0415

            return open_vhdx(member)
        case DiskFormat.VDI:
            from virt_ova.disk.vdi.reader import open_vdi  # noqa: PLC0415

            return open_vdi(member)
        case DiskFormat.RAW | DiskFormat.ISO:
            return RawReader(member, disk_format=disk_format)
