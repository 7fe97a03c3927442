"""What the plan layer must be told of files: a package's disks before, finished images after.

Plain values, so that neither the package nor the target is needed here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from virt_ova.plan.efivars import VariableStore


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
        parents: names of the members that it holds the difference to, the nearest first; an empty one for a blank disk.
        variables: the EFI variables that it holds; None when the package has none there.
    """

    id: str
    member: str = ""
    file_format: str = ""
    capacity_bytes: int
    file_size: int = 0
    file_offset: int = 0
    parents: tuple[str, ...] = ()
    variables: VariableStore | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Backing:
    """The member of a package that a linked image lies on, and what tells that the package is as it was.

    Attributes:
        path: absolute path of the package's file: UTF-8, no control characters, no symbolic links.
        size_bytes: length of that file.
        modified_ns: when it was written last, in nanoseconds since 1970.
        member: the member's name.
        image_format: QEMU's driver for it (``vmdk``).
        offset: where it begins in the file.
        length: how many bytes QEMU reads of it, a multiple of 512.
        digest: of the member as the manifest has it (``SHA256:0123``...); empty when it has none.
    """

    path: str
    size_bytes: int
    modified_ns: int
    member: str
    image_format: str
    offset: int
    length: int
    digest: str = ""

    @property
    def modified(self) -> str:
        """When the file was written last, in seconds since 1970 with nine decimals, as stat(1) has it."""
        return f"{self.modified_ns // 10**9}.{self.modified_ns % 10**9:09}"

    @property
    def qemu_name(self) -> str:
        """How an image names it so that QEMU opens the member and nothing else.

        The driver is not said here but beside the name, because libvirt understands only such names (its
        ``virStorageSourceParseBackingJSON``).
        """
        file = {"driver": "file", "filename": self.path}
        member = {"driver": "raw", "offset": self.offset, "size": self.length, "file": file}
        return "json:" + json.dumps({"file": member, "backing": None}, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSource:
    """Where a finished image is, for a dialect that must name it.

    Attributes:
        image_format: ``qcow2`` or ``raw``.
        path: of the file; may be relative for QEMU.
        pool: storage pool; when set, the image is named by pool and volume instead of by path.
        volume: name in the pool.
        backing: what the image lies on, when it is linked.
    """

    image_format: str
    path: str = ""
    pool: str = ""
    volume: str = ""
    backing: Backing | None = None
