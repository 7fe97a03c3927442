import hashlib
import os
import random
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build.disks import (
    KIB,
    MIB,
    SECTOR,
    OrderedSink,
    convert,
    guest_bytes,
    member_of,
    patch,
    qemu_img,
    random_disk,
    sparse_vmdk,
)
from tests.unit.disk.test_copy import Recorder
from virt_ova.disk.opener import open_disk
from virt_ova.disk.pump import Hasher
from virt_ova.disk.qcow2.transplant import MAX_EXPANDED, TransplantLayout
from virt_ova.disk.sink import FileSink
from virt_ova.disk.transplant import TooManyExpandedError, can_transplant, transplant_disk
from virt_ova.disk.vmdk import layout as vmdk
from virt_ova.errors import DiskError
from virt_ova.source.base import Member


def transplant(member: Member, target: Path, *, in_order: bool = False, hasher: Hasher | None = None) -> int:
    """Transplant the disk in `member` to a new qcow2; says how many grains were expanded."""
    reader = open_disk(member)
    assert can_transplant(reader)
    layout = TransplantLayout(reader.block_map, member_offset=member.offset, member_bytes=member.size)
    with closing(OrderedSink(target) if in_order else FileSink.create(target)) as sink:
        transplant_disk(member, reader, layout, sink, hasher=hasher)
    return (target.stat().st_size - layout.size_bytes(0)) // reader.block_map.block_bytes


def checked(target: Path) -> str:
    """What ``qemu-img check`` says of a clean image."""
    return qemu_img("check", "--output=json", target)


def damaged(image: Path, grain: int, at: int, data: bytes) -> DiskError:
    """The error when `data` stand at byte `at` of the grain with this ordinal."""
    with member_of(image) as member:
        patch(image, open_disk(member).block_map.offsets[grain] + at, data)
    with member_of(image) as member, pytest.raises(DiskError) as caught:
        transplant(member, image.with_suffix(".out"), hasher=Recorder())
    return caught.value


@pytest.mark.parametrize("grain_sectors", [8, 16, 32, 64, 128, 256, 512, 1024, 2048])
@pytest.mark.parametrize("in_order", [False, True], ids=["file", "stream"])
def test_every_grain_size(tmp_path: Path, grain_sectors: int, *, in_order: bool) -> None:
    size = grain_sectors * SECTOR
    rng = random.Random(grain_sectors)  # noqa: S311 - test data
    grains = {number: rng.randbytes(size // 2) + bytes(size // 2) for number in (0, 1, 2, 5, 700)}
    image, raw = tmp_path / "disk.vmdk", tmp_path / "raw"
    image.write_bytes(sparse_vmdk(701 * grain_sectors, grains, grain_sectors=grain_sectors))
    with raw.open("wb") as file:
        file.truncate(701 * size)
        for number, data in grains.items():
            file.seek(number * size)
            file.write(data)
    with member_of(image) as member:
        assert transplant(member, tmp_path / "out", in_order=in_order) == 0
    assert '"compressed-clusters": 5' in checked(tmp_path / "out")
    assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", tmp_path / "out", raw)


@pytest.mark.parametrize("offset", [0, 512, 1536, 4096, 5120])
def test_any_place_in_the_package(tmp_path: Path, offset: int) -> None:
    raw = random_disk(tmp_path / "raw", 4 * MIB, range(0, 64, 3))
    image = convert(raw, tmp_path / "disk.vmdk", "vmdk", "subformat=streamOptimized")
    package = tmp_path / "package"
    package.write_bytes(bytes(offset) + image.read_bytes())
    recorder = Recorder()
    with member_of(package, offset=offset) as member:
        transplant(member, tmp_path / "out", hasher=recorder)
    assert recorder.data == image.read_bytes()
    checked(tmp_path / "out")
    assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", tmp_path / "out", raw)


def test_the_partial_last_grain_is_expanded(tmp_path: Path) -> None:
    """As qemu-img writes it; taken as it is, QEMU would read an error."""
    raw = random_disk(tmp_path / "raw", 3 * MIB + 5 * SECTOR, [0, 7, 48])
    image = convert(raw, tmp_path / "disk.vmdk", "vmdk", "subformat=streamOptimized")
    with member_of(image) as member:
        assert transplant(member, tmp_path / "out") == 1
    assert '"compressed-clusters": 2' in checked(tmp_path / "out")
    assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", tmp_path / "out", raw)


def with_dictionary(data: bytes) -> bytes:
    """`data` as a zlib stream that nobody can inflate without its dictionary."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, b"dictionary")
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("in_order", [False, True], ids=["file", "stream"])
def test_a_preset_dictionary_is_no_grain(tmp_path: Path, *, in_order: bool) -> None:
    """FDICT is noticed, and the grain handed to the decoder, which cannot read it either and says so."""
    image = tmp_path / "disk.vmdk"
    image.write_bytes(sparse_vmdk(256, {0: b"a" * 64 * KIB, 1: b"b" * 64 * KIB}))
    packed = with_dictionary(b"a" * 64 * KIB)
    with member_of(image) as member:
        offset = open_disk(member).block_map.offsets[0]
    patch(image, offset, vmdk.GRAIN_MARKER.pack(0, len(packed)) + packed)
    with member_of(image) as member, pytest.raises(DiskError) as caught:
        transplant(member, tmp_path / "out", in_order=in_order)
    assert caught.value.code == "E_DISK_GRAIN"
    assert "its zlib stream is damaged" in caught.value.message


def test_too_many_odd_grains(tmp_path: Path) -> None:
    """More than there is room for: the disk is better expanded as a whole."""
    count = MAX_EXPANDED + 1
    grains = {number: bytes([number]) * 4096 for number in range(count)}
    image = tmp_path / "disk.vmdk"
    image.write_bytes(sparse_vmdk(count * 8, grains, grain_sectors=8))
    with member_of(image) as member:
        offsets = open_disk(member).block_map.offsets
    for number, offset in enumerate(offsets):
        packed = with_dictionary(grains[number])
        patch(image, offset, vmdk.GRAIN_MARKER.pack(number * 8, len(packed)) + packed)
    with member_of(image) as member, pytest.raises(TooManyExpandedError) as caught:
        transplant(member, tmp_path / "out", hasher=Recorder())
    assert caught.value.code == "E_DISK_TRANSPLANT"
    assert caught.value.message == "65 grains cannot be taken as they are, expected at most 64"
    assert caught.value.hint == "Use --disk-mode expand."


def test_damaged_markers(tmp_path: Path) -> None:
    image = tmp_path / "disk.vmdk"
    image.write_bytes(sparse_vmdk(256, {0: b"a" * 64 * KIB, 1: b"b" * 64 * KIB}))
    error = damaged(image, 1, 0, struct.pack("<Q", 7))
    assert (error.code, error.where) == ("E_DISK_GRAIN", "disk.vmdk")
    assert error.message.endswith("is damaged: its marker names sector 7, expected sector 128")
    (tmp_path / "disk.out").unlink()
    image.write_bytes(sparse_vmdk(256, {0: b"a" * 64 * KIB, 1: b"b" * 64 * KIB}))
    assert (
        "is damaged: its marker claims 9999999 bytes, expected 1 to"
        in damaged(image, 0, 8, struct.pack("<I", 9_999_999)).message
    )


def test_what_cannot_be_transplanted(tmp_path: Path) -> None:
    raw = random_disk(tmp_path / "raw", MIB, [0, 3])
    for driver, options in (("qcow2", ()), ("vmdk", ("subformat=monolithicSparse",))):
        image = convert(raw, tmp_path / f"disk.{driver}", driver, *options)
        with member_of(image) as member:
            assert not can_transplant(open_disk(member))


@pytest.mark.parametrize("piece_bytes", [4096, 64 * KIB, 1 * MIB])
def test_result_does_not_depend_on_the_piece_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    for module in ("pump", "transplant"):
        monkeypatch.setattr(f"virt_ova.disk.{module}.PIECE_BYTES", piece_bytes)
    raw = random_disk(tmp_path / "raw", 4 * MIB, range(0, 64, 2))
    image = convert(raw, tmp_path / "disk.vmdk", "vmdk", "subformat=streamOptimized")
    recorder = Recorder()
    with member_of(image) as member:
        transplant(member, tmp_path / "out", hasher=recorder)
    assert recorder.data == image.read_bytes()
    assert guest_bytes(tmp_path / "out") == raw.read_bytes()


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 1100), unique=True, max_size=40),
    seed=st.integers(0, 1 << 16),
    tail=st.integers(0, 7),
    in_order=st.booleans(),
)
def test_grains_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], seed: int, tail: int, *, in_order: bool
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    rng = random.Random(seed)  # noqa: S311 - test data
    capacity = 1100 * 8 + tail + 1
    grains = {number: rng.randbytes(min(4096, capacity * SECTOR - number * 4096)) for number in numbers}
    image = folder / "disk.vmdk"
    image.write_bytes(sparse_vmdk(capacity, grains, grain_sectors=8, order=lambda keys: rng.sample(keys, len(keys))))
    with member_of(image) as member:
        transplant(member, folder / "out", in_order=in_order, hasher=Recorder())
    checked(folder / "out")
    raw = folder / "raw"
    with raw.open("wb") as file:
        file.truncate(capacity * SECTOR)
        for number, data in grains.items():
            file.seek(number * 4096)
            file.write(data)
    assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", folder / "out", raw)


@pytest.fixture(params=["xfs", "btrfs"])
def sharing_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that can share blocks, on a loop device."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * MIB)
    subprocess.run([f"mkfs.{request.param}", "-q", image], check=True, capture_output=True)
    mount = subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"loop devices cannot be mounted here: {mount.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("offset", [0, 1536])
def test_blocks_are_shared(sharing_folder: Path, offset: int) -> None:
    raw = random_disk(sharing_folder / "raw", 64 * MIB, range(0, 1024, 2))
    image = convert(raw, sharing_folder / "disk.vmdk", "vmdk", "subformat=streamOptimized")
    package = sharing_folder / "package"
    package.write_bytes(bytes(offset) + image.read_bytes())
    subprocess.run(["sync", "-f", sharing_folder], check=True)
    before = free_bytes(sharing_folder)
    digest = hashlib.sha256()
    with member_of(package, offset=offset) as member:
        transplant(member, sharing_folder / "out", hasher=digest)
    subprocess.run(["sync", "-f", sharing_folder], check=True)
    assert before - free_bytes(sharing_folder) < image.stat().st_size / 4
    assert digest.digest() == hashlib.sha256(image.read_bytes()).digest()
    checked(sharing_folder / "out")
    assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", sharing_folder / "out", raw)


def free_bytes(folder: Path) -> int:
    """Room left on the file system of `folder`."""
    done = subprocess.run(["stat", "-f", "-c", "%S %f", folder], check=True, capture_output=True, text=True)
    size, count = map(int, done.stdout.split())
    return size * count
