"""What an image is, by its own bytes; one that could be two things is refused."""

from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, SECTOR, convert, member_of, patch, random_disk, sparse_vmdk
from virt_ova.disk.base import DiskFormat
from virt_ova.disk.probe import probe
from virt_ova.errors import DiskError

MBR = b"\xfa\x33\xc0".ljust(510, b"\x90") + b"\x55\xaa"


def iso(head: bytes = b"") -> bytes:
    return head.ljust(32 * KIB, b"\0") + b"\x01CD001\x01".ljust(32 * KIB, b"\0")


def probed(path: Path, content: bytes) -> DiskFormat:
    path.write_bytes(content)
    with member_of(path) as member:
        return probe(member)


@pytest.mark.parametrize(
    ("driver", "options", "disk_format"),
    [
        ("raw", (), DiskFormat.RAW),
        ("vmdk", ("subformat=streamOptimized",), DiskFormat.VMDK_STREAM),
        ("vmdk", (), DiskFormat.VMDK_SPARSE),
        ("qcow2", (), DiskFormat.QCOW2),
        ("vpc", (), DiskFormat.VHD),
        ("vpc", ("subformat=fixed",), DiskFormat.VHD),
        ("vhdx", (), DiskFormat.VHDX),
        ("vdi", (), DiskFormat.VDI),
    ],
)
def test_what_qemu_img_writes(tmp_path: Path, driver: str, options: tuple[str, ...], disk_format: DiskFormat) -> None:
    raw = random_disk(tmp_path / "raw", MIB, [0, 3])
    patch(raw, 0, MBR)
    with member_of(convert(raw, tmp_path / "disk", driver, *options)) as member:
        assert probe(member) is disk_format


@pytest.mark.parametrize("content", [b"", b"x", bytes(511), MBR, bytes(33 * KIB), b"conectix"[:7]])
def test_raw_is_what_has_no_known_mark(tmp_path: Path, content: bytes) -> None:
    assert probed(tmp_path / "disk", content) is DiskFormat.RAW


def test_short_vmdk(tmp_path: Path) -> None:
    assert probed(tmp_path / "disk", sparse_vmdk(8, {}, grain_sectors=8)) is DiskFormat.VMDK_STREAM


def test_iso_with_or_without_mbr(tmp_path: Path) -> None:
    assert probed(tmp_path / "disk", iso()) is DiskFormat.ISO
    assert probed(tmp_path / "disk", iso(MBR)) is DiskFormat.ISO


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"# Disk DescriptorFile\nversion=1", "a VMDK descriptor that names other files"),
        (b"COWD", "an old ESX sparse disk"),
        (b"QED\0", "a QED image"),
        (b"LUKS\xba\xbe\0\1", "an encrypted disk"),
        (b"Bochs Virtual HD Image", "a Bochs image"),
        (b"WithoutFreeSpace", "a Parallels image"),
        (b"WithouFreSpacExt", "a Parallels image"),
        (b"\x1f\x8b\x08", "a gzip file that the descriptor does not declare as compressed"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"BZh91AY", "a bzip2 file"),
        (b"PK\x03\x04", "a zip file"),
    ],
)
def test_kinds_that_are_refused(tmp_path: Path, head: bytes, kind: str) -> None:
    with pytest.raises(DiskError) as caught:
        probed(tmp_path / "disk", head.ljust(MIB, b"\0"))
    assert caught.value.code == "E_DISK_TYPE"
    assert str(caught.value) == f"disk: found {kind}, expected a disk that stands alone"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "marks"),
    [
        (iso(b"QFI\xfb\0\0\0\3"), "qcow2 and iso"),
        (iso(b"KDMV"), "vmdk-sparse and iso"),
        (iso(b"conectix"), "vhd and iso"),
        (b"QFI\xfb".ljust(MIB, b"\0") + b"conectix".ljust(SECTOR, b"\0"), "qcow2 and vhd"),
        (b"vhdxfile".ljust(64, b"\0") + b"\x7f\x10\xda\xbe".ljust(MIB, b"\0"), "vhdx and vdi"),
        (iso(b"QFI\xfb".ljust(64, b"\0") + b"\x7f\x10\xda\xbe"), "qcow2 and vdi and iso"),
    ],
)
def test_two_formats_in_one_file(tmp_path: Path, content: bytes, marks: str) -> None:
    with pytest.raises(DiskError) as caught:
        probed(tmp_path / "disk", content)
    assert caught.value.code == "E_DISK_AMBIGUOUS"
    assert str(caught.value) == f"disk: found the marks of {marks}, expected those of one format"
    assert caught.value.hint == "No writer makes such a file; do not trust this package."
