"""What the plan layer must be told of files: a package's disks before, finished images after.

Plain values, so that neither the package nor the target is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskSource:
    """One disk of the DiskSection, or one File used as a drive's content.

    Attributes:
        id: ``ovf:diskId``, or the File's ``ovf:id``.
        member: checked name of the package's member, or empty for a blank disk.
        file_format: what the member is (a word of `virt_ova.disk.base.DiskFormat`), or empty for a blank disk.
        capacity_bytes: size that the guest sees.
        file_size: bytes of the member; 0 for a blank disk.
        file_offset: where the member stands in the package; transfers are ordered by it.
    """

    id: str
    member: str = ""
    file_format: str = ""
    capacity_bytes: int
    file_size: int = 0
    file_offset: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSource:
    """Where a finished image is, for a dialect that must name it.

    Attributes:
        image_format: ``qcow2`` or ``raw``.
        path: of the file; may be relative for QEMU.
        pool: storage pool; when set, the image is named by pool and volume instead of by path.
        volume: name in the pool.
    """

    image_format: str
    path: str = ""
    pool: str = ""
    volume: str = ""
