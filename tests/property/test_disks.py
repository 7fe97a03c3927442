"""Disks at random: valid ones of any shape come out the same, damaged ones never crash a reader.

qemu-img is the oracle. It runs on a damaged image only after our own reader has accepted it.
"""

import random
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build.disks import (
    KIB,
    MIB,
    SECTOR,
    bytes_by_qemu,
    convert,
    copy_to,
    decoded,
    guest_bytes,
    member_of,
    qemu_img,
    random_disk,
    sparse_vmdk,
)
from virt_ova.disk.opener import open_disk
from virt_ova.disk.vhd import layout as vhd
from virt_ova.disk.vhdx import layout as vhdx
from virt_ova.errors import VirtOvaError

COMPARED_BYTES: Final = 8 * MIB
"""A damaged image that claims a larger disk is opened, but not read to its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A sparse extent to be."""

    grain_sectors: int
    grains: tuple[str, ...]
    tail_sectors: int
    seed: int
    compressed: bool
    footer: bool
    padding: int


SHAPES = st.builds(
    Shape,
    grain_sectors=st.sampled_from([8, 16, 128, 256, 2048]),
    grains=st.one_of(
        st.just(("random",)),
        st.lists(st.sampled_from(["none", "zeros", "random", "same"]), min_size=1, max_size=24).map(tuple),
        st.just(("random", "none") * 8),
        st.just(("same",) * 16),
    ),
    tail_sectors=st.integers(0, 7),
    seed=st.integers(0, 1 << 16),
    compressed=st.booleans(),
    footer=st.booleans(),
    padding=st.sampled_from([0, SECTOR, 3 * SECTOR]),
)


def extent_of(shape: Shape) -> tuple[bytes, bytes]:
    """The image, and the guest's disk."""
    rng, size = random.Random(shape.seed), shape.grain_sectors * SECTOR  # noqa: S311 - test data
    makers: Mapping[str, Callable[[], bytes]] = {
        "none": lambda: bytes(size),
        "zeros": lambda: bytes(size),
        "random": lambda: rng.randbytes(size),
        "same": lambda: rng.randbytes(16) * (size // 16),
    }
    data = [makers[kind]() for kind in shape.grains]
    capacity = (len(data) - 1) * shape.grain_sectors + (shape.tail_sectors or shape.grain_sectors)
    data[-1] = data[-1][: (shape.tail_sectors or shape.grain_sectors) * SECTOR]
    image = sparse_vmdk(
        capacity,
        {number: grain for number, grain in enumerate(data) if shape.grains[number] != "none"},
        grain_sectors=shape.grain_sectors,
        order=lambda numbers: rng.sample(numbers, len(numbers)) if shape.seed % 2 else sorted(numbers),
        footer=shape.footer and shape.compressed,
        compressed=shape.compressed,
        padding=shape.padding if shape.compressed else 0,
    )
    return image, b"".join(data)


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, in_order=st.booleans())
def test_any_extent_comes_out_the_same(
    tmp_path_factory: pytest.TempPathFactory, shape: Shape, *, in_order: bool
) -> None:
    folder = tmp_path_factory.mktemp("extent")
    image, disk = extent_of(shape)
    (folder / "disk.vmdk").write_bytes(image)
    with member_of(folder / "disk.vmdk") as member:
        copy_to(member, folder / "disk.qcow2", "qcow2", in_order=in_order)
        copy_to(member, folder / "disk.raw", "raw")
    assert (folder / "disk.raw").read_bytes() == disk
    qemu_img("check", "-f", "qcow2", folder / "disk.qcow2")
    qemu_img("compare", "-f", "qcow2", "-F", "raw", folder / "disk.qcow2", folder / "disk.raw")
    assert guest_bytes(folder / "disk.qcow2") == disk


@settings(max_examples=15, deadline=None)
@given(
    used=st.sets(st.integers(0, 31), max_size=32),
    tail_sectors=st.integers(0, 127),
    to=st.sampled_from(
        [
            ("vpc", "force_size=on"), ("vdi",), ("vhdx", "block_size=1M"), ("qcow2",), ("qcow2", "-c"),
            ("qcow2", "cluster_size=1k"), ("vmdk", "subformat=streamOptimized"), ("vmdk",),
        ]
    ),
)  # fmt: skip
def test_any_disk_by_qemu_img_comes_out_the_same(
    tmp_path_factory: pytest.TempPathFactory, used: set[int], tail_sectors: int, to: tuple[str, ...]
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    raw = random_disk(folder / "raw", 31 * 64 * KIB + (tail_sectors or 128) * SECTOR, used)
    with member_of(convert(raw, folder / "image", *to)) as member:
        copy_to(member, folder / "out", "qcow2")
    qemu_img("check", "-f", "qcow2", folder / "out")
    qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, folder / "out")


IMAGES = {
    "vmdk-stream": ("vmdk", "subformat=streamOptimized"),
    "vmdk-sparse": ("vmdk",),
    "vhd-dynamic": ("vpc", "force_size=on"),
    "vhd-fixed": ("vpc", "subformat=fixed,force_size=on"),
    "vdi": ("vdi",),
    "vhdx": ("vhdx", "block_size=1M"),
    "qcow2": ("qcow2", "cluster_size=4k"),
    "qcow2-zlib": ("qcow2", "-c", "cluster_size=4k"),
    "qcow2-zstd": ("qcow2", "-c", "cluster_size=64k,compression_type=zstd"),
}


def places_of(name: str, data: bytes) -> list[range]:
    """Where the metadata of an image lie; without the creator of a VHD (bytes 28 to 31), whose meaning QEMU changed."""
    end = len(data)
    if name.startswith("qcow2"):
        l1 = struct.unpack_from(">Q", data, 40)[0]
        l2 = struct.unpack_from(">Q", data, l1)[0] & 0xFF_FFFF_FFFF_FE00
        return [range(112), range(112, 600), range(l1, l1 + 16), range(l2, l2 + 2 * KIB)]
    if name == "vhdx":
        regions = vhdx.parse_regions(data[vhdx.REGION_TABLE_OFFSET :][: 64 * KIB])
        tables = [range(region.offset, region.offset + 256) for region in regions.values()]
        items = regions[vhdx.METADATA_REGION].offset + 64 * KIB
        return [range(at, at + 0x60) for at in (0x10000, 0x20000, 0x30000, items)] + tables
    return {
        "vmdk-stream": [range(512), range(512, 1024), range(end - 4 * KIB, end), range(0x10000, 0x10010)],
        "vmdk-sparse": [range(512), range(512, 1024), range(21 * SECTOR, 30 * SECTOR)],
        "vhd-dynamic": [range(25), range(32, 512), range(512, 600), range(1536, 1544)],
        "vhd-fixed": [range(end - 512, end - 487), range(end - 480, end - 400)],
        "vdi": [range(0x40, 0x1C8), range(512, 520)],
    }[name]


def mutate(rng: random.Random, name: str, original: bytes, places: list[range]) -> bytes:
    """A few changed bytes and words, sometimes a cut; checksums made right again more often than not."""
    data = bytearray(original)
    for _ in range(rng.randint(1, 3)):
        place = rng.choice(rng.choice(places))
        match rng.randrange(4):
            case 0:
                data[place] ^= 1 << rng.randrange(8)
            case 1:
                data[place] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
            case 2:
                word = rng.choice((0, 1, 2, 8, 512, 65536, len(data), len(data) // 512, (1 << 31) - 1, (1 << 32) - 1))
                struct.pack_into(rng.choice("<>") + "I", data, min(place, len(data) - 4), word)
            case _:
                data[place] = rng.randrange(256)
    if rng.random() < 0.05:
        del data[rng.randrange(len(data)) :]
    elif rng.random() < 0.8:
        repair(name, data, original)
    return bytes(data)


def repair(name: str, data: bytearray, original: bytes) -> None:
    """Make the checksums right of what was changed."""
    if name == "vhdx":
        for offset, size in ((0x10000, 4 * KIB), (0x20000, 4 * KIB), (0x30000, 64 * KIB)):
            part = bytes(data[offset : offset + size])
            if part != original[offset : offset + size]:
                struct.pack_into("<I", data, offset + 4, vhdx.checksum_of(part))
    for offset, size in {"vhd-dynamic": ((0, 512), (512, 1024)), "vhd-fixed": ((len(data) - 512, 512),)}.get(name, ()):
        part = bytes(data[offset : offset + size])
        with suppress(KeyError):  # the cookie is among what was changed
            struct.pack_into(">i", data, offset + vhd.CHECKSUM_OFFSETS[part[:8]], vhd.checksum_of(part))
    if name == "vhd-dynamic":
        data[-512:] = data[:512]


def read_small(path: Path) -> bytes | VirtOvaError | None:
    """The guest's disk, why it is refused, or None when it is too large to be compared."""
    try:
        with member_of(path) as member:
            reader = open_disk(member)
            return decoded(member, reader) if reader.block_map.capacity_bytes <= COMPARED_BYTES else None
    except VirtOvaError as exc:
        return exc


def is_same(name: str, found: bytes, expected: bytes) -> bool:
    """Whether both readers agree; QEMU does not read the bitmaps of a VHD, so some sectors may be zeros instead."""
    if name != "vhd-dynamic" or len(found) != len(expected):
        return found == expected
    sectors = (slice(at, at + SECTOR) for at in range(0, len(found), SECTOR))
    return all(found[sector] in {expected[sector], bytes(SECTOR)} for sector in sectors)


@pytest.mark.parametrize("name", IMAGES)
def test_damaged_images(tmp_path: Path, name: str, mutations: int) -> None:
    raw = random_disk(tmp_path / "raw", MIB + 3 * SECTOR, [0, 3, 16], block=64 * KIB)
    original = convert(raw, tmp_path / "image", *IMAGES[name]).read_bytes()
    path, places, accepted = tmp_path / "damaged", places_of(name, original), 0
    for seed in range(mutations):
        changed = mutate(random.Random(seed), name, original, places)  # noqa: S311 - test data
        path.write_bytes(changed)
        try:
            found = read_small(path)
        except Exception as exc:
            raise AssertionError(f"{name}, seed {seed}") from exc
        if isinstance(found, VirtOvaError):
            assert found.code.startswith(("E_DISK_", "E_SOURCE_TRUNCATED")), f"{name}, seed {seed}"
            assert len(str(found)) < 1000, f"{name}, seed {seed}"
        elif found is not None and changed != original:
            expected = bytes_by_qemu(path, IMAGES[name][0], tmp_path / "out")
            assert expected is None or is_same(name, found, expected), f"{name}, seed {seed}"
            accepted += expected is not None
    assert 0 < accepted < mutations
