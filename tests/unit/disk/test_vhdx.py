"""VHDX, dynamic and fixed; as written by qemu-img and patched, with its checksums made right again."""

import struct
import time
from pathlib import Path
from uuid import UUID

import pytest

from tests.build.disks import (
    KIB,
    MIB,
    SECTOR,
    bytes_by_qemu,
    convert,
    copy_to,
    guest_bytes,
    member_of,
    patch,
    random_disk,
    refusal,
)
from virt_ova.disk.base import DiskFormat
from virt_ova.disk.opener import open_disk
from virt_ova.disk.vhdx import layout
from virt_ova.errors import DiskError

SIZE = 5 * MIB + 3 * SECTOR
FIRST, SECOND = layout.HEADER_OFFSETS
REGIONS = layout.REGION_TABLE_OFFSET


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return random_disk(tmp_path / "disk.raw", SIZE, [0, 1, 33, 80])


@pytest.fixture
def dynamic(tmp_path: Path, raw: Path) -> Path:
    return convert(raw, tmp_path / "disk.vhdx", "vhdx", "block_size=1M")


def repair(path: Path) -> None:
    """Make the checksums of headers and region table right again."""
    data = path.read_bytes()
    for offset, size in ((FIRST, 4 * KIB), (SECOND, 4 * KIB), (REGIONS, 64 * KIB)):
        patch(path, offset + 4, struct.pack("<I", layout.checksum_of(data[offset : offset + size])))


def change(path: Path, offset: int, value: bytes) -> Path:
    patch(path, offset, value)
    repair(path)
    return path


def region(path: Path, which: UUID) -> int:
    """Where a region lies."""
    return layout.parse_regions(path.read_bytes()[REGIONS : REGIONS + 64 * KIB])[which].offset


def item(path: Path, which: UUID) -> int:
    """Where a metadata item lies."""
    start = region(path, layout.METADATA_REGION)
    return start + layout.parse_metadata(path.read_bytes()[start : start + 64 * KIB])[which].offset


def region_entry(path: Path, which: UUID) -> int:
    """Where a region's entry in the region table lies."""
    return path.read_bytes().index(which.bytes_le, REGIONS)


def item_entry(path: Path, which: UUID) -> int:
    """Where an item's entry in the metadata table lies."""
    return path.read_bytes().index(which.bytes_le, region(path, layout.METADATA_REGION))


def test_dynamic(dynamic: Path, raw: Path) -> None:
    assert guest_bytes(dynamic) == raw.read_bytes()
    with member_of(dynamic) as member:
        reader = open_disk(member)
        assert reader.format is DiskFormat.VHDX
        assert reader.block_map.capacity_bytes == SIZE
        assert reader.block_map.block_bytes == 64 * KIB


@pytest.mark.parametrize("block", ["1M", "8M", "256M"])
@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_block_sizes(tmp_path: Path, raw: Path, block: str, kind: str) -> None:
    image = convert(raw, tmp_path / "disk.vhdx", "vhdx", f"subformat={kind},block_size={block}")
    assert guest_bytes(image) == raw.read_bytes()


def test_sector_bitmaps_are_skipped_in_the_table(tmp_path: Path) -> None:
    """Blocks of 1 MiB make chunks of 4096: entry 4096 of the BAT belongs to a bitmap."""
    used = (0, 4095 * 16 + 7, 4096 * 16, 4099 * 16 + 1)
    raw = random_disk(tmp_path / "r", 4100 * MIB, used)
    image = convert(raw, tmp_path / "disk.vhdx", "vhdx", "block_size=1M")
    bat = region(image, layout.BAT_REGION)
    patch(image, bat + 4096 * 8, struct.pack("<Q", 3 << 20 | layout.BLOCK_FULLY_PRESENT))
    with member_of(image) as member, raw.open("rb") as expected:
        reader = open_disk(member)
        numbers, offsets = list(reader.block_map.numbers), reader.block_map.offsets
        assert {number // 16 for number in numbers} == {0, 4095, 4096, 4099}
        for number in used:
            ordinal = numbers.index(number)
            stored = memoryview(member.read_at(offsets[ordinal], 64 * KIB))
            expected.seek(number * 64 * KIB)
            assert reader.decode(stored, offsets[ordinal], range(ordinal, ordinal + 1)) == [expected.read(64 * KIB)]


def test_sectors_of_4096_bytes(dynamic: Path, raw: Path) -> None:
    """QEMU reads 512 only; the layout of a small disk is the same but for its size."""
    patch(dynamic, item(dynamic, layout.LOGICAL_SECTOR_SIZE), struct.pack("<I", 4096))
    patch(dynamic, item(dynamic, layout.VIRTUAL_DISK_SIZE), struct.pack("<Q", 5 * MIB))
    assert guest_bytes(dynamic) == raw.read_bytes()[: 5 * MIB]


@pytest.mark.parametrize("state", [0, 1, 2, 3, 5])
def test_states_without_data(tmp_path: Path, dynamic: Path, raw: Path, state: int) -> None:
    bat = region(dynamic, layout.BAT_REGION)
    entry = struct.unpack_from("<Q", dynamic.read_bytes(), bat)[0]
    patch(dynamic, bat, struct.pack("<Q", entry & ~7 | state))
    expected = bytes(MIB) + raw.read_bytes()[MIB:]
    assert guest_bytes(dynamic) == expected == bytes_by_qemu(dynamic, "vhdx", tmp_path / "out")


@pytest.mark.parametrize("state", [4, 7])
def test_states_that_need_another_disk(dynamic: Path, state: int) -> None:
    bat = region(dynamic, layout.BAT_REGION)
    patch(dynamic, bat + 8, struct.pack("<Q", 8 << 20 | state))
    assert refusal(dynamic) == ("E_DISK_STRUCT", f"block 1 is in state {state}, expected 0 to 3, 5 or 6")


def test_crc_is_castagnoli_s() -> None:
    """The check value of the CRC catalogue, with a checksum of zeros in its place."""
    assert layout.checksum_of(bytes(32)) == 0x8A9136AA


@pytest.mark.parametrize("broken", [FIRST, SECOND])
def test_one_damaged_header_does_no_harm(dynamic: Path, raw: Path, broken: int) -> None:
    patch(dynamic, broken + 100, b"x")
    assert guest_bytes(dynamic) == raw.read_bytes()


def test_the_newer_header_counts(dynamic: Path, raw: Path) -> None:
    data = dynamic.read_bytes()
    newer, older = (
        (FIRST, SECOND)
        if struct.unpack_from("<Q", data, FIRST + 8) > struct.unpack_from("<Q", data, SECOND + 8)
        else (SECOND, FIRST)
    )
    change(dynamic, older + 48, b"\x11" * 16)
    assert guest_bytes(dynamic) == raw.read_bytes()
    change(dynamic, newer + 48, b"\x11" * 16)
    assert refusal(dynamic) == (
        "E_DISK_DIRTY",
        "the VHDX holds changes in its log, expected an image that was closed",
    )


@pytest.mark.parametrize(("offset", "value"), [(0, b"HEAD"), (64, b"\1\0"), (66, b"\2\0")])
def test_no_valid_header(dynamic: Path, offset: int, value: bytes) -> None:
    change(dynamic, FIRST + offset, value)
    change(dynamic, SECOND + offset, value)
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        "found 0 valid VHDX headers with 0 contents, expected one that is the newest",
    )


def test_two_headers_of_one_age(dynamic: Path, raw: Path) -> None:
    """Equal ones are what Disk2vhd writes; different ones are damage."""
    header = dynamic.read_bytes()[FIRST : FIRST + 4 * KIB]
    patch(dynamic, SECOND, header)
    assert guest_bytes(dynamic) == raw.read_bytes()
    change(dynamic, SECOND + 48, b"\x11" * 16)
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        "found 2 valid VHDX headers with 2 contents, expected one that is the newest",
    )


def test_damaged_region_table(dynamic: Path) -> None:
    found = struct.unpack_from("<I", dynamic.read_bytes(), REGIONS + 4)[0]
    patch(dynamic, REGIONS + 60000, b"x")
    right = layout.checksum_of(dynamic.read_bytes()[REGIONS : REGIONS + 64 * KIB])
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        f"VHDX region table: found checksum {found:#x}, expected {right:#x}",
    )
    change(dynamic, REGIONS, b"REGI")
    assert refusal(dynamic) == ("E_DISK_STRUCT", "VHDX region table: found signature b'REGI', expected b'regi'")


def test_region_table_entries(dynamic: Path) -> None:
    data = dynamic.read_bytes()
    bat, metadata = region_entry(dynamic, layout.BAT_REGION), region_entry(dynamic, layout.METADATA_REGION)

    def refused(offset: int, value: bytes) -> str:
        dynamic.write_bytes(data)
        code, message = refusal(change(dynamic, offset, value))
        assert code == "E_DISK_STRUCT"
        return message.removeprefix("VHDX region table: ")

    unknown = UUID(int=7)
    assert refused(REGIONS + 8, b"\0\x08\0\0") == "found entry count 2048, expected at most 2047"
    assert refused(bat, unknown.bytes_le + data[bat + 16 : bat + 28] + b"\1\0\0\0") == (
        f"found region {unknown}, expected none that is required and unknown"
    )
    assert refused(bat, layout.METADATA_REGION.bytes_le) == (
        f"found region {layout.METADATA_REGION}, expected each region once"
    )
    assert refused(bat, unknown.bytes_le + data[bat + 16 : bat + 28] + bytes(4)) == (
        "found no region for the BAT, expected one"
    )
    assert refused(metadata, unknown.bytes_le + data[metadata + 16 : metadata + 28] + bytes(4)) == (
        "found no region for the metadata, expected one"
    )
    assert refused(metadata + 16, struct.pack("<Q", 1 << 40)) == (
        f"the VHDX metadata table is said to lie at byte {1 << 40}, "
        f"expected 65536 bytes before the end at byte {len(data)}"
    )
    assert refused(bat + 16, struct.pack("<Q", 1 << 40)) == (
        f"the block table is said to lie at byte {1 << 40}, expected 48 bytes before the end at byte {len(data)}"
    )
    assert refused(bat + 24, struct.pack("<I", 40)) == ("the VHDX has a BAT of 40 bytes, expected 6 entries of 8 bytes")


def test_metadata_table_entries(dynamic: Path) -> None:
    data = dynamic.read_bytes()
    table = region(dynamic, layout.METADATA_REGION)
    disk_size = item_entry(dynamic, layout.VIRTUAL_DISK_SIZE)

    def refused(offset: int, value: bytes) -> str:
        dynamic.write_bytes(data)
        patch(dynamic, offset, value)
        code, message = refusal(dynamic)
        assert code == "E_DISK_STRUCT"
        return message.removeprefix("VHDX metadata table: ")

    unknown = UUID(int=7)
    assert refused(table, b"METADATA") == "found signature b'METADATA', expected b'metadata'"
    assert refused(table + 10, b"\0\x08") == "found entry count 2048, expected at most 2047"
    assert refused(disk_size, unknown.bytes_le) == f"found item {unknown}, expected none required and unknown"
    assert refused(disk_size, layout.FILE_PARAMETERS.bytes_le) == (
        f"found item {layout.FILE_PARAMETERS}, expected each item once"
    )
    assert refused(disk_size, unknown.bytes_le + data[disk_size + 16 : disk_size + 24] + bytes(4)) == (
        "found no item for the disk size, expected one"
    )
    assert refused(disk_size + 16, struct.pack("<I", 0xFFFF_FFFF)) == (
        f"the VHDX metadata item is said to lie at byte {table + 0xFFFF_FFFF}, "
        f"expected 8 bytes before the end at byte {len(data)}"
    )


@pytest.mark.parametrize(
    ("which", "value", "message"),
    [
        (layout.FILE_PARAMETERS, struct.pack("<I", 0), ("found block size 0, expected a power of two from 1048576 to "
         "268435456 bytes")),
        (layout.FILE_PARAMETERS, struct.pack("<I", 3 * MIB), (f"found block size {3 * MIB}, expected a power of two "
         "from 1048576 to 268435456 bytes")),
        (layout.FILE_PARAMETERS, struct.pack("<I", 512 * MIB), (f"found block size {512 * MIB}, expected a power of "
         "two from 1048576 to 268435456 bytes")),
        (layout.LOGICAL_SECTOR_SIZE, struct.pack("<I", 1024), "found logical sector size 1024, expected 512 or 4096"),
        (layout.VIRTUAL_DISK_SIZE, struct.pack("<Q", SIZE + 1), (f"found disk size {SIZE + 1}, expected a multiple of "
         "512")),
    ],
)  # fmt: skip
def test_metadata_items(dynamic: Path, which: UUID, value: bytes, message: str) -> None:
    patch(dynamic, item(dynamic, which), value)
    assert refusal(dynamic) == ("E_DISK_STRUCT", f"VHDX metadata: {message}")


@pytest.mark.parametrize("size", [0, (64 << 40) + 512, 1 << 63])
def test_capacity_lies(dynamic: Path, size: int) -> None:
    patch(dynamic, item(dynamic, layout.VIRTUAL_DISK_SIZE), struct.pack("<Q", size))
    assert refusal(dynamic) == ("E_DISK_SIZE", f"the VHDX metadata say {size} bytes, expected 1 to {64 << 40}")


def test_differencing(dynamic: Path) -> None:
    patch(dynamic, item(dynamic, layout.FILE_PARAMETERS) + 4, b"\2")
    assert refusal(dynamic) == (
        "E_DISK_PARENT",
        "the VHDX is a differencing disk, expected a disk that stands alone",
    )


@pytest.mark.parametrize("place", [0, 1 << 40])
def test_block_outside_the_file(dynamic: Path, place: int) -> None:
    patch(dynamic, region(dynamic, layout.BAT_REGION), struct.pack("<Q", place | 6))
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        (
            f"block 0 is said to lie at byte {place}, expected {MIB} bytes between byte {MIB} and the end "
            f"at byte {dynamic.stat().st_size}"
        ),
    )


def test_block_bomb(tmp_path: Path) -> None:
    """A table of 8 MiB whose entries all name one block: 1 TiB."""
    path = convert(random_disk(tmp_path / "r", MIB, [0]), tmp_path / "bomb.vhdx", "vhdx", "block_size=1M")
    end, blocks = path.stat().st_size, (1 << 20) + 1024
    patch(path, end, struct.pack("<Q", 3 << 20 | 6) * blocks)
    entry = region_entry(path, layout.BAT_REGION)
    change(path, entry + 16, struct.pack("<QI", end, blocks * 8))
    patch(path, item(path, layout.VIRTUAL_DISK_SIZE), struct.pack("<Q", 1 << 40))
    began = time.monotonic()
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        copy_to(member, tmp_path / "out", "qcow2")
    assert time.monotonic() - began < 2
    assert (caught.value.code, caught.value.where) == ("E_DISK_OVERLAP", "bomb.vhdx")
    assert not (tmp_path / "out").exists()
