"""The disks of a package: name, size and offset of each, and what its image is."""

from __future__ import annotations

from dataclasses import dataclass

from virt_ova.disk.base import DiskFormat
from virt_ova.disk.gzipped import probe_gzipped
from virt_ova.disk.probe import probe
from virt_ova.errors import DiskError, PackageError
from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import Disk
from virt_ova.package.files import PackageFile
from virt_ova.source.base import Member
from virt_ova.text import quoted

_FORMAT_WORDS = (
    ("streamoptimized", DiskFormat.VMDK_STREAM),
    ("monolithicsparse", DiskFormat.VMDK_SPARSE),
    ("flat", DiskFormat.RAW),
    ("vmdk", DiskFormat.VMDK_STREAM),
    ("vhdx", DiskFormat.VHDX),
    ("vhd", DiskFormat.VHD),
    ("linkid=137171", DiskFormat.VHD),
    ("qcow", DiskFormat.QCOW2),
    ("vdi", DiskFormat.VDI),
    ("ecma-119", DiskFormat.ISO),
    ("iso", DiskFormat.ISO),
    ("dvd", DiskFormat.ISO),
)
"""Part of an ``ovf:format`` URI, lower case, to what it means; the first that fits counts. VMware's ``#sparse`` is
stream-optimized in practice; 137171 is Microsoft's link to the VHD specification, which VirtualBox writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageDisk:
    """A Disk of DiskSection, and where its image lies.

    Attributes:
        id: ``ovf:diskId``.
        file: of References; None for a blank disk.
        capacity_bytes: size of the guest's disk as declared; None when only the image tells it.
        format: word of `virt_ova.disk.base.DiskFormat`, told by the image's own bytes, or by the descriptor
            where they cannot be used; empty for a blank disk.
        parent_id: id of the disk to which it is the difference; empty for a whole disk.
    """

    id: str
    file: PackageFile | None
    capacity_bytes: int | None
    format: str
    parent_id: str = ""

    @property
    def file_name(self) -> str:
        """Name of the member; empty for a blank disk."""
        return self.file.name if self.file else ""

    @property
    def file_size(self) -> int | None:
        """Stored bytes; None for a blank disk."""
        return self.file.size if self.file else None

    @property
    def file_offset(self) -> int | None:
        """Where the image begins in the package; None for a blank disk, or when it is not there."""
        return self.file.offset if self.file else None

    @property
    def member(self) -> Member | None:
        """The bytes as stored; None when they are not there."""
        return self.file.member if self.file else None

    def require_member(self) -> Member:
        """The member, to read the image.

        Raises:
            PackageError: the disk is blank or its file is missing (``E_PKG_FILE``), or as `PackageFile.require_member`.
        """
        if self.file is None:
            raise PackageError(f"the disk {quoted(self.id)} is blank: it has no file", code="E_PKG_FILE")
        return self.file.require_member()


def resolve_disk(disk: Disk, file: PackageFile | None) -> tuple[PackageDisk, tuple[Finding, ...]]:
    """The disk with its `file`, and what is wrong with the image at first sight.

    Raises:
        SourceError: the member cannot be read.
    """
    word, findings = _format_of(disk, file)
    resolved = PackageDisk(
        id=disk.id, file=file, capacity_bytes=disk.capacity_bytes, format=word, parent_id=disk.parent_ref
    )
    return resolved, findings


def _format_of(disk: Disk, file: PackageFile | None) -> tuple[str, tuple[Finding, ...]]:
    if file is None:
        return "", ()
    declared = _declared_format(disk.format_uri)
    if file.obstacle or file.member is None:
        return declared, ()
    try:
        return (probe_gzipped if file.compression else probe)(file.member), ()
    except DiskError as exc:
        where = f"DiskSection/Disk {quoted(disk.id)}"
        return declared, (Finding(code="PKG_DISK_FORMAT", severity=Severity.ERROR, message=str(exc), where=where),)


def _declared_format(uri: str) -> DiskFormat:
    lowered = uri.lower()
    return next((word for part, word in _FORMAT_WORDS if part in lowered), DiskFormat.RAW)
