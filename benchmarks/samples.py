"""The packages that are measured: disks of real files, in an OVA as qemu-img and tar make it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.build.ova import descriptor

_MEMBER = "disk1.vmdk"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A package that was built, and where its only disk lies in it. Sizes in bytes."""

    package: Path
    member_offset: int
    member_size: int

    @property
    def image(self) -> str:
        """The disk for QEMU's programs, where it lies."""
        file = {"driver": "file", "filename": str(self.package)}
        window = {"driver": "raw", "offset": self.member_offset, "size": self.member_size, "file": file}
        return "json:" + json.dumps({"driver": "vmdk", "file": window})


def build(folder: Path, name: str, *, capacity_bytes: int, content: Path | None, content_bytes: int = 0) -> Sample:
    """A package whose disk holds an ext4 of the files below `content`, or the first `content_bytes` of their bytes.

    Built once: a package that is in `folder` already is used as it is.
    """
    package = folder / f"{name}.ova"
    if not package.exists():
        disk, member = folder / f"{name}.raw", folder / _MEMBER
        with disk.open("wb") as file:
            file.truncate(capacity_bytes)
        if content and content_bytes:
            _fill(disk, content, content_bytes)
        elif content:
            subprocess.run(["mkfs.ext4", "-q", "-F", "-d", content, disk], check=True)
        options = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
        subprocess.run(["qemu-img", "convert", "-f", "raw", *options, disk, member], check=True)
        _pack(package, member, capacity_bytes)
        disk.unlink()
        member.unlink()
    with tarfile.open(package) as tar:
        info = tar.getmember(_MEMBER)
    return Sample(package=package, member_offset=info.offset_data, member_size=info.size)


def _fill(disk: Path, content: Path, size: int) -> None:
    """Write the bytes of the files below `content` to the beginning of `disk`."""
    with disk.open("r+b") as file:
        for source in sorted(path for path in content.rglob("*") if path.is_file() and not path.is_symlink()):
            with source.open("rb") as opened:
                while (left := size - file.tell()) and (data := opened.read(min(left, _READ_BYTES))):
                    file.write(data)
            if file.tell() == size:
                return


def _pack(package: Path, member: Path, capacity_bytes: int) -> None:
    """An OVA of a descriptor, a SHA-256 manifest and the disk."""
    folder = package.parent
    text = descriptor([(member.name, member.stat().st_size)], capacity=str(capacity_bytes))
    with member.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = f"SHA256(a.ovf)= {hashlib.sha256(text).hexdigest()}\nSHA256({member.name})= {digest}\n"
    (folder / "a.ovf").write_bytes(text)
    (folder / "a.mf").write_text(manifest)
    unfinished = package.with_suffix(".part")
    with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in (folder / "a.ovf", folder / "a.mf", member):
            tar.add(path, path.name)
            if path != member:
                path.unlink()
    unfinished.rename(package)
