"""Sparse VMDK extents: what every writer makes is read, everything else is refused by name."""

import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build.disks import (
    KIB,
    SECTOR,
    bytes_by_qemu,
    copy_to,
    guest_bytes,
    member_of,
    patch,
    refusal,
    sparse_vmdk,
    vmdk_descriptor,
)
from virt_ova.disk.base import DiskFormat
from virt_ova.disk.opener import open_disk
from virt_ova.disk.vmdk import layout
from virt_ova.errors import DiskError, VirtOvaError

GRAIN = 64 * KIB
FOOTER_FROM_END = 2 * SECTOR
HEADER_FIELDS = {
    "version": (4, "<I"), "flags": (8, "<I"), "capacity": (12, "<Q"), "grain": (20, "<Q"),
    "descriptor_offset": (28, "<Q"), "descriptor_size": (36, "<Q"), "entries": (44, "<I"), "directory": (56, "<Q"),
    "newlines": (73, "4s"), "compression": (77, "<H"),
}  # fmt: skip


def write(path: Path, image: bytes) -> Path:
    path.write_bytes(image)
    return path


def set_field(image: bytes | bytearray, field: str, value: int | bytes, *, at: int = 0) -> bytes:
    offset, layout_of = HEADER_FIELDS[field]
    changed = bytearray(image)
    struct.pack_into(layout_of, changed, at + offset, value)
    return bytes(changed)


def field_of(image: bytes | bytearray, field: str, *, at: int = 0) -> int:
    offset, layout_of = HEADER_FIELDS[field]
    value: int = struct.unpack_from(layout_of, image, at + offset)[0]
    return value


def small(*, footer: bool = True, compressed: bool = True, descriptor: str | None = None) -> bytes:
    """Three of four grains of 4 KiB."""
    grains = {0: b"a" * 4096, 1: b"b" * 4096, 3: b"d" * 4096}
    return sparse_vmdk(32, grains, grain_sectors=8, footer=footer, compressed=compressed, descriptor=descriptor)


@pytest.mark.parametrize("grain_sectors", [8, 16, 128, 1024, 2048, 4096])
@pytest.mark.parametrize("compressed", [True, False], ids=["stream", "sparse"])
def test_grain_sizes(tmp_path: Path, grain_sectors: int, *, compressed: bool) -> None:
    rng, size = random.Random(grain_sectors), grain_sectors * SECTOR  # noqa: S311 - test data
    grains = {number: rng.randbytes(size) for number in (0, 2, 3)} | {4: rng.randbytes(SECTOR)}
    capacity = 4 * grain_sectors + 1
    image = write(
        tmp_path / "disk.vmdk",
        sparse_vmdk(capacity, grains, grain_sectors=grain_sectors, compressed=compressed, footer=compressed),
    )
    expected = grains[0] + bytes(size) + grains[2] + grains[3] + grains[4]
    assert guest_bytes(image) == expected
    assert bytes_by_qemu(image, "vmdk", tmp_path / "raw") == expected


@pytest.mark.parametrize(
    "order", [sorted, lambda numbers: sorted(numbers, reverse=True), lambda numbers: numbers[1::2] + numbers[::2]]
)
@pytest.mark.parametrize("footer", [True, False])
@pytest.mark.parametrize("padding", [0, SECTOR, 64 * KIB])
def test_orders_footers_and_padding(
    tmp_path: Path, order: Callable[[list[int]], list[int]], padding: int, *, footer: bool
) -> None:
    grains = {number: bytes([number % 250 + 1]) * GRAIN for number in range(0, 600, 7)}
    image = write(tmp_path / "disk.vmdk", sparse_vmdk(600 * 128, grains, order=order, footer=footer, padding=padding))
    disk = guest_bytes(image)
    assert {number for number in range(600) if any(disk[number * GRAIN : (number + 1) * GRAIN])} == set(grains)
    assert all(disk[number * GRAIN : (number + 1) * GRAIN] == grain for number, grain in grains.items())


def test_short_last_grain_as_qemu_writes_it(tmp_path: Path) -> None:
    image = bytearray(sparse_vmdk(136, {1: b"z" * 8 * SECTOR}))
    with member_of(write(tmp_path / "a.vmdk", bytes(image))) as member:
        (offset,) = open_disk(member).block_map.offsets
    packed = zlib.compress(b"z" * 8 * SECTOR)
    image[offset : offset + 12 + len(packed)] = layout.GRAIN_MARKER.pack(128, len(packed)) + packed
    assert guest_bytes(write(tmp_path / "b.vmdk", bytes(image))) == bytes(GRAIN) + b"z" * 8 * SECTOR


def test_format_is_told_by_the_flags(tmp_path: Path) -> None:
    for compressed, disk_format in ((True, DiskFormat.VMDK_STREAM), (False, DiskFormat.VMDK_SPARSE)):
        with member_of(write(tmp_path / "disk.vmdk", small(compressed=compressed, footer=False))) as member:
            assert open_disk(member).format is disk_format


def test_grains_of_zeros_are_told_beforehand(tmp_path: Path) -> None:
    grains = {0: bytes(GRAIN), 1: b"x" * GRAIN, 2: bytes(GRAIN), 3: random.Random(0).randbytes(GRAIN)}  # noqa: S311
    with member_of(write(tmp_path / "disk.vmdk", sparse_vmdk(512, grains))) as member:
        assert list(open_disk(member).zero_ordinals()) == [0, 2]
    with member_of(write(tmp_path / "disk.vmdk", sparse_vmdk(512, grains, compressed=False, footer=False))) as member:
        assert list(open_disk(member).zero_ordinals()) == []


def test_zeroed_grain_entries_hold_no_data(tmp_path: Path) -> None:
    image = small(compressed=False, footer=False)
    table = struct.unpack_from("<I", image, field_of(image, "directory") * SECTOR)[0] * SECTOR
    patch(write(tmp_path / "disk.vmdk", set_field(image, "flags", 5)), table, struct.pack("<I", 1))
    assert guest_bytes(tmp_path / "disk.vmdk")[: 2 * 4096] == bytes(4096) + b"b" * 4096


def test_without_descriptor(tmp_path: Path) -> None:
    image = small(descriptor="", footer=False)
    assert guest_bytes(write(tmp_path / "disk.vmdk", image))[:4096] == b"a" * 4096
    assert guest_bytes(write(tmp_path / "disk.vmdk", set_field(image, "descriptor_size", 0)))[:4096] == b"a" * 4096


def test_grain_tables_that_are_left_out(tmp_path: Path) -> None:
    image = write(
        tmp_path / "disk.vmdk", sparse_vmdk(3 * 512 * 8, {1: b"a" * 4096, 1100: b"b" * 4096}, grain_sectors=8)
    )
    with member_of(image) as member:
        assert list(open_disk(member).block_map.numbers) == [1, 1100]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", 4, "found version 4, expected 1, 2 or 3"),
        ("flags", 0x70001, "found flags 0x70001, expected none but 0x30007"),
        ("newlines", b"\n \n\n", r"found newline test b'\n \n\n', expected b'\n \r\n': was it transferred as text?"),
        ("grain", 0, "found grain size 0, expected a power of two from 8 to 4096 sectors"),
        ("grain", 9, "found grain size 9, expected a power of two from 8 to 4096 sectors"),
        ("grain", 4, "found grain size 4, expected a power of two from 8 to 4096 sectors"),
        ("grain", 1 << 63, f"found grain size {1 << 63}, expected a power of two from 8 to 4096 sectors"),
        ("entries", 511, "found entries per grain table 511, expected 512"),
        ("compression", 0, "found compression 0, expected deflate for a compressed extent, none otherwise"),
    ],
)
def test_header_fields(tmp_path: Path, field: str, value: int | bytes, message: str) -> None:
    image = write(tmp_path / "disk.vmdk", set_field(small(), field, value))
    assert refusal(image) == ("E_DISK_STRUCT", f"VMDK header: {message}")


def test_header_of_another_kind() -> None:
    with pytest.raises(DiskError) as caught:
        layout.parse_header(b"COWD".ljust(512, b"\0"))
    assert caught.value.message == "VMDK header: found magic number b'COWD', expected b'KDMV'"


@pytest.mark.parametrize("sectors", [0, 1 << 41, 1 << 53, (1 << 63) - 1, (1 << 64) - 1])
def test_capacity_lies(tmp_path: Path, sectors: int) -> None:
    image = write(tmp_path / "disk.vmdk", set_field(small(), "capacity", sectors))
    assert refusal(image) == ("E_DISK_SIZE", f"the VMDK header says {sectors} sectors, expected 1 to {1 << 37}")


@pytest.mark.parametrize(
    "kind", ["monolithicFlat", "vmfs", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "fullDevice", "custom", ""]
)
def test_kinds_that_keep_data_elsewhere(tmp_path: Path, kind: str) -> None:
    text = vmdk_descriptor(32).replace("streamOptimized", kind)
    assert refusal(write(tmp_path / "disk.vmdk", small(descriptor=text))) == (
        "E_DISK_TYPE",
        f"the VMDK descriptor says '{kind}', expected streamOptimized or monolithicSparse with a SPARSE extent",
    )


@pytest.mark.parametrize("extent", ['RW 32 FLAT "/etc/shadow" 0', 'RW 32 VMFS "secret.vmdk"', "RW 32 ZERO"])
def test_extents_that_are_not_sparse(tmp_path: Path, extent: str) -> None:
    text = vmdk_descriptor(32).replace('RW 32 SPARSE "disk.vmdk"', extent)
    assert refusal(write(tmp_path / "disk.vmdk", small(descriptor=text))) == (
        "E_DISK_TYPE",
        (
            "the VMDK descriptor says 'an extent that is not SPARSE', "
            "expected streamOptimized or monolithicSparse with a SPARSE extent"
        ),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'parentFileNameHint="flat.vmdk"',
            "the VMDK descriptor sets parentFileNameHint, expected a disk that names no other file",
        ),
        (
            'changeTrackPath="/etc/shadow"',
            "the VMDK descriptor sets changeTrackPath, expected a disk that names no other file",
        ),
    ],
)
def test_descriptor_that_names_a_file(tmp_path: Path, line: str, message: str) -> None:
    image = write(tmp_path / "disk.vmdk", small(descriptor=vmdk_descriptor(32) + line + "\n"))
    assert refusal(image) == ("E_DISK_PARENT", message)


def test_descriptor_with_a_parent(tmp_path: Path) -> None:
    text = vmdk_descriptor(32).replace("ffffffff", "0123abcd")
    assert refusal(write(tmp_path / "disk.vmdk", small(descriptor=text))) == (
        "E_DISK_PARENT",
        "the VMDK descriptor has the parent '0123abcd', expected none (ffffffff)",
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('RW 32 SPARSE "other.vmdk"', "2 extents"),
        ("digestFilename=/etc/shadow", "the key 'digestFilename'"),
        ("what is this", "the line 'what is this'"),
        ("version=2", "two values for the key 'version'"),
        ('x="\x1b[2J"', "the key 'x'"),
        ("\x1b[2J", r"the line '\x1b[2J'"),
    ],
)
def test_descriptor_that_is_not_understood(tmp_path: Path, line: str, found: str) -> None:
    image = write(tmp_path / "disk.vmdk", small(descriptor=vmdk_descriptor(32) + line + "\n"))
    assert refusal(image) == (
        "E_DISK_DESCRIPTOR",
        f"the VMDK descriptor holds {found}, expected one extent and only the keys of a plain sparse disk",
    )


@pytest.mark.parametrize("name", ["../x", "/etc/shadow", "a\\b"])
def test_extent_names_with_a_path(tmp_path: Path, name: str) -> None:
    text = vmdk_descriptor(32).replace("disk.vmdk", name)
    assert refusal(write(tmp_path / "disk.vmdk", small(descriptor=text))) == (
        "E_DISK_DESCRIPTOR",
        (
            f"the VMDK descriptor holds the extent name '{name}', "
            "expected one extent and only the keys of a plain sparse disk"
        ),
    )


@pytest.mark.parametrize(("offset", "sectors"), [(0, 20), (1, 4096), (1, 257)])
def test_descriptors_of_strange_place_or_size(tmp_path: Path, offset: int, sectors: int) -> None:
    image = set_field(set_field(small(), "descriptor_offset", offset), "descriptor_size", sectors)
    assert refusal(write(tmp_path / "disk.vmdk", image)) == (
        "E_DISK_DESCRIPTOR",
        (
            f"VMDK header: found a descriptor of {sectors * SECTOR} bytes at sector {offset}, "
            "expected at most 131072 bytes behind the header"
        ),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", 1), ("flags", 0x30005), ("capacity", 64), ("grain", 16), ("descriptor_offset", 2),
     ("descriptor_size", 19)],
)  # fmt: skip
def test_footer_that_differs_from_the_header(tmp_path: Path, field: str, value: int) -> None:
    image = small()
    image = set_field(image, field, value, at=len(image) - 1024)
    assert refusal(write(tmp_path / "disk.vmdk", image)) == (
        "E_DISK_FOOTER",
        "VMDK footer: found one that differs from the header, expected the same version, geometry and descriptor",
    )


def test_footer_that_names_a_footer(tmp_path: Path) -> None:
    image = small()
    image = set_field(image, "directory", layout.GD_AT_END, at=len(image) - 1024)
    assert refusal(write(tmp_path / "disk.vmdk", image)) == (
        "E_DISK_FOOTER",
        "VMDK footer: found one that names another footer, expected the place of the grain directory",
    )


@pytest.mark.parametrize("cut", [1024, 1024 + 700, 4096])
def test_missing_footer(tmp_path: Path, cut: int) -> None:
    assert refusal(write(tmp_path / "disk.vmdk", small()[:-cut])) == (
        "E_DISK_FOOTER",
        "VMDK footer: found none, expected a copy of the header at the end, because the header's directory is not set",
    )


def test_directory_outside_the_file(tmp_path: Path) -> None:
    image = small(footer=False)
    size = len(image)
    for sector in (3, size // SECTOR, 1 << 50):
        assert refusal(write(tmp_path / "disk.vmdk", set_field(image, "directory", sector))) == (
            "E_DISK_STRUCT",
            (
                f"the grain directory is said to lie at sector {sector}, "
                f"expected 4 bytes between sector 21 and the end at byte {size}"
            ),
        )


@pytest.mark.parametrize("sector", [3, 0xFFFF_FFFF])
def test_grain_table_outside_the_file(tmp_path: Path, sector: int) -> None:
    image = bytearray(small(footer=False))
    struct.pack_into("<I", image, field_of(image, "directory") * SECTOR, sector)
    assert refusal(write(tmp_path / "disk.vmdk", bytes(image))) == (
        "E_DISK_STRUCT",
        (
            f"the grain table 0 is said to lie at sector {sector}, "
            f"expected 2048 bytes between sector 21 and the end at byte {len(image)}"
        ),
    )


@pytest.mark.parametrize("sector", [1, 20, 0xFFFF_FFFF])
def test_grain_outside_the_file(tmp_path: Path, sector: int) -> None:
    image = bytearray(small(footer=False))
    table = struct.unpack_from("<I", image, field_of(image, "directory") * SECTOR)[0] * SECTOR
    struct.pack_into("<I", image, table + 4, sector)
    assert refusal(write(tmp_path / "disk.vmdk", bytes(image))) == (
        "E_DISK_STRUCT",
        (
            f"grain 1 is said to lie at sector {sector}, "
            f"expected one of 4 grains at sectors 21 to {len(image) // SECTOR - 1}"
        ),
    )


def test_grain_behind_the_guest_disk(tmp_path: Path) -> None:
    image = bytearray(small(footer=False))
    table = struct.unpack_from("<I", image, field_of(image, "directory") * SECTOR)[0] * SECTOR
    struct.pack_into("<I", image, table + 16, 24)
    code, message = refusal(write(tmp_path / "disk.vmdk", bytes(image)))
    assert (code, message[:52]) == ("E_DISK_STRUCT", "grain 4 is said to lie at sector 24, expected one of")


@pytest.mark.parametrize("compressed", [True, False])
def test_grains_that_share_a_place(tmp_path: Path, *, compressed: bool) -> None:
    image = bytearray(small(footer=False, compressed=compressed))
    table = struct.unpack_from("<I", image, field_of(image, "directory") * SECTOR)[0] * SECTOR
    first = struct.unpack_from("<I", image, table)[0]
    struct.pack_into("<I", image, table + 4, first if compressed else first + 7)
    assert refusal(write(tmp_path / "disk.vmdk", bytes(image))) == (
        "E_DISK_OVERLAP",
        "two grains share one place, expected every grain to have its own",
    )


@pytest.mark.parametrize("tables", [32, 32768])
def test_grain_bomb(tmp_path: Path, tables: int) -> None:
    """A few kilobytes claim 1 GiB, or 1 TiB: every directory entry names one table, with one grain."""
    capacity = tables * 512 * 128
    image = bytearray(sparse_vmdk(capacity, {0: b"x" * GRAIN}, footer=False))
    directory = field_of(image, "directory") * SECTOR
    table = struct.unpack_from("<I", image, directory)[0]
    struct.pack_into(f"<{tables}I", image, directory, *[table] * tables)
    path = write(tmp_path / "bomb.vmdk", bytes(image))
    began = time.monotonic()
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        copy_to(member, tmp_path / "out", "qcow2")
    assert time.monotonic() - began < 2
    assert caught.value.code == "E_DISK_OVERLAP"
    assert str(caught.value) == (
        "bomb.vmdk: a grain table is named twice in the grain directory, expected every grain to have its own"
    )
    assert not (tmp_path / "out").exists()


def damaged(path: Path, image: bytes) -> DiskError:
    """The error of copying a disk that opens, but has a bad grain."""
    write(path, image)
    with pytest.raises(DiskError) as caught:
        guest_bytes(path)
    assert caught.value.code == "E_DISK_GRAIN"
    assert caught.value.where == path.name
    return caught.value


def test_damaged_grains(tmp_path: Path) -> None:
    image = small()
    with member_of(write(tmp_path / "disk.vmdk", image)) as member:
        start, next_start = open_disk(member).block_map.offsets[1:]
    room = next_start - start

    def grain(lba: int, data: bytes, size: int | None = None) -> str:
        stored = layout.GRAIN_MARKER.pack(lba, len(data) if size is None else size) + data
        changed = image[:start] + stored.ljust(room, b"\0")[:room] + image[next_start:]
        return damaged(tmp_path / "disk.vmdk", changed).message

    prefix = f"grain 1 at byte {start} is damaged: "
    good = zlib.compress(b"b" * 4096)
    assert grain(16, good) == prefix + "its marker names sector 16, expected sector 8"
    assert grain(8, b"") == prefix + f"its marker claims 0 bytes, expected 1 to {room - 12}"
    assert grain(8, good, room) == prefix + f"its marker claims {room} bytes, expected 1 to {room - 12}"
    assert grain(8, good[:-1]) == prefix + "its zlib stream is damaged, expected at most 4096 bytes"
    assert grain(8, good[:-4] + b"\0\0\0\0") == prefix + "its zlib stream is damaged, expected at most 4096 bytes"
    for size in (4097, 1 << 18):
        packed = zlib.compress(b"b" * size, 9)
        assert grain(8, packed) == prefix + "its zlib stream is damaged, expected at most 4096 bytes"
    assert grain(8, zlib.compress(b"b" * 4000)) == prefix + "it inflates to 4000 bytes, expected 4096"


def test_grain_that_is_cut(tmp_path: Path) -> None:
    image = bytearray(small(footer=False, compressed=False))
    table = struct.unpack_from("<I", image, field_of(image, "directory") * SECTOR)[0] * SECTOR
    last = len(image) // SECTOR - 1
    struct.pack_into("<I", image, table + 4, last)
    assert damaged(tmp_path / "disk.vmdk", bytes(image)).message == (
        f"grain 1 at byte {last * SECTOR} is damaged: it ends after 512 bytes, expected 4096"
    )


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    image = small()
    for size in range(SECTOR, len(image), SECTOR):
        path = write(tmp_path / "cut.vmdk", image[:size])
        with member_of(path) as member, pytest.raises(VirtOvaError, match=r"footer|ends at byte"):
            open_disk(member)
