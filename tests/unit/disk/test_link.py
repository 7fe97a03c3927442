"""Linked images: qemu-img reads through them what it reads in the package, and errors say what to do."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, convert, qemu_img, random_disk, sparse_vmdk
from tests.build.ova import build_folder, build_ova, descriptor, with_manifest
from tests.build.webserver import serve
from virt_ova.disk.sink import FileSink
from virt_ova.errors import DigestError, DiskError
from virt_ova.package.package import Package, open_package
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.source.opener import PackageSource
from virt_ova.stories.placement import Placement, open_placement

CAPACITY = 4 * MIB + 512
GRAINS = {0: b"a" * 64 * KIB, 5: b"b" * 64 * KIB, 63: b"c" * 64 * KIB}
ODD_NAMES = ("plain", "with space", "a,b:c=d", "quote\"'`$x\\", "<&>;ü☃", "#?%20", "-o json:{}")


def members(disk: bytes, name: str = "disk1.img") -> list[tuple[str, bytes]]:
    return with_manifest([("vm.ovf", descriptor([(name, len(disk))], capacity=str(CAPACITY))), (name, disk)])


def package_of(folder: Path, disk: bytes, name: str = "appliance") -> Path:
    return build_ova(folder / f"{name}.ova", members(disk))


def placed(package: Package, image_format: ImageFormat = ImageFormat.QCOW2) -> Placement:
    (disk,) = package.disks
    return open_placement(
        package,
        disk.require_member(),
        capacity_bytes=disk.capacity_bytes,
        image_format=image_format,
        mode=DiskMode.LINK,
    )


def linked(source: Path, image: Path) -> Path:
    """`image`, made; qemu-img has checked it."""
    with open_package(source) as package:
        placement = placed(package)
        assert (placement.mode, placement.findings) == (DiskMode.LINK, [])
        placement.write(FileSink.create(image), verify=True)
        assert image.stat().st_size == placement.size_bytes == placement.needed_bytes
    qemu_img("check", "-f", "qcow2", image)
    return image


def vmdk(**options: object) -> bytes:
    return sparse_vmdk(8193, GRAINS, **options)  # type: ignore[arg-type]  # options are the test's


def by_qemu(driver: str, *options: str) -> Callable[[Path], bytes]:
    def write(folder: Path) -> bytes:
        raw = random_disk(folder / "raw", CAPACITY, [0, 2, 63])
        return convert(raw, folder / "disk", driver, *options).read_bytes()

    return write


FORMATS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "stream": ("vmdk", lambda _: vmdk()),
    "stream without footer": ("vmdk", lambda _: vmdk(footer=False)),
    "stream with padding": ("vmdk", lambda _: vmdk(padding=64 * KIB)),
    "stream with a partial sector of padding": ("vmdk", lambda _: vmdk(padding=100)),
    "sparse": ("vmdk", lambda _: vmdk(compressed=False, footer=False)),
    "qcow2": ("qcow2", by_qemu("qcow2")),
    "qcow2 of odd size": ("qcow2", lambda folder: by_qemu("qcow2", "-c")(folder)[:-100]),
    "vhd": ("vpc", by_qemu("vpc", "subformat=dynamic,force_size=on")),
    "fixed vhd": ("vpc", by_qemu("vpc", "subformat=fixed,force_size=on")),
    "vhdx": ("vhdx", by_qemu("vhdx")),
    "vdi": ("vdi", by_qemu("vdi")),
    "raw": ("raw", by_qemu("raw")),
    "raw of odd size": ("raw", lambda folder: by_qemu("raw")(folder)[:-200]),
}


@pytest.mark.parametrize(
    ("kind", "packed"), [*((kind, True) for kind in FORMATS), *((kind, False) for kind in FORMATS if "odd" in kind)]
)
def test_every_format_reads_as_in_the_package(kind: str, tmp_path: Path, *, packed: bool) -> None:
    driver, write = FORMATS[kind]
    disk = write(tmp_path)
    (tmp_path / "alone").write_bytes(disk)
    source = package_of(tmp_path, disk) if packed else build_folder(tmp_path / "appliance", members(disk))
    image = linked(source, tmp_path / "linked.qcow2")
    info = json.loads(qemu_img("info", "--output=json", "--backing-chain", image))
    assert [each["format"] for each in info] == ["qcow2", driver]
    assert info[0]["backing-filename-format"] == driver
    expected = tmp_path / "expected.qcow2"
    with open_package(source) as package:
        assert info[0]["virtual-size"] == placed(package).capacity_bytes
        expanded = open_placement(
            package,
            package.disks[0].require_member(),
            capacity_bytes=CAPACITY,
            image_format=ImageFormat.QCOW2,
            mode=DiskMode.EXPAND,
        )
        expanded.write(FileSink.create(expected), verify=False)
    assert "Images are identical" in qemu_img("compare", image, expected)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_may_hold_what_it_likes(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    source = package_of(folder, vmdk(), name)
    image = linked(source, tmp_path / "linked.qcow2")
    with open_package(source) as package:
        (disk,) = package.disks
        expected = f"json:{json.dumps(disk_of(source, disk.file_offset or 0, disk.file_size or 0))}"
    assert "Images are identical" in qemu_img("compare", image, expected)


def disk_of(source: Path, offset: int, size: int) -> dict[str, object]:
    file = {"driver": "file", "filename": str(source)}
    return {"driver": "vmdk", "file": {"driver": "raw", "offset": offset, "size": size, "file": file}}


def test_the_package_is_named_by_its_real_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = package_of(tmp_path, vmdk())
    (tmp_path / "latest.ova").symlink_to(source.name)
    monkeypatch.chdir(tmp_path)
    with open_package("latest.ova") as package:
        backing = placed(package).backing
        assert backing is not None
        (disk,) = package.disks
        status = source.stat()
        assert (backing.path, backing.member, backing.image_format) == (str(source.resolve()), "disk1.img", "vmdk")
        assert (backing.size_bytes, backing.modified_ns) == (status.st_size, status.st_mtime_ns)
        assert (backing.offset, backing.length) == (disk.file_offset, disk.file_size)
        assert package.manifest is not None
        assert backing.digest == f"SHA256:{package.manifest.entries[disk.require_member().name].hex}"


def test_a_time_has_nine_decimals(tmp_path: Path) -> None:
    source = package_of(tmp_path, vmdk())
    os.utime(source, ns=(0, 1_700_000_000_000_000_042))
    with open_package(source) as package:
        backing = placed(package).backing
    assert backing is not None
    assert backing.modified == "1700000000.000000042"


def test_an_open_file_is_linked_by_where_it_lies(tmp_path: Path) -> None:
    source = package_of(tmp_path, vmdk())
    with source.open("rb") as file, open_package(file) as package:
        backing = placed(package).backing
    assert backing is not None
    assert backing.path == str(source.resolve())


def test_the_manifest_is_checked_over_the_whole_member(tmp_path: Path) -> None:
    source = package_of(tmp_path, vmdk())
    content = bytearray(source.read_bytes())
    content[content.index(b"# Disk DescriptorFile") + 2] ^= 1
    source.write_bytes(content)
    with open_package(source) as package:
        sink = FileSink.create(tmp_path / "linked.qcow2")
        with pytest.raises(DigestError, match=r"disk1\.img") as caught:
            placed(package).write(sink, verify=True)
        sink.discard()
        unchecked = FileSink.create(tmp_path / "unchecked.qcow2")
        placed(package).write(unchecked, verify=False)
    assert caught.value.code == "E_DIGEST"
    qemu_img("check", "-f", "qcow2", tmp_path / "unchecked.qcow2")


def refusal(source: PackageSource, image_format: ImageFormat = ImageFormat.QCOW2) -> tuple[str, str]:
    with open_package(source) as package, pytest.raises(DiskError) as caught:
        placed(package, image_format)
    assert (caught.value.code, caught.value.where) == ("E_DISK_LINK", "disk1.img")
    return caught.value.message, caught.value.hint


def test_a_raw_image_is_refused(tmp_path: Path) -> None:
    assert refusal(package_of(tmp_path, vmdk()), ImageFormat.RAW) == (
        "the disk cannot be linked: the new image is raw, expected qcow2",
        "Leave out --format.",
    )


def test_bytes_in_memory_are_refused(tmp_path: Path) -> None:
    assert refusal(io.BytesIO(package_of(tmp_path, vmdk()).read_bytes())) == (
        "the disk cannot be linked: its bytes are no part of a local file as they are",
        "Save the package to a local file, without compression and chunks, or use --disk-mode expand.",
    )


def test_a_package_on_a_server_is_refused(tmp_path: Path) -> None:
    with serve({"/a.ova": package_of(tmp_path, vmdk())}) as server:
        message, _ = refusal(server.url("/a.ova"))
    assert message == "the disk cannot be linked: its bytes are no part of a local file as they are"


def test_a_package_without_a_name_is_refused(tmp_path: Path) -> None:
    source = package_of(tmp_path, vmdk())
    with source.open("rb") as file:
        source.unlink()
        message, hint = refusal(file)
    assert message.startswith(f"the disk cannot be linked: '{source.resolve()} (deleted)' does not lead to")
    assert hint == "Open the package by its path."


def test_a_package_whose_name_is_another_files_now_is_refused(tmp_path: Path) -> None:
    source = package_of(tmp_path, vmdk())
    with source.open("rb") as file:
        source.unlink()
        (tmp_path / "appliance.ova (deleted)").touch()
        message, _ = refusal(file)
    assert message.endswith("(deleted)' does not lead to the open package")


@pytest.mark.parametrize("name", [b"line\nfeed", b"bell\x07", b"latin\xfc"])
def test_a_path_that_no_domain_can_hold_is_refused(name: bytes, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    message, hint = refusal(package_of(folder, vmdk()))
    assert message.startswith("the disk cannot be linked: the path '/")
    assert message.endswith("appliance.ova' has control characters or is not UTF-8")
    assert hint == "Rename the package or its folder."


def test_a_path_that_is_too_long_for_an_image_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 250) / ("y" * 250) / ("z" * 250) / ("w" * 250)
    folder.mkdir(parents=True)
    message, hint = refusal(package_of(folder, vmdk()))
    assert re.fullmatch(
        r"the disk cannot be linked: what names it in the image has 1\d{3} bytes, expected at most 1023", message
    )
    assert hint == "Move the package to a place with a shorter path."


def test_a_disk_that_our_reader_refuses_is_not_given_to_qemu(tmp_path: Path) -> None:
    flat = '# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 8193 FLAT "/etc/passwd" 0\n'
    with open_package(package_of(tmp_path, vmdk(descriptor=flat))) as package, pytest.raises(DiskError) as caught:
        placed(package)
    assert caught.value.code == "E_DISK_TYPE"
