"""VDI, dynamic and fixed."""

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
from virt_ova.disk.vdi import layout
from virt_ova.errors import DiskError

SIZE = 5 * MIB + 3 * SECTOR
MAP = 512
FIELDS = {
    "version": (0x44, "<I"), "type": (0x4C, "<I"), "map": (0x154, "<I"), "data": (0x158, "<I"),
    "sector": (0x168, "<I"), "disk": (0x170, "<Q"), "block": (0x178, "<I"), "extra": (0x17C, "<I"),
    "blocks": (0x180, "<I"), "link": (0x1A8, "16s"), "parent": (0x1B8, "16s"),
}  # fmt: skip


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return random_disk(tmp_path / "disk.raw", SIZE, [0, 1, 33, 80])


@pytest.fixture
def dynamic(tmp_path: Path, raw: Path) -> Path:
    return convert(raw, tmp_path / "disk.vdi", "vdi")


def change(path: Path, field: str, value: int | bytes) -> Path:
    offset, form = FIELDS[field]
    patch(path, offset, struct.pack(form, value))
    return path


def test_dynamic(dynamic: Path, raw: Path) -> None:
    assert guest_bytes(dynamic) == raw.read_bytes()
    with member_of(dynamic) as member:
        reader = open_disk(member)
        assert reader.format is DiskFormat.VDI
        assert reader.block_map.capacity_bytes == SIZE
        assert reader.block_map.block_bytes == 64 * KIB
        assert list(reader.block_map.numbers) == [*range(16), *range(32, 48), 80]


def test_static(tmp_path: Path, raw: Path) -> None:
    image = convert(raw, tmp_path / "disk.vdi", "vdi", "static=on")
    assert guest_bytes(image) == raw.read_bytes()
    with member_of(image) as member:
        assert len(open_disk(member).block_map) == 81


def test_odd_size_is_rounded_up(tmp_path: Path, dynamic: Path, raw: Path) -> None:
    """VirtualBox (convertfromraw) writes such disks."""
    change(dynamic, "disk", SIZE - 100)
    assert guest_bytes(dynamic) == raw.read_bytes() == bytes_by_qemu(dynamic, "vdi", tmp_path / "out")


def test_blocks_out_of_order_free_and_zero(dynamic: Path, raw: Path) -> None:
    data = bytearray(dynamic.read_bytes())
    entries = struct.unpack_from("<6I", data, MAP)
    assert entries == (0, 0xFFFF_FFFF, 1, 0xFFFF_FFFF, 0xFFFF_FFFF, 2)
    start = struct.unpack_from("<I", data, 0x158)[0]
    blocks = [bytes(data[start + i * MIB : start + (i + 1) * MIB]) for i in range(3)]
    data[start:] = b"".join(blocks[::-1])
    struct.pack_into("<6I", data, MAP, 2, 0xFFFF_FFFE, 1, 0xFFFF_FFFF, 0xFFFF_FFFE, 0)
    dynamic.write_bytes(data)
    assert guest_bytes(dynamic) == raw.read_bytes()


def test_other_signature() -> None:
    with pytest.raises(DiskError) as caught:
        layout.parse_header(bytes(512))
    assert caught.value.message == "VDI header: found signature 0x0, expected 0xbeda107f"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", 0x10000, "found version 0x10000, expected 0x10001"),
        ("type", 0, "found image type 0, expected 1 (normal) or 2 (fixed)"),
        ("type", 5, "found image type 5, expected 1 (normal) or 2 (fixed)"),
        ("sector", 4096, "found sector size 4096, expected 512"),
        ("block", 0, "found block size 0, expected a power of two from 65536 to 268435456 bytes"),
        ("block", 3 * MIB, f"found block size {3 * MIB}, expected a power of two from 65536 to 268435456 bytes"),
        ("block", 1 << 31, f"found block size {1 << 31}, expected a power of two from 65536 to 268435456 bytes"),
        ("extra", 512, "found extra bytes of a block 512, expected 0"),
        ("blocks", 5, f"found block count 5, expected 6 for a disk of {SIZE} bytes"),
    ],
)
def test_header_fields(dynamic: Path, field: str, value: int, message: str) -> None:
    assert refusal(change(dynamic, field, value)) == ("E_DISK_STRUCT", f"VDI header: {message}")


@pytest.mark.parametrize(("field", "value"), [("type", 3), ("type", 4), ("link", b"x" * 16), ("parent", b"x" * 16)])
def test_images_that_need_another(dynamic: Path, field: str, value: int | bytes) -> None:
    assert refusal(change(dynamic, field, value)) == (
        "E_DISK_PARENT",
        "the VDI holds the changes to another image, expected a disk that stands alone",
    )


@pytest.mark.parametrize("size", [0, (64 << 40) + 1, 1 << 63, (1 << 64) - 1])
def test_capacity_lies(dynamic: Path, size: int) -> None:
    assert refusal(change(dynamic, "disk", size)) == (
        "E_DISK_SIZE",
        f"the VDI header says {size} bytes, expected 1 to {64 << 40}",
    )


def test_map_outside_the_file(dynamic: Path) -> None:
    change(dynamic, "map", 0xFFFF_FE00)
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        (
            f"the block table is said to lie at byte {0xFFFF_FE00}, "
            f"expected 24 bytes before the end at byte {dynamic.stat().st_size}"
        ),
    )


@pytest.mark.parametrize("place", [3, 0xFFFF_FFFD])
def test_block_outside_the_file(dynamic: Path, place: int) -> None:
    patch(dynamic, MAP, struct.pack("<I", place))
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        (
            f"block 0 is said to lie at byte {1024 + place * MIB}, "
            f"expected {MIB} bytes between byte 512 and the end at byte {dynamic.stat().st_size}"
        ),
    )


def test_block_in_the_header(dynamic: Path) -> None:
    change(dynamic, "data", 0)
    assert refusal(dynamic) == (
        "E_DISK_STRUCT",
        (
            f"block 0 is said to lie at byte 0, expected {MIB} bytes between byte 512 and the end "
            f"at byte {dynamic.stat().st_size}"
        ),
    )


def test_last_block_may_end_with_the_disk(dynamic: Path, raw: Path) -> None:
    with dynamic.open("r+b") as file:
        file.truncate(1024 + 2 * MIB + 3 * SECTOR)
    assert guest_bytes(dynamic) == raw.read_bytes()
    with dynamic.open("r+b") as file:
        file.truncate(1024 + 2 * MIB + 2 * SECTOR)
    assert refusal(dynamic)[0] == "E_DISK_STRUCT"


def test_blocks_that_share_a_place(dynamic: Path) -> None:
    patch(dynamic, MAP, struct.pack("<III", 1, 0xFFFF_FFFF, 1))
    assert refusal(dynamic) == (
        "E_DISK_OVERLAP",
        "found two blocks that share bytes, expected every block to have its own place",
    )


def test_block_bomb(tmp_path: Path) -> None:
    """A map of 4 MiB whose entries all name one block: 1 TiB."""
    path = convert(random_disk(tmp_path / "r", MIB, [0]), tmp_path / "bomb.vdi", "vdi")
    blocks = 1 << 20
    header = bytearray(path.read_bytes()[:MAP])
    for field, value in (("data", MAP + 4 * blocks), ("disk", blocks * MIB), ("blocks", blocks)):
        offset, form = FIELDS[field]
        struct.pack_into(form, header, offset, value)
    path.write_bytes(bytes(header) + bytes(4 * blocks) + b"x" * MIB)
    began = time.monotonic()
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        copy_to(member, tmp_path / "out", "qcow2")
    assert time.monotonic() - began < 2
    assert caught.value.code == "E_DISK_OVERLAP"
    assert caught.value.where == "bomb.vdi"
    assert caught.value.message == (
        f"found more blocks of {MIB} bytes than {path.stat().st_size} bytes can hold, "
        "expected every block to have its own place"
    )
    assert not (tmp_path / "out").exists()
