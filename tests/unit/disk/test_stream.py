"""Disks of all kinds made stream-optimized VMDKs, judged by qemu-img and by both of our own readers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, SECTOR, convert, guest_bytes, member_of, qemu_img, random_disk, sparse_vmdk
from tests.build.pipes import reader_of
from virt_ova.disk.base import Buffer, DiskFormat
from virt_ova.disk.forward import open_forward
from virt_ova.disk.opener import open_disk
from virt_ova.disk.vmdk import layout
from virt_ova.disk.vmdk.stream import measure, send_stream
from virt_ova.errors import SourceError

GRAIN = 64 * KIB
USED = [0, 1, 2, 511, 512, 700, 1599]
SIZE = 100 * MIB


class Taker:
    """A sink that takes bytes in order, without gaps but for zeros."""

    in_order = True

    def __init__(self) -> None:
        self.data = bytearray()
        self.finished = -1

    def fileno(self) -> None:
        """Nowhere."""

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """Take them."""
        assert offset >= len(self.data)
        self.data += bytes(offset - len(self.data))
        for buffer in buffers:
            self.data += buffer

    def finish(self, size_bytes: int) -> None:
        """It ends here."""
        self.finished = size_bytes


def streamed(path: Path, target: Path) -> Path:
    """The disk at `path` as a stream-optimized VMDK at `target`."""
    with member_of(path) as member:
        reader, sink, done = open_disk(member), Taker(), list[int]()
        plan = measure(member, reader)
        send_stream(member, reader, plan, sink, advance=done.append)
        assert plan.size_bytes == len(sink.data) == sink.finished
        assert plan.capacity_bytes == -(-reader.block_map.capacity_bytes // GRAIN) * GRAIN
    target.write_bytes(sink.data)
    return target


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_disk(tmp_path_factory.mktemp("disks") / "d.raw", SIZE, USED)


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("raw", []),
        ("qcow2", []),
        ("qcow2", ["-c"]),
        ("qcow2", ["cluster_size=4096"]),
        ("qcow2", ["cluster_size=2M"]),
        ("vpc", ["subformat=dynamic,force_size=on"]),
        ("vhdx", []),
        ("vdi", []),
        ("vmdk", ["subformat=monolithicSparse"]),
        ("vmdk", ["subformat=streamOptimized"]),
    ],
    ids=str,
)
def test_every_kind_becomes_one_that_says_the_same(tmp_path: Path, raw: Path, driver: str, options: list[str]) -> None:
    source = raw if driver == "raw" else convert(raw, tmp_path / "source", driver, *options)
    target = streamed(source, tmp_path / "d.vmdk")
    assert guest_bytes(target) == raw.read_bytes()
    qemu_img("compare", "-f", "raw", "-F", "vmdk", raw, target)
    with member_of(target) as member:
        assert open_disk(member).format is DiskFormat.VMDK_STREAM
    disk = open_forward(reader_of(target.read_bytes()), size_bytes=target.stat().st_size)
    blocks = [
        number for piece in disk.pieces() for number in (disk.block_map.numbers[ordinal] for ordinal in piece.ordinals)
    ]
    disk.finish()
    assert blocks == USED


def test_what_esxi_looks_for_is_there(tmp_path: Path, raw: Path) -> None:
    data = streamed(raw, tmp_path / "d.vmdk").read_bytes()
    magic, version, flags = struct.unpack_from("<4sII", data)
    assert (magic, version, flags) == (b"KDMV", 3, 0x30001)
    header = layout.parse_header(data[:512])
    assert header.directory_offset == layout.GD_AT_END
    footer = layout.parse_header(data[-2 * SECTOR : -SECTOR])
    assert footer.directory_offset != layout.GD_AT_END
    assert data[-SECTOR:] == bytes(SECTOR)
    assert struct.unpack_from("<QII", data, len(data) - 3 * SECTOR) == (1, 0, 3)
    assert struct.unpack_from("<QII", data, (footer.directory_offset - 1) * SECTOR)[1:] == (0, 2)
    assert b'createType="streamOptimized"' in data[SECTOR : 21 * SECTOR]


@pytest.mark.parametrize("size", [SECTOR, GRAIN - SECTOR, GRAIN, GRAIN + SECTOR, 32 * MIB + SECTOR])
def test_a_last_grain_that_is_not_whole_is_filled_up(tmp_path: Path, size: int) -> None:
    source = random_disk(tmp_path / "d.raw", size, [0, (size - 1) // GRAIN])
    target = streamed(source, tmp_path / "d.vmdk")
    assert guest_bytes(target) == source.read_bytes().ljust(-(-size // GRAIN) * GRAIN, b"\0")


def test_an_empty_disk(tmp_path: Path) -> None:
    source = random_disk(tmp_path / "d.raw", 64 * MIB, [])
    target = streamed(source, tmp_path / "d.vmdk")
    assert guest_bytes(target) == bytes(64 * MIB)
    assert target.stat().st_size < 256 * SECTOR


def test_blocks_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    grains = {number: bytes([number + 1]) * GRAIN for number in range(20)}
    path = tmp_path / "s.vmdk"
    path.write_bytes(sparse_vmdk(20 * GRAIN // SECTOR, dict(reversed(grains.items()))))
    assert guest_bytes(streamed(path, tmp_path / "d.vmdk")) == b"".join(grains.values())


def test_a_disk_that_changes_meanwhile_is_found(tmp_path: Path) -> None:
    path = random_disk(tmp_path / "d.raw", 4 * MIB, range(64))
    with member_of(path) as member:
        reader = open_disk(member)
        plan = measure(member, reader)
        path.write_bytes(bytes(reversed(path.read_bytes()[:MIB])) + b"x" * 3 * MIB)
        with pytest.raises(SourceError) as caught:
            send_stream(member, reader, plan, Taker(), advance=lambda _: None)
    assert (caught.value.code, str(caught.value)) == (
        "E_CHANGED",
        "d.raw: a block differs from what it was when it was measured, expected a file that nobody changes",
    )
