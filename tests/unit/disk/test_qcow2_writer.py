"""The layout of new qcow2 images: arithmetic, checked by qemu-img."""

import json
import random
import struct
from array import array
from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, guest_bytes, qemu_img
from virt_ova.disk.base import BlockMap
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.errors import DiskError


def map_of(numbers: list[int], *, block_bytes: int = 64 * KIB, capacity_bytes: int | None = None) -> BlockMap:
    return BlockMap(
        capacity_bytes=capacity_bytes or (max(numbers, default=0) + 1) * block_bytes,
        block_bytes=block_bytes,
        numbers=array("Q", numbers),
        offsets=range(len(numbers)),
        max_stored_bytes=block_bytes,
    )


def write(path: Path, block_map: BlockMap, zeros: frozenset[int] = frozenset()) -> dict[str, int]:
    """Write the image with ordinal n + 1 as the bytes of block n; what qemu-img check says of it."""
    writer = Qcow2Writer(block_map)
    is_zero = bytearray(ordinal in zeros for ordinal in range(len(block_map)))
    end = 0
    with path.open("wb") as file:
        for offset, data in writer.metadata(is_zero):
            assert offset >= end, "metadata rises"
            file.seek(offset)
            end = offset + file.write(data)
        for ordinal in range(len(block_map)):
            assert writer.offset_of(ordinal) >= end
            if ordinal not in zeros:
                file.seek(writer.offset_of(ordinal))
                end = file.tell() + file.write(struct.pack("<I", ordinal + 1) * (block_map.block_bytes // 4))
        assert end <= writer.size_bytes
        file.truncate(writer.size_bytes)
    checked: dict[str, int] = json.loads(qemu_img("check", "-f", "qcow2", "--output=json", path))
    return checked


@pytest.mark.parametrize("block_bytes", [512, 4 * KIB, 64 * KIB, 2 * MIB])
@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_clusters_of_every_size(tmp_path: Path, block_bytes: int, count: int) -> None:
    numbers = random.Random(count).sample(range(count * 3 + 1), count)  # noqa: S311 - test data
    block_map = map_of(numbers, block_bytes=block_bytes, capacity_bytes=count * 3 * block_bytes + 512)
    checked = write(tmp_path / "disk", block_map)
    assert checked.get("allocated-clusters", 0) == count
    disk = guest_bytes(tmp_path / "disk")
    for ordinal, number in enumerate(numbers):
        assert disk[number * block_bytes :][:4] == struct.pack("<I", ordinal + 1)
    assert sum(any(disk[at : at + 512]) for at in range(0, len(disk), block_bytes)) == count


@pytest.mark.parametrize("count", [*range(225, 262), 32 * 256, 32 * 256 + 1, 40_000])
def test_refcount_blocks_count_themselves(tmp_path: Path, count: int) -> None:
    """In clusters of 512 bytes a refcount block counts 256 of them, and the table names 64 blocks a cluster."""
    checked = write(tmp_path / "disk", map_of(list(range(count)), block_bytes=512))
    assert checked["check-errors"] == 0
    assert "leaks" not in checked
    assert checked["allocated-clusters"] == count


@pytest.mark.parametrize("zeros", [{0}, {299}, {1, 2, 3, 255, 256, 257}, set(range(300)), set(range(0, 300, 2))])
def test_blocks_of_zeros_are_left_out(tmp_path: Path, zeros: set[int]) -> None:
    checked = write(tmp_path / "disk", map_of(list(range(299, -1, -1)), block_bytes=512), frozenset(zeros))
    assert "leaks" not in checked
    assert checked.get("allocated-clusters", 0) == 300 - len(zeros)


def test_large_sparse_disk(tmp_path: Path) -> None:
    """1 TiB with three blocks: an L1 table of 2,048 entries and three L2 tables."""
    numbers = [(1 << 24) - 1, 0, 1 << 20]
    block_map = map_of(numbers)
    writer = Qcow2Writer(block_map)
    geometry = writer.geometry
    assert (geometry.l2_start - geometry.l1_start, geometry.data_start - geometry.l2_start, geometry.data) == (1, 3, 3)
    assert writer.size_bytes == 10 * 64 * KIB
    assert write(tmp_path / "disk", block_map)["allocated-clusters"] == 3
    assert '"virtual-size": 1099511627776' in qemu_img("info", "--output=json", tmp_path / "disk")


def test_every_offset_is_known_beforehand() -> None:
    writer = Qcow2Writer(map_of([9, 2, 5]))
    assert writer.is_rising
    assert writer.maps_blocks
    assert [writer.offset_of(ordinal) // (64 * KIB) for ordinal in range(3)] == [5, 6, 7]
    before, after = (dict(writer.metadata(bytearray(flags))) for flags in (b"\0\0\0", b"\0\1\0"))
    assert before.keys() == after.keys()


@pytest.mark.parametrize("capacity", [0, (64 << 40) + 512])
def test_sizes_that_no_image_has(capacity: int) -> None:
    block_map = BlockMap(capacity_bytes=capacity, block_bytes=64 * KIB, numbers=(), offsets=(), max_stored_bytes=0)
    with pytest.raises(DiskError, match=f"^the disk has {capacity} bytes, expected 512 to 70368744177664$") as caught:
        Qcow2Writer(block_map)
    assert caught.value.code == "E_DISK_SIZE"
