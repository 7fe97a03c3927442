import gzip
from pathlib import Path

import pytest

from tests.build.ova import STREAM_OPTIMIZED, build_ova
from virt_ova.errors import PackageError
from virt_ova.findings import Finding
from virt_ova.ovf.envelope import Disk, File
from virt_ova.package.disks import PackageDisk, resolve_disk
from virt_ova.package.files import resolve_file
from virt_ova.source.base import Archive
from virt_ova.source.opener import open_archive

PAD = bytes(40_000)
STREAM = b"KDMV\x03\0\0\0\x01\0\x03\0" + PAD
MEMBERS = [
    ("stream", STREAM),
    ("sparse", b"KDMV\x01\0\0\0\x03\0\0\0" + PAD),
    ("qcow2", b"QFI\xfb\0\0\0\x03" + PAD),
    ("iso", bytes(0x8001) + b"CD001" + PAD),
    ("raw", PAD),
    ("two", b"QFI\xfb" + bytes(0x8001 - 4) + b"CD001" + PAD),
]

MEMBERS += [(f"{name}.gz", gzip.compress(data, mtime=0)) for name, data in MEMBERS]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return open_archive(build_ova(tmp_path / "a.ova", MEMBERS))


def resolve(archive: Archive, href: str, uri: str = "", compression: str = "") -> tuple[PackageDisk, list[Finding]]:
    file = resolve_file(File(id="f", href=href, compression=compression), archive.members)
    disk, findings = resolve_disk(Disk(id="d", file_ref="f", capacity_bytes=1 << 20, format_uri=uri), file)
    return disk, list(findings)


@pytest.mark.parametrize(
    ("href", "word"),
    [("stream", "vmdk-stream"), ("sparse", "vmdk-sparse"), ("qcow2", "qcow2"), ("iso", "iso"), ("raw", "raw")],
)
def test_a_disk_is_what_its_bytes_say(archive: Archive, href: str, word: str) -> None:
    disk, findings = resolve(archive, href, STREAM_OPTIMIZED)
    assert (disk.format, findings) == (word, [])
    member = disk.require_member()
    assert (disk.file_name, disk.file_size, disk.file_offset) == (href, member.size, member.offset)
    assert (disk.id, disk.capacity_bytes, disk.member) == ("d", 1 << 20, member)
    archive.close()


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        (STREAM_OPTIMIZED, "vmdk-stream"),
        ("http://www.vmware.com/specifications/vmdk.html#sparse", "vmdk-stream"),
        ("http://www.vmware.com/interfaces/specifications/vmdk.html#monolithicSparse", "vmdk-sparse"),
        ("http://www.vmware.com/interfaces/specifications/vmdk.html#monolithicFlat", "raw"),
        ("http://www.vmware.com/interfaces/specifications/vmdk.html", "vmdk-stream"),
        ("http://technet.microsoft.com/en-us/virtualserver/bb676673.aspx#monolithicSparse_vhd", "vmdk-sparse"),
        ("http://go.microsoft.com/fwlink/?LinkId=137171", "vhd"),
        ("http://www.gnome.org/~markmc/qcow-image-format.html", "qcow2"),
        ("http://www.ecma-international.org/publications/standards/Ecma-119.htm", "iso"),
        ("", "raw"),
    ],
)
def test_a_disk_that_is_not_there_is_what_the_descriptor_says(archive: Archive, uri: str, word: str) -> None:
    disk, findings = resolve(archive, "none", uri)
    assert (disk.format, findings, disk.member) == (word, [], None)
    assert (disk.file_name, disk.file_size, disk.file_offset) == ("none", None, None)
    with pytest.raises(PackageError, match="the file 'none' is not in the package") as caught:
        disk.require_member()
    assert caught.value.code == "E_PKG_FILE"
    archive.close()


@pytest.mark.parametrize(
    ("href", "word"), [("stream", "vmdk-stream"), ("qcow2", "qcow2"), ("iso", "iso"), ("raw", "raw")]
)
def test_a_gzipped_disk_is_what_its_inflated_bytes_say(archive: Archive, href: str, word: str) -> None:
    disk, findings = resolve(archive, f"{href}.gz", "", compression="gzip")
    assert (disk.format, findings) == (word, [])
    assert disk.file_size == len(gzip.compress(dict(MEMBERS)[href], mtime=0))
    archive.close()


def test_a_disk_that_is_not_compressed_as_declared_is_told(archive: Archive) -> None:
    disk, (finding,) = resolve(archive, "raw", STREAM_OPTIMIZED, compression="gzip")
    assert disk.format == "vmdk-stream"
    assert (finding.code, finding.severity) == ("PKG_DISK_FORMAT", "error")
    assert finding.message == "raw: found no gzip data, expected a gzip file and nothing else"
    disk, (finding,) = resolve(archive, "raw.gz", STREAM_OPTIMIZED)
    assert disk.format == "vmdk-stream"
    assert finding.message.startswith("raw.gz: found a gzip file that the descriptor does not declare as compressed")
    archive.close()


def test_a_disk_compressed_otherwise_is_what_the_descriptor_says(archive: Archive) -> None:
    assert resolve(archive, "raw", STREAM_OPTIMIZED, compression="bzip2")[0].format == "vmdk-stream"
    archive.close()


def test_a_disk_that_could_be_two_things_is_told(archive: Archive) -> None:
    disk, (finding,) = resolve(archive, "two", "qcow")
    assert disk.format == "qcow2"
    assert (finding.code, finding.severity) == ("PKG_DISK_FORMAT", "error")
    assert "two: found the marks of qcow2 and iso, expected those of one format" in finding.message
    assert finding.where == "DiskSection/Disk 'd'"
    archive.close()


def test_a_blank_disk_has_no_file() -> None:
    disk, findings = resolve_disk(Disk(id="d", capacity_bytes=512), None)
    assert (disk.file_name, disk.file_size, disk.file_offset, disk.member, disk.format) == ("", None, None, None, "")
    assert findings == ()
    with pytest.raises(PackageError, match="the disk 'd' is blank: it has no file") as caught:
        disk.require_member()
    assert caught.value.code == "E_PKG_FILE"
