import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, SECTOR, convert, member_of, random_disk, sparse_vmdk
from virt_ova.disk import gzipped
from virt_ova.disk.base import BlockMap, DiskFormat
from virt_ova.disk.forward import copy_forward
from virt_ova.disk.gzipped import GzippedDisk, examine_gzipped, probe_gzipped
from virt_ova.disk.qcow2.image import full_size_bytes
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.disk.sink import FileSink
from virt_ova.errors import DiskError
from virt_ova.source.base import Member

RAW = bytes(range(256)) * 1000 + bytes(100 * KIB)
DECOMPRESS = "Decompress the file, and take ovf:compression out of the descriptor."


@contextmanager
def stored(tmp_path: Path, data: bytes) -> Iterator[Member]:
    """The member `data`."""
    path = tmp_path / "disk.gz"
    path.write_bytes(data)
    with member_of(path) as member:
        yield member


def examined(tmp_path: Path, data: bytes, declared: int | None) -> GzippedDisk:
    with stored(tmp_path, data) as member:
        return examine_gzipped(member, declared_bytes=declared)


def refusal(tmp_path: Path, data: bytes, declared: int | None) -> DiskError:
    with stored(tmp_path, data) as member, pytest.raises(DiskError) as caught:
        examine_gzipped(member, declared_bytes=declared).open()
    assert caught.value.where == "disk.gz"
    return caught.value


def raw_of(tmp_path: Path, data: bytes, declared: int | None) -> bytes:
    """The disk in `data`, as a raw image; every stored byte must have been told of."""
    taken: list[bytes] = []
    target = tmp_path / "out.raw"
    with stored(tmp_path, data) as member:
        disk = examine_gzipped(member, declared_bytes=declared)
        sink = FileSink.create(target)
        copy_forward(disk.open(taken.append), sink, writer=RawWriter)
        sink.close()
    assert b"".join(taken) == data
    return target.read_bytes()


def test_a_vmdk_says_how_large_its_disk_is(tmp_path: Path) -> None:
    image = sparse_vmdk(5 * MIB // SECTOR, {0: b"a" * 64 * KIB, 79: b"b" * 64 * KIB})
    disk = examined(tmp_path, gzip.compress(image), 1)
    assert (disk.format, disk.block_map.capacity_bytes, len(disk.block_map)) == (DiskFormat.VMDK_STREAM, 5 * MIB, 0)
    assert len(image) < disk.inflated_bytes < 30 * MIB
    assert raw_of(tmp_path, gzip.compress(image), None) == b"a" * 64 * KIB + bytes(78 * 64 * KIB) + b"b" * 64 * KIB


@pytest.mark.parametrize("size", [0, 1, SECTOR, 65_537, len(RAW)])
@pytest.mark.parametrize("error", [None, 0, 1, -1, 1000])
def test_a_raw_disk_is_as_long_as_it_is(tmp_path: Path, size: int, error: int | None) -> None:
    declared = None if error is None else max(0, size + error)
    disk = examined(tmp_path, gzip.compress(RAW[:size]), declared)
    assert (disk.format, disk.inflated_bytes) == (DiskFormat.RAW, size)
    assert disk.block_map.capacity_bytes == -(-size // SECTOR) * SECTOR
    assert raw_of(tmp_path, gzip.compress(RAW[:size]), declared) == RAW[:size].ljust(-(-size // SECTOR) * SECTOR, b"\0")


def test_a_raw_disk_in_several_gzip_members_is_measured(tmp_path: Path) -> None:
    packed = b"".join(gzip.compress(RAW[start : start + 50_000]) for start in range(0, len(RAW), 50_000))
    assert examined(tmp_path, packed, len(RAW)).inflated_bytes == len(RAW)
    assert raw_of(tmp_path, packed, None) == RAW


def test_an_image_that_agrees_with_its_declared_size_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = gzip.compress(RAW * 10, 0)
    read: list[int] = []
    with stored(tmp_path, data) as member:
        source = member.source
        read_at = source.read_at

        def counted(offset: int, size: int) -> bytes:
            read.append(size)
            return read_at(offset, size)

        monkeypatch.setattr(source, "read_at", counted)
        examine_gzipped(member, declared_bytes=len(RAW) * 10)
        assert sum(read) < len(data) // 2
        examine_gzipped(member, declared_bytes=None)
        assert sum(read) > len(data)


def test_a_cd_is_told(tmp_path: Path) -> None:
    iso = bytes(0x8001) + b"CD001" + bytes(10_000)
    with stored(tmp_path, gzip.compress(iso)) as member:
        assert probe_gzipped(member) is DiskFormat.ISO
    assert raw_of(tmp_path, gzip.compress(iso), None) == iso.ljust(-(-len(iso) // SECTOR) * SECTOR, b"\0")


def test_an_image_that_is_too_long_is_given_up_soon(tmp_path: Path) -> None:
    error = refusal(tmp_path, gzip.compress(bytes(40 * MIB)), MIB)
    assert error.code == "E_DISK_COMPRESSION"
    assert error.message.startswith(f"it inflates to more than {2 * MIB} bytes, expected no more for the disk")


def test_an_image_of_no_declared_size_has_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gzipped.MAX_UNDECLARED_BYTES == 16 << 30
    monkeypatch.setattr(gzipped, "MAX_UNDECLARED_BYTES", 3 * MIB)
    assert examined(tmp_path, gzip.compress(bytes(3 * MIB)), None).inflated_bytes == 3 * MIB
    error = refusal(tmp_path, gzip.compress(bytes(3 * MIB + 1)), None)
    assert error.message.startswith(f"it inflates to more than {3 * MIB} bytes, expected no more for the disk")


def lying(data: bytes, size: int) -> bytes:
    """`data` compressed, and `size` as its length in front of the real one's end."""
    return gzip.compress(data) + gzip.compress(b"")[:-4] + size.to_bytes(4, "little")


def test_a_length_that_lies_is_found_out(tmp_path: Path) -> None:
    longer = lying(bytes(40 * MIB), MIB)
    with pytest.raises(DiskError) as caught:
        raw_of(tmp_path, longer, MIB)
    assert caught.value.code == "E_DISK_COMPRESSION"
    assert caught.value.message.startswith(f"it inflates to more than {MIB} bytes")
    assert (tmp_path / "out.raw").stat().st_size <= MIB
    (tmp_path / "out.raw").unlink()
    with pytest.raises(DiskError, match="incorrect length check") as caught:
        raw_of(tmp_path, lying(bytes(MIB // 2), MIB), MIB)
    assert caught.value.code == "E_DISK_COMPRESSION"


@pytest.mark.parametrize("driver", ["qcow2", "vdi", "vhdx", "vpc"])
def test_formats_that_must_be_read_in_places(tmp_path: Path, driver: str) -> None:
    raw = random_disk(tmp_path / "d.raw", 4 * MIB, [1, 3])
    image = convert(raw, tmp_path / "d.img", driver).read_bytes()
    error = refusal(tmp_path, gzip.compress(image), 4 * MIB)
    assert (error.code, error.hint) == ("E_DISK_FORWARD", DECOMPRESS)
    word = {"vpc": "vhd"}.get(driver, driver)
    expected = "expected one that can be read from front to back (vmdk-stream, raw, iso)"
    assert error.message == f"found a {word} disk, {expected}"


def test_a_compressed_file_in_a_compressed_file(tmp_path: Path) -> None:
    error = refusal(tmp_path, gzip.compress(gzip.compress(RAW)), len(RAW))
    assert error.code == "E_DISK_TYPE"


@pytest.mark.parametrize("block", [SECTOR, 4 * KIB, 64 * KIB, 2 * MIB])
@pytest.mark.parametrize("capacity", [SECTOR, 65_536, 33 * MIB + SECTOR, 600 * MIB])
def test_no_image_is_longer_than_a_full_one(block: int, capacity: int) -> None:
    count = -(-capacity // block)
    if count > 20_000:
        capacity, count = 20_000 * block, 20_000
    full = BlockMap(
        capacity_bytes=capacity, block_bytes=block, numbers=range(count), offsets=range(count), max_stored_bytes=1
    )
    empty = BlockMap(capacity_bytes=capacity, block_bytes=block, numbers=(), offsets=(), max_stored_bytes=1)
    assert full_size_bytes(empty) == Qcow2Writer(full, is_data_first=True).size_bytes
