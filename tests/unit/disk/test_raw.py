"""Raw images, read and written."""

from array import array
from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, SECTOR, guest_bytes, member_of, random_disk
from virt_ova.disk.base import BlockMap, DiskFormat
from virt_ova.disk.raw import RawReader, RawWriter


@pytest.mark.parametrize("size", [1, 511, 512, 513, 64 * KIB, 64 * KIB + 1, MIB - 1])
def test_length_is_rounded_up_to_sectors(tmp_path: Path, size: int) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * size)
    assert guest_bytes(path) == b"x" * size + bytes(-size % SECTOR)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.touch()
    with member_of(path) as member:
        block_map = RawReader(member, disk_format=DiskFormat.ISO).block_map
    assert (block_map.capacity_bytes, len(block_map)) == (0, 0)


def test_part_of_a_member(tmp_path: Path) -> None:
    path = random_disk(tmp_path / "disk.img", MIB, range(16))
    with member_of(path) as member:
        reader = RawReader(member, disk_format=DiskFormat.VHD, size_bytes=100 * KIB)
        assert reader.format is DiskFormat.VHD
        assert reader.block_map.capacity_bytes == 100 * KIB
        stored = memoryview(path.read_bytes())[: 128 * KIB]
        assert b"".join(reader.decode(stored, 0, range(2))) == path.read_bytes()[: 100 * KIB]
        assert b"".join(reader.decode(stored[64 * KIB :], 64 * KIB, range(1, 2))) == stored[64 * KIB : 100 * KIB]


def test_blocks_of_zeros_are_found_by_reading(tmp_path: Path) -> None:
    path = random_disk(tmp_path / "disk.img", 10 * 64 * KIB + 700, [2, 5, 9])
    with member_of(path) as member:
        reader = RawReader(member, disk_format=DiskFormat.RAW)
        assert list(reader.zero_ordinals()) == [0, 1, 3, 4, 6, 7, 8, 10]


def test_writer_places_blocks_where_the_guest_sees_them() -> None:
    def writer(numbers: list[int]) -> RawWriter:
        return RawWriter(
            BlockMap(
                capacity_bytes=MIB,
                block_bytes=4096,
                numbers=array("I", numbers),
                offsets=range(len(numbers)),
                max_stored_bytes=4096,
            )
        )

    assert writer([7, 3]).offset_of(0) == 7 * 4096
    assert writer([7, 3]).size_bytes == MIB
    assert not writer([7, 3]).is_rising
    assert writer([3, 7]).is_rising
    assert writer([]).is_rising
    assert not writer([3]).maps_blocks
    assert list(writer([3]).metadata(bytearray(1))) == []
