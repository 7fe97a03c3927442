"""VHD, fixed and dynamic, of the writers that matter."""

import struct
import time
from pathlib import Path

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
from virt_ova.disk.vhd import layout
from virt_ova.errors import DiskError, SourceError

SIZE = 5 * MIB + 3 * SECTOR
FOOTER, HEADER, TABLE = 512, 1024, 1536
CREATOR, CURRENT_SIZE, GEOMETRY, TYPE, CHECKSUM = 28, 48, 56, 60, 64
TABLE_OFFSET, ENTRIES, BLOCK_SIZE = 512 + 16, 512 + 28, 512 + 32


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return random_disk(tmp_path / "disk.raw", SIZE, [0, 1, 33, 80])


@pytest.fixture
def dynamic(tmp_path: Path, raw: Path) -> Path:
    return convert(raw, tmp_path / "disk.vhd", "vpc", "force_size=on")


@pytest.fixture
def fixed(tmp_path: Path, raw: Path) -> Path:
    return convert(raw, tmp_path / "fixed.vhd", "vpc", "subformat=fixed,force_size=on")


def repair(path: Path) -> None:
    """Make the checksums of header and footers right again; the footer at the end follows its copy."""
    data = bytearray(path.read_bytes())
    is_dynamic = data.startswith(layout.FOOTER_COOKIE)
    if is_dynamic:
        struct.pack_into(">i", data, 512 + 36, layout.checksum_of(bytes(data[512 : 512 + HEADER])))
        struct.pack_into(">i", data, CHECKSUM, layout.checksum_of(bytes(data[:FOOTER])))
        data[-FOOTER:] = data[:FOOTER]
    else:
        end = len(data) - FOOTER
        struct.pack_into(">i", data, end + CHECKSUM, layout.checksum_of(bytes(data[end:])))
    path.write_bytes(data)


def change(path: Path, offset: int, value: bytes) -> Path:
    """Overwrite bytes of header or footer, counted from the file's end when negative, and repair the checksums."""
    patch(path, offset if offset >= 0 else path.stat().st_size + offset, value)
    repair(path)
    return path


def test_dynamic(dynamic: Path, raw: Path) -> None:
    assert guest_bytes(dynamic) == raw.read_bytes()
    with member_of(dynamic) as member:
        reader = open_disk(member)
        assert reader.format is DiskFormat.VHD
        assert reader.block_map.capacity_bytes == SIZE
        assert reader.block_map.block_bytes == 64 * KIB
        assert list(reader.block_map.numbers) == [*range(64), *range(64, 81)]
        assert list(reader.zero_ordinals()) == []


def test_fixed(fixed: Path, raw: Path) -> None:
    assert guest_bytes(fixed) == raw.read_bytes()
    with member_of(fixed) as member:
        assert open_disk(member).format is DiskFormat.VHD


def test_empty_dynamic_disk(tmp_path: Path) -> None:
    image = convert(random_disk(tmp_path / "r", MIB, []), tmp_path / "disk.vhd", "vpc", "force_size=on")
    assert guest_bytes(image) == bytes(MIB)


@pytest.mark.parametrize(
    "creator", [b"vpc ", b"qemu", b"qem2", b"win ", b"d2v ", b"vbox", b"tap\0", b"CTXS", b"wa\0\0"]
)
@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_size_is_the_one_that_qemu_sees(tmp_path: Path, raw: Path, creator: bytes, kind: str) -> None:
    """Virtual PC and old QEMU count by geometry. QEMU 7.2 does so for all it does not know; later ones no longer do."""
    image = convert(raw, tmp_path / "disk.vhd", "vpc", f"subformat={kind},force_size=on")
    footer = 0 if kind == "dynamic" else -FOOTER
    change(image, footer + CREATOR, creator)
    change(image, footer + GEOMETRY, struct.pack(">HBB", 150, 4, 17))
    options = {"force_size_calc": "current_size"} if creator in {b"vbox", b"wa\0\0"} else {}
    disk = guest_bytes(image)
    assert disk == bytes_by_qemu(image, "vpc", tmp_path / "out", **options)
    assert len(disk) == (150 * 4 * 17 * SECTOR if creator in {b"vpc ", b"qemu"} else SIZE)


def test_largest_geometry_means_the_current_size(tmp_path: Path, dynamic: Path) -> None:
    change(dynamic, CREATOR, b"qemu")
    assert guest_bytes(dynamic) == bytes_by_qemu(dynamic, "vpc", tmp_path / "out")
    assert len(guest_bytes(dynamic)) == SIZE


def test_sectors_that_were_never_written_are_zeros(dynamic: Path, raw: Path) -> None:
    with member_of(dynamic) as member:
        bitmap = open_disk(member).block_map.offsets[0] - SECTOR
    patch(dynamic, bitmap, b"\x7f\xff\xfe")
    patch(dynamic, bitmap + 16, b"\x00")
    expected = bytearray(raw.read_bytes())
    for sector in (0, 23, *range(128, 136)):
        expected[sector * SECTOR : (sector + 1) * SECTOR] = bytes(SECTOR)
    assert expected != raw.read_bytes()
    assert guest_bytes(dynamic) == expected
    with member_of(dynamic) as member:
        copy_to(member, dynamic.with_suffix(".out"), "raw")
    assert dynamic.with_suffix(".out").read_bytes() == expected


def test_blocks_out_of_order(dynamic: Path, raw: Path) -> None:
    data = bytearray(dynamic.read_bytes())
    sectors = struct.unpack_from(">III", data, TABLE)
    size = SECTOR + 2 * MIB
    blocks = [bytes(data[sector * SECTOR : sector * SECTOR + size]) for sector in sectors]
    for sector, block in zip(reversed(sectors), blocks, strict=True):
        data[sector * SECTOR : sector * SECTOR + size] = block
    struct.pack_into(">III", data, TABLE, *reversed(sectors))
    dynamic.write_bytes(data)
    assert guest_bytes(dynamic) == raw.read_bytes()
    with member_of(dynamic) as member:
        assert list(open_disk(member).block_map.numbers) == [*range(64, 81), *range(32, 64), *range(32)]


def test_wrong_cookie_of_the_footer(fixed: Path) -> None:
    with pytest.raises(DiskError) as caught:
        layout.parse_footer(bytes(512))
    assert caught.value.message == f"VHD footer: found cookie {bytes(8)!r}, expected b'conectix'"
    assert fixed.read_bytes()[-FOOTER:].startswith(b"conectix")


@pytest.mark.parametrize("offset", [16, 48, 70, 100, 511])
def test_flipped_bits_in_the_footer(fixed: Path, offset: int) -> None:
    at = fixed.stat().st_size - FOOTER + offset
    before = fixed.read_bytes()[at]
    found = struct.unpack_from(">i", fixed.read_bytes(), fixed.stat().st_size - FOOTER + CHECKSUM)[0]
    patch(fixed, at, bytes([before ^ 1]))
    right = found + (1 if before & 1 else -1)
    assert refusal(fixed) == ("E_DISK_STRUCT", f"VHD footer: found checksum {found}, expected {right}")


def test_flipped_bit_in_the_header(dynamic: Path) -> None:
    before = dynamic.read_bytes()[1000]
    patch(dynamic, 1000, bytes([before ^ 1]))
    code, message = refusal(dynamic)
    assert code == "E_DISK_STRUCT"
    assert message.startswith("VHD header: found checksum -")


def test_other_version(fixed: Path, dynamic: Path) -> None:
    change(fixed, -FOOTER + 12, b"\0\2\0\0")
    assert refusal(fixed) == ("E_DISK_STRUCT", "VHD footer: found version 2, expected 1")
    change(dynamic, 512 + 24, b"\0\2\0\0")
    assert refusal(dynamic) == ("E_DISK_STRUCT", "VHD header: found version 2, expected 1")


@pytest.mark.parametrize("kind", [0, 1, 5, 6])
def test_strange_types(fixed: Path, kind: int) -> None:
    change(fixed, -FOOTER + TYPE, struct.pack(">I", kind))
    assert refusal(fixed) == (
        "E_DISK_STRUCT",
        f"VHD footer: found disk type {kind}, expected 2 (fixed) or 3 (dynamic)",
    )


def test_differencing(dynamic: Path) -> None:
    change(dynamic, TYPE, struct.pack(">I", 4))
    assert refusal(dynamic) == (
        "E_DISK_PARENT",
        "the VHD is a differencing disk, expected a disk that stands alone",
    )


@pytest.mark.parametrize("size", [0, 511, 0xFF00_0001 * SECTOR, 1 << 63, (1 << 64) - 1])
def test_capacity_lies(fixed: Path, size: int) -> None:
    change(fixed, -FOOTER + CURRENT_SIZE, struct.pack(">Q", size))
    assert refusal(fixed) == (
        "E_DISK_SIZE",
        f"the VHD footer says {size // SECTOR} sectors, expected 1 to 4278190080",
    )


def test_fixed_disk_that_is_cut(fixed: Path) -> None:
    change(fixed, -FOOTER + CURRENT_SIZE, struct.pack(">Q", SIZE + SECTOR))
    assert refusal(fixed) == (
        "E_DISK_STRUCT",
        f"the VHD footer says {SIZE + SECTOR} bytes, expected at most the {SIZE} bytes before it",
    )


def test_footer_that_differs_from_its_copy(dynamic: Path) -> None:
    patch(dynamic, 300, b"x")
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        "VHD footer: found one that differs from its copy at the beginning, expected the same bytes",
    )


def test_fixed_type_with_a_footer_at_the_beginning_is_the_guest_s_own(dynamic: Path) -> None:
    """The guest may write what it likes to its first sector: the footer at the end says that the disk is fixed."""
    change(dynamic, TYPE, struct.pack(">I", 2))
    change(dynamic, CURRENT_SIZE, struct.pack(">Q", MIB))
    assert guest_bytes(dynamic) == dynamic.read_bytes()[:MIB]


def test_file_of_less_than_a_footer(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(b"conectix")
    with member_of(path) as member, pytest.raises(SourceError, match=r"'disk\.vhd' ends at byte 8"):
        open_disk(member)


@pytest.mark.parametrize("offset", [1 << 62, 0xFFFF_FFFF_FFFF_FFFF])
def test_header_outside_the_file(dynamic: Path, offset: int) -> None:
    change(dynamic, 16, struct.pack(">Q", offset))
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        f"the VHD footer names a header at byte {offset}, expected one before the end at byte {dynamic.stat().st_size}",
    )


def test_header_without_cookie(dynamic: Path) -> None:
    change(dynamic, 16, struct.pack(">Q", 1024))
    code, message = refusal(dynamic)
    assert code == "E_DISK_STRUCT"
    assert message == f"VHD header: found cookie {bytes(8)!r}, expected b'cxsparse'"


@pytest.mark.parametrize("size", [0, 3, 512, 3 * MIB, 512 * MIB, 1 << 31])
def test_block_sizes(dynamic: Path, size: int) -> None:
    change(dynamic, BLOCK_SIZE, struct.pack(">I", size))
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        f"VHD header: found block size {size}, expected a power of two from 524288 to 268435456 bytes",
    )


def test_table_that_is_too_short(dynamic: Path) -> None:
    change(dynamic, ENTRIES, struct.pack(">I", 2))
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        f"VHD header: found 2 table entries, expected 3 for a disk of {SIZE} bytes",
    )


@pytest.mark.parametrize("offset", [1 << 40, (1 << 64) - 1])
def test_table_outside_the_file(dynamic: Path, offset: int) -> None:
    change(dynamic, TABLE_OFFSET, struct.pack(">Q", offset))
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        (
            f"the block table is said to lie at byte {offset}, "
            f"expected 12 bytes before the end at byte {dynamic.stat().st_size}"
        ),
    )


@pytest.mark.parametrize("sector", [0, 0xFFFF_FFFE])
def test_block_outside_the_file(dynamic: Path, sector: int) -> None:
    patch(dynamic, TABLE, struct.pack(">I", sector))
    size = dynamic.stat().st_size
    first, offset = FOOTER + SECTOR, sector * SECTOR + SECTOR
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        (
            f"block 0 is said to lie at byte {offset}, expected {2 * MIB} bytes between byte {first} and the end "
            f"at byte {size}"
        ),
    )


def test_blocks_that_overlap(dynamic: Path) -> None:
    first = struct.unpack_from(">I", dynamic.read_bytes(), TABLE)[0]
    patch(dynamic, TABLE, struct.pack(">III", first, 0xFFFF_FFFF, first + 100))
    assert refusal(dynamic) == (
        "E_DISK_OVERLAP",
        "found two blocks that share bytes, expected every block to have its own place",
    )


def test_block_bomb(tmp_path: Path) -> None:
    """A table of 2 MiB whose entries all name one block: 1 TiB."""
    path = convert(random_disk(tmp_path / "r", 4 * MIB, [0]), tmp_path / "bomb.vhd", "vpc", "force_size=on")
    data = bytearray(path.read_bytes())
    footer, header = data[:FOOTER], data[512 : 512 + HEADER]
    blocks = (1 << 40) // (2 * MIB)
    struct.pack_into(">QQ", footer, 40, 1 << 40, 1 << 40)
    struct.pack_into(">QII", header, 16, TABLE, 0x10000, blocks)
    block_sector = (TABLE + blocks * 4) // SECTOR
    table = struct.pack(">I", block_sector) * blocks
    path.write_bytes(footer + header + table + b"\xff" * SECTOR + b"x" * 2 * MIB + footer)
    repair(path)
    began = time.monotonic()
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        copy_to(member, tmp_path / "out", "qcow2")
    assert time.monotonic() - began < 2
    assert caught.value.code == "E_DISK_OVERLAP"
    assert str(caught.value) == (
        f"bomb.vhd: found more blocks of {2 * MIB} bytes than {path.stat().st_size} bytes can hold, "
        "expected every block to have its own place"
    )
    assert not (tmp_path / "out").exists()


def test_table_of_nothing_for_the_largest_disk(tmp_path: Path) -> None:
    """2040 GiB without a block: a table of 4 MiB, read piece by piece."""
    path = convert(random_disk(tmp_path / "r", 4 * MIB, []), tmp_path / "disk.vhd", "vpc", "force_size=on")
    data = bytearray(path.read_bytes())
    footer, header = data[:FOOTER], data[512 : 512 + HEADER]
    size = 0xFF00_0000 * SECTOR
    blocks = size // (2 * MIB)
    struct.pack_into(">Q", footer, CURRENT_SIZE, size)
    struct.pack_into(">I", header, ENTRIES - 512, blocks)
    path.write_bytes(footer + header + b"\xff" * (blocks * 4) + footer)
    repair(path)
    with member_of(path) as member:
        block_map = open_disk(member).block_map
    assert (block_map.capacity_bytes, len(block_map)) == (size, 0)
