"""From a member or an image format to the reader or writer for it: the only place that knows them all."""

from __future__ import annotations

from virt_ova.disk.base import DiskFormat, DiskReader
from virt_ova.disk.probe import probe
from virt_ova.disk.raw import RawReader
from virt_ova.disk.vmdk.reader import VmdkReader
from virt_ova.errors import DiskError
from virt_ova.source.base import Member


def open_disk(member: Member) -> DiskReader:
    """A reader for the disk image in `member`.

    Raises:
        DiskError: the image is damaged, unsafe, or of a kind that is not read.
        SourceError: the member cannot be read.
    """
    match disk_format := probe(member):
        case DiskFormat.VMDK_STREAM | DiskFormat.VMDK_SPARSE:
            return VmdkReader(member)
        case DiskFormat.RAW | DiskFormat.ISO:
            return RawReader(member, disk_format=disk_format)
        case DiskFormat.QCOW2 | DiskFormat.VHD | DiskFormat.VHDX | DiskFormat.VDI:
            raise DiskError(f"{disk_format} is not read yet", code="E_NOT_SUPPORTED", where=member.name)
