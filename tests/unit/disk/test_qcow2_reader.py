"""qcow2 images of both versions; everything that names another file or is not understood is refused."""

import importlib
import os
import struct
import time
import zlib
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
    qemu_img,
    random_disk,
    refusal,
)
from virt_ova.disk.base import DiskFormat
from virt_ova.disk.opener import open_disk
from virt_ova.disk.qcow2 import layout, reader
from virt_ova.errors import DiskError

SIZE = 5 * MIB + 3 * SECTOR
FIELDS = {
    "version": (4, ">I"), "backing": (8, ">Q"), "backing_size": (16, ">I"), "bits": (20, ">I"), "size": (24, ">Q"),
    "crypt": (32, ">I"), "l1_size": (36, ">I"), "l1": (40, ">Q"), "snapshots": (60, ">I"), "incompatible": (72, ">Q"),
    "length": (100, ">I"), "compression": (104, ">B"),
}  # fmt: skip


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return random_disk(tmp_path / "disk.raw", SIZE, [0, 1, 33, 80])


@pytest.fixture
def image(tmp_path: Path, raw: Path) -> Path:
    return convert(raw, tmp_path / "disk.qcow2", "qcow2")


@pytest.fixture
def compressed(tmp_path: Path, raw: Path) -> Path:
    return convert(raw, tmp_path / "small.qcow2", "qcow2", "-c")


def change(path: Path, **fields: int) -> Path:
    for field, value in fields.items():
        offset, form = FIELDS[field]
        patch(path, offset, struct.pack(form, value))
    return path


def entry_at(path: Path, cluster: int) -> int:
    """Where in the file the L2 entry of one of the first clusters stands."""
    data = path.read_bytes()
    l1 = struct.unpack_from(">Q", data, 40)[0]
    table: int = struct.unpack_from(">Q", data, l1)[0] & layout.TABLE_OFFSET_MASK
    return table + cluster * 8


def entry_of(path: Path, cluster: int) -> int:
    entry: int = struct.unpack_from(">Q", path.read_bytes(), entry_at(path, cluster))[0]
    return entry


def set_entry(path: Path, cluster: int, entry: int) -> None:
    patch(path, entry_at(path, cluster), struct.pack(">Q", entry))


def test_blocks_are_clusters(image: Path, raw: Path) -> None:
    assert guest_bytes(image) == raw.read_bytes()
    with member_of(image) as member:
        opened = open_disk(member)
        assert opened.format is DiskFormat.QCOW2
        assert (opened.block_map.capacity_bytes, opened.block_map.block_bytes) == (SIZE, 64 * KIB)
        assert list(opened.block_map.numbers) == [0, 1, 33, 80]
        assert list(opened.zero_ordinals()) == []


@pytest.mark.parametrize("cluster", ["512", "4k", "64k", "2M"])
@pytest.mark.parametrize("options", [(), ("-c",), ("-c", "compression_type=zstd"), ("compat=0.10", "-c")])
def test_cluster_sizes(tmp_path: Path, raw: Path, cluster: str, options: tuple[str, ...]) -> None:
    image = convert(raw, tmp_path / "disk.qcow2", "qcow2", f"cluster_size={cluster}", *options)
    assert guest_bytes(image) == raw.read_bytes()


def test_l2_tables_that_are_left_out(tmp_path: Path) -> None:
    """1.5 GiB: an L2 table of 64 KiB maps 512 MiB."""
    raw = random_disk(tmp_path / "r", 3 * 512 * MIB, [1, 2 * 8192 + 3])
    image = convert(raw, tmp_path / "disk.qcow2", "qcow2")
    with member_of(image) as member:
        assert list(open_disk(member).block_map.numbers) == [1, 2 * 8192 + 3]


def test_zero_clusters_hold_no_data(image: Path, raw: Path, tmp_path: Path) -> None:
    set_entry(image, 0, layout.ALL_ZEROS)
    set_entry(image, 1, entry_of(image, 1) | layout.ALL_ZEROS)
    expected = bytes(128 * KIB) + raw.read_bytes()[128 * KIB :]
    assert guest_bytes(image) == expected == bytes_by_qemu(image, "qcow2", tmp_path / "out")


def test_zero_clusters_are_unknown_to_version_2(image: Path) -> None:
    set_entry(change(image, version=2), 0, layout.ALL_ZEROS)
    assert refusal(image) == (
        "E_DISK_STRUCT",
        "an entry of an L2 table of the qcow2 sets bits that have no meaning, expected an offset and known flags",
    )


def test_entries_behind_the_end_count_for_nothing(image: Path, raw: Path) -> None:
    set_entry(image, 81, 1 << 50)
    assert guest_bytes(image) == raw.read_bytes()


def test_dirty_image_is_read(image: Path, raw: Path) -> None:
    assert guest_bytes(change(image, incompatible=layout.DIRTY_BIT)) == raw.read_bytes()


def test_transplanted_grain(tmp_path: Path) -> None:
    """A deflate window of 32 KiB, and bytes behind the stream."""
    image = convert(random_disk(tmp_path / "r", 64 * KIB, [0]), tmp_path / "disk.qcow2", "qcow2", "-c")
    guest = (os.urandom(30000) * 3)[: 64 * KIB]
    end = image.stat().st_size
    packed = zlib.compress(guest)
    patch(image, end, packed + b"\xaa" * (SECTOR - len(packed) % SECTOR))
    sectors = (end + 2 + len(packed)) // SECTOR - (end + 2) // SECTOR
    set_entry(image, 0, layout.COMPRESSED | sectors << 54 | end + 2)
    assert guest_bytes(image) == guest == bytes_by_qemu(image, "qcow2", tmp_path / "out")


@pytest.mark.parametrize("fields", [{"backing": 112, "backing_size": 5}, {"backing": 1 << 40}, {"backing_size": 1}])
def test_backing_file(image: Path, fields: dict[str, int]) -> None:
    expected = ("E_DISK_BACKING", "the qcow2 names a backing file, expected an image that stands alone")
    assert refusal(change(image, **fields)) == expected


@pytest.mark.parametrize(
    "name", ["/etc/shadow", "../x", 'json:{"driver":"file","filename":"/etc/shadow"}', "nbd://127.0.0.1:1/x"]
)
def test_backing_files_by_qemu_img(tmp_path: Path, name: str) -> None:
    image = tmp_path / "disk.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", image, "1M")
    assert refusal(image) == (
        "E_DISK_BACKING",
        "the qcow2 names a backing file, expected an image that stands alone",
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 1}, "found version 1, expected 2 or 3"),
        ({"version": 4}, "found version 4, expected 2 or 3"),
        ({"incompatible": 2}, "found incompatible feature the mark of a corrupt image, expected an image without it"),
        ({"incompatible": 4}, "found incompatible feature an external data file, expected an image without it"),
        ({"incompatible": 16}, "found incompatible feature extended L2 entries, expected an image without it"),
        ({"incompatible": 32}, "found incompatible features 0x20, expected none that is unknown"),
        ({"incompatible": 1 << 63}, f"found incompatible features {1 << 63:#x}, expected none that is unknown"),
        ({"crypt": 1}, "found encryption method 1, expected 0 (none)"),
        ({"crypt": 2}, "found encryption method 2, expected 0 (none)"),
        ({"snapshots": 1}, "found internal snapshots 1, expected none"),
        ({"incompatible": 8, "compression": 2}, "found compression type 2, expected 0 (zlib) or 1 (zstd)"),
    ],
)
def test_features(image: Path, fields: dict[str, int], message: str) -> None:
    assert refusal(change(image, **fields)) == ("E_DISK_FEATURE", f"qcow2 header: {message}")


def test_features_as_qemu_img_writes_them(tmp_path: Path, image: Path) -> None:
    qemu_img("snapshot", "-c", "one", image)
    assert refusal(image)[0] == "E_DISK_FEATURE"
    for options in ("extended_l2=on", f"data_file={tmp_path}/data,data_file_raw=on"):
        other = tmp_path / "other.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-o", options, other, "1M")
        assert refusal(other)[0] == "E_DISK_FEATURE"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 8}, "found cluster size 256, expected 512 bytes to 2 MiB"),
        ({"bits": 22}, "found cluster size 4194304, expected 512 bytes to 2 MiB"),
        ({"bits": 0xFFFF_FFFF}, "found cluster size 4294967296, expected 512 bytes to 2 MiB"),
        ({"length": 103}, "found header length 103, expected a multiple of 8 from 104"),
        ({"length": 108}, "found header length 108, expected a multiple of 8 from 104"),
        ({"l1_size": 0}, "found L1 entries 0, expected at least 1"),
        ({"incompatible": 8}, "found compression type 0, expected one that the feature bits announce"),
        ({"compression": 1}, "found compression type 1, expected one that the feature bits announce"),
    ],
)
def test_header_fields(image: Path, fields: dict[str, int], message: str) -> None:
    assert refusal(change(image, **fields)) == ("E_DISK_STRUCT", f"qcow2 header: {message}")


def test_other_magic() -> None:
    with pytest.raises(DiskError) as caught:
        layout.parse_header(bytes(layout.HEADER_BYTES))
    assert caught.value.message == rf"qcow2 header: found magic number {bytes(4)!r}, expected b'QFI\xfb'"


@pytest.mark.parametrize("size", [0, 1, 511, (64 << 40) + 512, 1 << 50, 1 << 63, (1 << 64) - 1])
def test_capacity_lies(image: Path, size: int) -> None:
    assert refusal(change(image, size=size)) == (
        "E_DISK_SIZE",
        f"the qcow2 header says {size} bytes, expected a multiple of 512 up to {64 << 40}",
    )


def test_l1_table_that_is_too_large(image: Path) -> None:
    assert refusal(change(image, bits=9, size=64 << 40, l1_size=1 << 31)) == (
        "E_DISK_LIMIT",
        f"the qcow2 needs an L1 table of {(64 << 40) // (32 * KIB) * 8} bytes, expected at most {4 * MIB}",
    )


@pytest.mark.parametrize("offset", [1, 1 << 40, 0xFFFF_FFFF_FFFF_0000])
def test_l1_table_outside_the_file(image: Path, offset: int) -> None:
    assert refusal(change(image, l1=offset)) == (
        "E_DISK_STRUCT",
        (
            f"the L1 table is said to lie at byte {offset}, expected 8 bytes at a whole cluster "
            f"before the end at byte {image.stat().st_size}"
        ),
    )


def test_l1_entries(image: Path) -> None:
    l1 = struct.unpack_from(">Q", image.read_bytes(), 40)[0]
    for entry, message in (
        (1, "an entry of an L1 table of the qcow2 sets bits that have no meaning, expected an offset and known flags"),
        (
            1 << 40,
            (
                f"the L2 table 0 is said to lie at byte {1 << 40}, expected 65536 bytes at a whole cluster "
                f"before the end at byte {image.stat().st_size}"
            ),
        ),
    ):
        patch(image, l1, struct.pack(">Q", entry))
        assert refusal(image) == ("E_DISK_STRUCT", message)


@pytest.mark.parametrize("bits", [2, 1 << 8, 1 << 56, layout.COPIED])
def test_l2_entries_without_meaning(image: Path, bits: int) -> None:
    set_entry(image, 0, bits if bits == layout.COPIED else entry_of(image, 0) | bits)
    assert refusal(image) == (
        "E_DISK_STRUCT",
        "an entry of an L2 table of the qcow2 sets bits that have no meaning, expected an offset and known flags",
    )


@pytest.mark.parametrize("offset", [1 << 40, 5 * 64 * KIB + 512])
def test_cluster_outside_the_file(image: Path, offset: int) -> None:
    set_entry(image, 0, offset)
    assert refusal(image) == (
        "E_DISK_STRUCT",
        (
            f"cluster 0 is said to lie at byte {offset}, expected 65536 bytes at a whole cluster "
            f"before the end at byte {image.stat().st_size}"
        ),
    )


def test_compressed_cluster_outside_the_file(compressed: Path) -> None:
    size = compressed.stat().st_size
    set_entry(compressed, 0, layout.COMPRESSED | size)
    assert refusal(compressed) == (
        "E_DISK_STRUCT",
        f"cluster 0 is said to lie at byte {size}, expected 1 bytes at a whole cluster before the end at byte {size}",
    )


def test_image_that_is_cut(image: Path, raw: Path) -> None:
    """The last cluster may lack what lies behind the guest's end, no more."""
    with member_of(image) as member:
        end = open_disk(member).block_map.offsets[-1] + 3 * SECTOR
    os.truncate(image, end)
    assert guest_bytes(image) == raw.read_bytes()
    os.truncate(image, end - 1)
    assert refusal(image) == (
        "E_DISK_STRUCT",
        (
            f"cluster 80 is said to lie at byte {end - 3 * SECTOR}, expected 1536 bytes at a whole cluster "
            f"before the end at byte {end - 1}"
        ),
    )


def test_clusters_that_share_a_place(image: Path) -> None:
    set_entry(image, 1, entry_of(image, 0))
    assert refusal(image) == (
        "E_DISK_OVERLAP",
        "found two clusters that share bytes, expected every cluster to have its own place",
    )


def test_compressed_clusters_that_share_a_place(compressed: Path) -> None:
    set_entry(compressed, 1, entry_of(compressed, 0))
    assert refusal(compressed) == (
        "E_DISK_OVERLAP",
        "found two clusters that share bytes, expected every cluster to have its own place",
    )


@pytest.mark.parametrize("tables", [2, 1 << 17])
def test_table_bomb(tmp_path: Path, tables: int) -> None:
    """All L1 entries name one L2 table: 1 MiB claims 64 TiB."""
    path = convert(random_disk(tmp_path / "r", 64 * KIB, [0]), tmp_path / "bomb.qcow2", "qcow2")
    data = path.read_bytes()
    l1 = struct.unpack_from(">Q", data, 40)[0]
    table = data[l1 : l1 + 8]
    end = path.stat().st_size
    patch(path, end, table * tables)
    change(path, l1=end, l1_size=tables, size=tables * 512 * MIB)
    began = time.monotonic()
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        copy_to(member, tmp_path / "out", "qcow2")
    assert time.monotonic() - began < 2
    assert caught.value.code == "E_DISK_OVERLAP"
    assert str(caught.value) == (
        "bomb.qcow2: found an L2 table that is named twice, expected every cluster to have its own place"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", [0, 1])
def test_cluster_bomb(tmp_path: Path, step: int) -> None:
    """All L2 entries name one cluster, or compressed streams that begin at each byte of one."""
    path = convert(random_disk(tmp_path / "r", 512 * MIB, [0]), tmp_path / "bomb.qcow2", "qcow2")
    first = entry_of(path, 0) & layout.TABLE_OFFSET_MASK
    entries = [layout.COMPRESSED | first + i for i in range(8192)] if step else [first] * 8192
    patch(path, entry_at(path, 0), struct.pack(">8192Q", *entries))
    code, message = refusal(path)
    assert code == "E_DISK_OVERLAP"
    assert message == (
        f"found more clusters than {path.stat().st_size} bytes can hold, expected every cluster to have its own place"
    )


def replaced(path: Path, data: bytes) -> str:
    """What is said of the first cluster when its stream becomes `data`."""
    with member_of(path) as member:
        start, next_start = open_disk(member).block_map.offsets[:2]
        room = next_start - start
    patch(path, start, data.ljust(room, b"\0")[:room])
    with pytest.raises(DiskError) as caught:
        guest_bytes(path)
    assert (caught.value.code, caught.value.where) == ("E_DISK_GRAIN", path.name)
    prefix = f"cluster 0 at byte {start} is damaged: "
    suffix = ", expected a stream of 65536 bytes that ends before the next cluster"
    assert caught.value.message.startswith(prefix)
    assert caught.value.message.endswith(suffix)
    return caught.value.message.removeprefix(prefix).removesuffix(suffix)


def test_damaged_deflate_streams(compressed: Path) -> None:
    def deflated(size: int) -> bytes:
        return zlib.compress(b"x" * size)[2:-4]

    assert replaced(compressed, b"\xff" * 100) == "its deflate stream is damaged"
    assert replaced(compressed, deflated(64 * KIB + 1)) == "its deflate stream is damaged"
    assert replaced(compressed, deflated(64 * KIB)[:-5]) == "its deflate stream is damaged"
    assert replaced(compressed, deflated(64 * KIB - 1)) == "it inflates to 65535 bytes"
    assert replaced(compressed, zlib.compress(os.urandom(64 * KIB))[2:]) == "its deflate stream is damaged"


def test_damaged_zstd_streams(tmp_path: Path, raw: Path) -> None:
    image = convert(raw, tmp_path / "disk.qcow2", "qcow2", "-c", "compression_type=zstd")
    zstd = importlib.import_module("backports.zstd")
    assert replaced(image, b"\xff" * 100) == "its zstd stream is damaged"
    assert replaced(image, zstd.compress(b"x" * 100)) == "it inflates to 100 bytes"
    assert replaced(image, zstd.compress(os.urandom(64 * KIB))).startswith("it inflates to ")


def test_zstd_without_a_library(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(reader, "import_module", missing)
    image = convert(raw, tmp_path / "disk.qcow2", "qcow2", "-c", "compression_type=zstd")
    assert refusal(image) == (
        "E_NOT_SUPPORTED",
        "the qcow2 is compressed with zstd, expected zlib where no zstd library is installed",
    )
    plain = convert(raw, tmp_path / "plain.qcow2", "qcow2", "compression_type=zstd")
    assert guest_bytes(plain) == raw.read_bytes()
