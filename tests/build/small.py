"""A whole package that is small: for tests that run the command line, or an install, many times.

small_ova(tmp_path / "a.ova")                                     # vm, with one disk
build_ova(tmp_path / "b.ova", with_manifest(small_members(2)))    # the same by hand, with two
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from tests.build.disks import KIB, MIB, SECTOR, guest_bytes, sparse_vmdk
from tests.build.ova import build_ova, descriptor, manifest_for, with_manifest

CAPACITY: Final = 4 * MIB
_GRAIN: Final = 64 * KIB
_END: Final = "</VirtualHardwareSection>"


def small_grains(number: int = 1) -> dict[int, bytes]:
    """The guest's bytes of disk `number`, by grain: the first, one of zeros, and the last."""
    return {
        0: bytes([number]) * _GRAIN,
        7: bytes(_GRAIN),
        CAPACITY // _GRAIN - 1: b"end of disk %3d!" % number * (_GRAIN // 16),
    }


def small_disk(number: int = 1) -> bytes:
    """The guest's disk `number`."""
    disk = bytearray(CAPACITY)
    for grain, data in small_grains(number).items():
        disk[grain * _GRAIN : (grain + 1) * _GRAIN] = data
    return bytes(disk)


def small_vmdk(number: int = 1) -> bytes:
    """Disk `number` as a streamOptimized VMDK."""
    return sparse_vmdk(CAPACITY // SECTOR, small_grains(number))


def small_members(disks: int = 1) -> list[tuple[str, bytes]]:
    """Descriptor and disks, ``a1.vmdk`` and so on, without a manifest."""
    images = [(f"a{number}.vmdk", small_vmdk(number)) for number in range(1, disks + 1)]
    sizes = [(name, len(data)) for name, data in images]
    return [("a.ovf", descriptor(sizes, capacity=str(CAPACITY))), *images]


def small_ova(path: Path, disks: int = 1) -> Path:
    """Write the package with a manifest as an OVA; returns `path`."""
    return build_ova(path, with_manifest(small_members(disks)))


def efi_ova(path: Path, variables: bytes) -> Path:
    """As `small_ova`, for EFI, with its `variables` in ``a.nvram``, as VMware names them."""
    members = [*small_members(), ("a.nvram", variables)]
    file = f'<File ovf:id="nvram" ovf:href="a.nvram" ovf:size="{len(variables)}"/></References>'
    config = '<vmw:Config vmw:key="firmware" vmw:value="efi"/>'
    extra = '<vmw:ExtraConfig vmw:key="nvram" vmw:value="ovf:/file/nvram"/>'
    for old, new in (("</References>", file), (_END, f"{config}{extra}{_END}")):
        members = edited(members, old, new)
    return build_ova(path, with_manifest(members))


def edited(members: list[tuple[str, bytes]], old: str, new: str) -> list[tuple[str, bytes]]:
    """`members` with `old` replaced by `new` in the descriptor, which must have it."""
    name, text = members[0]
    assert old.encode() in text, old
    return [(name, text.replace(old.encode(), new.encode())), *members[1:]]


def damaged_vmdk() -> bytes:
    """Disk 1 with a change in its text, which only a digest covers."""
    assert small_vmdk().count(b"# Disk Descr") == 1
    return small_vmdk().replace(b"# Disk Descr", b"# disk Descr")


def damaged_ova(path: Path) -> Path:
    """Write the package with `damaged_vmdk` in place of the disk that the manifest lists; returns `path`."""
    members = small_members()
    return build_ova(path, [members[0], ("a.mf", manifest_for(members)), ("a1.vmdk", damaged_vmdk())])


def damaged_message() -> str:
    """The message of the error that tells of `damaged_vmdk`."""
    found, expected = (hashlib.sha256(data).hexdigest() for data in (damaged_vmdk(), small_vmdk()))
    return f"the SHA256 of 'a1.vmdk' is {found}, expected {expected} as the manifest says"


def is_installed(folder: Path, name: str = "vm") -> bool:
    """Whether the folder of a ``dir:`` target holds the package as the machine `name`, whole, and nothing else."""
    image = f"{name}/{name}-disk1.qcow2"
    whole = sorted([name, f"{name}/domain.xml", f"{name}/run", image])
    return listing(folder) == whole and guest_bytes(folder / image) == small_disk()


def listing(folder: Path) -> list[str]:
    """Everything in `folder`, by relative path."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
