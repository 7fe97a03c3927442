"""The copy engine: every format, to qcow2 and raw, to a file and to a stream; qemu-img is the oracle."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.build.disks import (
    KIB,
    MIB,
    SECTOR,
    OrderedSink,
    convert,
    copy_to,
    guest_bytes,
    member_of,
    patch,
    qemu_img,
    random_disk,
    sparse_vmdk,
)
from virt_ova.disk import copy, pump
from virt_ova.disk.base import BlockMap, Buffer
from virt_ova.disk.copy import copy_disk, cut
from virt_ova.disk.opener import open_disk
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.disk.sink import FileSink
from virt_ova.errors import DiskError, SourceError, SpaceError

USED = (0, 1, 5, 33, 40, 47)
SIZE = 3 * MIB + 3 * SECTOR

FORMATS = {
    "raw": ("raw",),
    "vmdk-stream": ("vmdk", "subformat=streamOptimized"),
    "vmdk-sparse": ("vmdk", "subformat=monolithicSparse"),
    "vhd-dynamic": ("vpc", "force_size=on"),
    "vhd-fixed": ("vpc", "subformat=fixed,force_size=on"),
    "vdi": ("vdi",),
    "vdi-static": ("vdi", "static=on"),
    "vhdx": ("vhdx",),
    "vhdx-fixed": ("vhdx", "subformat=fixed,block_size=1M"),
    "qcow2": ("qcow2",),
    "qcow2-v2": ("qcow2", "compat=0.10"),
    "qcow2-zlib": ("qcow2", "-c"),
    "qcow2-zstd": ("qcow2", "-c", "compression_type=zstd"),
    "qcow2-512": ("qcow2", "cluster_size=512"),
    "qcow2-4k-zlib": ("qcow2", "-c", "cluster_size=4k"),
    "qcow2-2m": ("qcow2", "cluster_size=2M"),
    "qcow2-2m-zlib": ("qcow2", "-c", "cluster_size=2M"),
    "qcow2-preallocated": ("qcow2", "preallocation=metadata"),
}

UNORDERED = {("qcow2-4k-zlib", "raw", True)}
"""qemu-img stores small compressed clusters in any order; such a disk does not go to a raw stream."""


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return random_disk(tmp_path / "disk.raw", SIZE, USED)


@pytest.mark.parametrize(
    ("name", "driver", "in_order"),
    [
        pytest.param(name, driver, in_order, id=f"{name}-{driver}-{'stream' if in_order else 'file'}")
        for name in FORMATS
        for driver in ("qcow2", "raw")
        for in_order in (False, True)
        if (name, driver, in_order) not in UNORDERED
    ],
)
def test_copy_is_the_same_disk(tmp_path: Path, raw: Path, name: str, driver: str, *, in_order: bool) -> None:
    source = convert(raw, tmp_path / "source", *FORMATS[name])
    target, hasher = tmp_path / "target", hashlib.sha256()
    with member_of(source) as member:
        copy_to(member, target, driver, in_order=in_order, hasher=hasher)
    if driver == "qcow2":
        qemu_img("check", "-f", "qcow2", target)
    qemu_img("compare", "-f", "raw", "-F", driver, raw, target)
    assert hasher.digest() == hashlib.sha256(source.read_bytes()).digest()


@pytest.mark.parametrize("name", ["vmdk-stream", "qcow2-zlib", "raw"])
def test_member_inside_a_package(tmp_path: Path, raw: Path, name: str) -> None:
    image = convert(raw, tmp_path / "source", *FORMATS[name]).read_bytes()
    package = tmp_path / "package"
    package.write_bytes(b"x" * 1536 + image)
    with member_of(package, offset=1536) as member:
        copy_to(member, tmp_path / "target", "raw")
    assert (tmp_path / "target").read_bytes() == raw.read_bytes()


def test_blocks_of_zeros_take_no_space(tmp_path: Path) -> None:
    raw = random_disk(tmp_path / "disk.raw", 8 * MIB, [3])
    with member_of(raw) as member:
        copy_to(member, tmp_path / "a", "qcow2")
        copy_to(member, tmp_path / "b", "raw")
        copy_to(member, tmp_path / "c", "qcow2", in_order=True)
    for name in "abc":
        assert (tmp_path / name).stat().st_blocks * SECTOR < 512 * KIB
    for name in "ac":
        assert '"allocated-clusters": 1' in qemu_img("check", "--output=json", tmp_path / name)


class Recorder:
    def __init__(self) -> None:
        self.data = bytearray()

    def update(self, data: Buffer) -> None:
        self.data += data


@pytest.mark.parametrize("piece_bytes", [17, 512, 64 * KIB, 1 * MIB])
@pytest.mark.parametrize("in_order", [False, True], ids=["file", "stream"])
def test_result_does_not_depend_on_the_piece_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int, *, in_order: bool
) -> None:
    for module in (copy, pump):
        monkeypatch.setattr(module, "PIECE_BYTES", piece_bytes)
    image = tmp_path / "disk.vmdk"
    grains = {number: bytes([number + 1]) * 4096 for number in range(0, 40, 3)}
    image.write_bytes(sparse_vmdk(320, grains, grain_sectors=8, order=lambda numbers: numbers[::-1]))
    recorder, advanced = Recorder(), list[int]()
    with member_of(image) as member:
        reader = open_disk(member)
        sink = OrderedSink(tmp_path / "out") if in_order else FileSink.create(tmp_path / "out")
        copy_disk(member, reader, Qcow2Writer(reader.block_map), sink, hasher=recorder, advance=advanced.append)
    assert recorder.data == image.read_bytes()
    assert sum(advanced) == image.stat().st_size
    qemu_img("check", tmp_path / "out")
    assert guest_bytes(tmp_path / "out") == b"".join(grains.get(number, bytes(4096)) for number in range(40))


def test_without_a_digest_only_blocks_are_read(tmp_path: Path, raw: Path) -> None:
    source = convert(raw, tmp_path / "source", "vdi")
    advanced = list[int]()
    with member_of(source) as member:
        reader = open_disk(member)
        sink = FileSink.create(tmp_path / "out")
        copy_disk(member, reader, RawWriter(reader.block_map), sink, advance=advanced.append)
    assert sum(advanced) == 2 * MIB < source.stat().st_size
    assert (tmp_path / "out").read_bytes() == raw.read_bytes()


def test_out_of_order_blocks_are_refused_for_a_raw_stream_before_anything_is_written(tmp_path: Path) -> None:
    image = tmp_path / "disk.vmdk"
    grains = {0: b"a" * 4096, 1: b"b" * 4096}
    image.write_bytes(sparse_vmdk(16, grains, grain_sectors=8, order=lambda numbers: numbers[::-1]))
    with member_of(image) as member, pytest.raises(DiskError) as caught:
        copy_to(member, tmp_path / "out", "raw", in_order=True)
    assert caught.value.code == "E_DISK_ORDER"
    assert str(caught.value) == (
        "disk.vmdk: its blocks are not stored in the guest's order, "
        "expected so for a raw image that is sent as a stream"
    )
    assert (tmp_path / "out").stat().st_size == 0


def test_a_block_that_changes_after_it_was_found_empty(tmp_path: Path) -> None:
    raw = random_disk(tmp_path / "disk.raw", MIB, [0])

    class Meddler(OrderedSink):
        def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
            patch(raw, 5 * 64 * KIB, b"late")
            super().write_at(offset, buffers)

    with member_of(raw) as member, closing(Meddler(tmp_path / "out")) as sink:
        reader = open_disk(member)
        with pytest.raises(SourceError) as caught:
            copy_disk(member, reader, Qcow2Writer(reader.block_map), sink)
    assert caught.value.code == "E_CHANGED"
    assert str(caught.value) == "disk.raw: a block that held zeros now holds data, expected a file that nobody changes"


@pytest.mark.parametrize("in_order", [False, True], ids=["file", "stream"])
def test_a_full_target_stops_the_copy(raw: Path, *, in_order: bool) -> None:
    class Full:
        def __init__(self) -> None:
            self.in_order = in_order

        def fileno(self) -> None:
            pass

        def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
            if offset + sum(map(len, buffers)) > MIB:
                raise SpaceError("full", code="E_SPACE")

        def finish(self, size_bytes: int) -> None:
            raise AssertionError(size_bytes)

    with member_of(raw) as member:
        reader = open_disk(member)
        with pytest.raises(SpaceError, match="full"):
            copy_disk(member, reader, RawWriter(reader.block_map), Full(), hasher=hashlib.sha256())


def test_a_damaged_grain_stops_the_copy(tmp_path: Path) -> None:
    image = tmp_path / "disk.vmdk"
    image.write_bytes(sparse_vmdk(16, {1: b"b" * 4096}, grain_sectors=8))
    with member_of(image) as member:
        patch(image, open_disk(member).block_map.offsets[0], b"\x09")
        with pytest.raises(DiskError) as caught:
            copy_to(member, tmp_path / "out", "qcow2")
    assert caught.value.code == "E_DISK_GRAIN"


def test_a_source_that_is_cut_while_it_is_read(tmp_path: Path, raw: Path) -> None:
    with member_of(raw) as member:
        reader = open_disk(member)
        with raw.open("r+b") as file:
            file.truncate(MIB)
        with closing(FileSink.create(tmp_path / "out")) as sink, pytest.raises(SourceError) as caught:
            copy_disk(member, reader, RawWriter(reader.block_map), sink)
    assert caught.value.code == "E_SOURCE_TRUNCATED"


def test_pieces_cover_the_member_once_and_hold_whole_blocks() -> None:
    offsets = [700, 2000, 2 * MIB + 5, 2 * MIB + 900, 9 * MIB]
    block_map = BlockMap(
        capacity_bytes=MIB, block_bytes=4 * KIB, numbers=[7, 1, 2, 9, 4], offsets=offsets, max_stored_bytes=1000
    )
    pieces = list(cut(block_map, 10 * MIB, every_byte=True))
    assert [piece.offset for piece in pieces] == [
        sum(piece.size for piece in pieces[:index]) for index in range(len(pieces))
    ]
    assert sum(piece.size for piece in pieces) == 10 * MIB
    assert max(piece.size for piece in pieces) <= 2 * MIB
    assert [ordinal for piece in pieces for ordinal in piece.ordinals] == list(range(5))
    for piece in pieces:
        for ordinal in piece.ordinals:
            end = min([offsets[ordinal] + 1000, *offsets[ordinal + 1 : ordinal + 2]])
            assert piece.offset <= offsets[ordinal] < end <= piece.offset + piece.size
    assert list(cut(block_map, 10 * MIB, every_byte=False)) == [p for p in pieces if p.ordinals]
