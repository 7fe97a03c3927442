import io
import random
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build.disks import (
    KIB,
    MIB,
    SECTOR,
    OrderedSink,
    convert,
    guest_bytes,
    qemu_img,
    random_disk,
    sparse_vmdk,
)
from tests.unit.disk.test_copy import Recorder
from virt_ova.disk.base import BlockMap, DiskWriter
from virt_ova.disk.forward import copy_forward, open_forward
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.disk.sink import FileSink
from virt_ova.errors import DiskError, SourceError, VirtOvaError


class Pipe:
    """Bytes that are read once; short reads only at the end."""

    name = "disk1.vmdk"

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size)


def data_first(block_map: BlockMap) -> DiskWriter:
    return Qcow2Writer(block_map, is_data_first=True)


def copy(data: bytes, target: Path, driver: str = "qcow2", *, in_order: bool = False, size: int = 0) -> bytes:
    """Copy the disk in `data` to a new image; what was hashed."""
    recorder = Recorder()
    writer = data_first if driver == "qcow2" else RawWriter
    with closing(OrderedSink(target) if in_order else FileSink.create(target)) as sink:
        disk = open_forward(Pipe(data), size_bytes=size or len(data))
        copy_forward(disk, sink, writer=writer, hasher=recorder)
    return bytes(recorder.data)


def refused(data: bytes, target: Path, driver: str = "qcow2", *, in_order: bool = False, size: int = 0) -> VirtOvaError:
    with pytest.raises(VirtOvaError) as caught:
        copy(data, target, driver, in_order=in_order, size=size)
    return caught.value


@pytest.mark.parametrize("driver", ["qcow2", "raw"])
@pytest.mark.parametrize("size", [3 * MIB, 3 * MIB + 5 * SECTOR, 64 * KIB, SECTOR])
def test_as_qemu_img_writes_it(tmp_path: Path, driver: str, size: int) -> None:
    """The directory is at the head, nothing marks the end."""
    raw = random_disk(tmp_path / "raw", size, range(0, 64, 3))
    data = convert(raw, tmp_path / "disk.vmdk", "vmdk", "subformat=streamOptimized").read_bytes()
    assert copy(data, tmp_path / "out", driver) == data
    if driver == "qcow2":
        qemu_img("check", tmp_path / "out")
    assert "identical" in qemu_img("compare", "-f", driver, "-F", "raw", tmp_path / "out", raw)


@settings(max_examples=40, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 1100), unique=True, max_size=40),
    grain_sectors=st.sampled_from([8, 16, 128]),
    seed=st.integers(0, 1 << 16),
    footer=st.booleans(),
    padding=st.sampled_from([0, SECTOR, 70 * KIB]),
)
def test_as_vmware_writes_it(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], grain_sectors: int, seed: int, *, footer: bool,
    padding: int,
) -> None:  # fmt: skip
    """Tables behind the grains, a footer, an end marker; any order, any padding."""
    folder, rng = tmp_path_factory.mktemp("disk"), random.Random(seed)  # noqa: S311 - test data
    size = grain_sectors * SECTOR
    grains = {number: rng.choice([rng.randbytes(size), bytes(size)]) for number in numbers}
    data = sparse_vmdk(
        1101 * grain_sectors,
        grains,
        grain_sectors=grain_sectors,
        footer=footer,
        padding=padding,
        order=lambda keys: rng.sample(keys, len(keys)),
    )
    assert copy(data, folder / "out") == data
    qemu_img("check", folder / "out")
    disk = bytearray(1101 * size)
    for number, grain in grains.items():
        disk[number * size : (number + 1) * size] = grain
    assert guest_bytes(folder / "out") == disk


def test_raw_and_iso(tmp_path: Path) -> None:
    raw = random_disk(tmp_path / "raw", 3 * MIB, [0, 5, 47]).read_bytes()
    iso = bytearray(raw)
    iso[0x8001:0x8006] = b"CD001"
    for name, data in (("raw", raw), ("iso", bytes(iso))):
        assert copy(data, tmp_path / f"{name}.out", "raw", in_order=True) == data
        assert (tmp_path / f"{name}.out").read_bytes() == data
        copy(data, tmp_path / f"{name}.qcow2")
        assert guest_bytes(tmp_path / f"{name}.qcow2") == data


def test_a_stream_takes_raw_in_the_guest_s_order(tmp_path: Path) -> None:
    grains = {number: bytes([number + 1]) * 4096 for number in (0, 2, 5)}
    ordered = sparse_vmdk(48, grains, grain_sectors=8)
    copy(ordered, tmp_path / "out", "raw", in_order=True)
    assert (tmp_path / "out").read_bytes() == b"".join(grains.get(number, bytes(4096)) for number in range(6))
    backwards = sparse_vmdk(48, grains, grain_sectors=8, order=lambda keys: keys[::-1])
    error = refused(backwards, tmp_path / "no", "raw", in_order=True)
    assert error.code == "E_DISK_ORDER"
    assert (
        str(error)
        == "a disk whose blocks are out of order from a pipe cannot be written in order, expected qcow2 to a file"
    )
    error = refused(ordered, tmp_path / "nor", "qcow2", in_order=True)
    assert error.code == "E_DISK_ORDER"
    assert str(error) == "a qcow2 image from a pipe cannot be written in order, expected a file"
    assert error.hint == "Save the package to a file and install from there, or use --format raw."


def test_cut_at_every_sector(tmp_path: Path) -> None:
    """A pipe that ends early never passes for a whole disk."""
    data = sparse_vmdk(64, {number: bytes([number + 1]) * 4096 for number in (0, 3, 7)}, grain_sectors=8)
    codes = set()
    for end in range(SECTOR, len(data) - SECTOR, SECTOR):
        codes.add(refused(data[:end], tmp_path / f"out{end}").code)
    assert codes <= {"E_SOURCE_TRUNCATED", "E_DISK_FOOTER", "E_DISK_STRUCT"}
    assert {"E_SOURCE_TRUNCATED", "E_DISK_FOOTER"} <= codes


def test_tables_must_name_the_grains_that_passed(tmp_path: Path) -> None:
    grains = {number: bytes([number + 1]) * 4096 for number in (0, 3, 7)}
    data = bytearray(sparse_vmdk(64, grains, grain_sectors=8))
    table = data.rindex(struct.pack("<Q", 1) + bytes(4) + struct.pack("<I", 2)) - 512 * 4
    struct.pack_into("<I", data, table + 3 * 4, 0)
    error = refused(bytes(data), tmp_path / "out")
    assert isinstance(error, DiskError)
    assert error.code == "E_DISK_STRUCT"
    assert str(error) == "disk1.vmdk: the grain tables name 2 grains, expected the 3 that stand in the disk"


def test_damaged_markers(tmp_path: Path) -> None:
    data = bytearray(sparse_vmdk(64, {0: b"a" * 4096, 1: b"b" * 4096}, grain_sectors=8))
    start = data.index(struct.pack("<Q", 8), 20 * SECTOR)
    for at, value, message in (
        (0, struct.pack("<Q", 3), "its marker names sector 3 of 64, expected a multiple of 8"),
        (0, struct.pack("<Q", 64), "its marker names sector 64 of 64, expected a multiple of 8"),
        (8, struct.pack("<I", 1 << 30), "its marker claims 1073741824 bytes, expected 1 to 4416"),
    ):
        bad = bytearray(data)
        bad[start + at : start + at + len(value)] = value
        error = refused(bytes(bad), tmp_path / f"out{at}{value[0]}")
        assert error.code == "E_DISK_GRAIN"
        assert error.message.endswith(message)
    bad = bytearray(data)
    struct.pack_into("<QII", bad, start, 5, 0, 9)
    error = refused(bytes(bad), tmp_path / "kind")
    assert error.code == "E_DISK_STRUCT"
    assert error.message == (
        f"the marker at byte {start} is of type 9 and announces 5 sectors, "
        "expected a type up to 4 and at most 128 sectors"
    )


def test_disks_that_must_be_read_in_places(tmp_path: Path) -> None:
    raw = random_disk(tmp_path / "raw", MIB, [0, 3])
    qcow2 = convert(raw, tmp_path / "disk.qcow2", "qcow2").read_bytes()
    error = refused(qcow2, tmp_path / "out")
    assert error.code == "E_DISK_FORWARD"
    assert str(error) == (
        "disk1.vmdk: found a qcow2 disk, expected one that can be read from front to back (vmdk-stream, raw, iso)"
    )
    assert error.hint == "Save the package to a file and install from there."
    sparse = convert(raw, tmp_path / "sparse.vmdk", "vmdk", "subformat=monolithicSparse").read_bytes()
    assert refused(sparse, tmp_path / "out2").code == "E_DISK_FORWARD"


def test_raw_disks_have_their_length(tmp_path: Path) -> None:
    error = refused(bytes(MIB), tmp_path / "short", "raw", size=2 * MIB)
    assert isinstance(error, SourceError)
    assert (error.code, error.message) == (
        "E_SOURCE_TRUNCATED", "'disk1.vmdk' ends at byte 1048576, expected at least 2097152 bytes"
    )  # fmt: skip
    error = refused(bytes(2 * MIB), tmp_path / "long", "raw", size=MIB)
    assert (error.code, str(error)) == (
        "E_DISK_SIZE", "disk1.vmdk: it goes on after 1048576 bytes, where it should end"
    )  # fmt: skip


def test_a_raw_disk_must_not_end_as_a_vhd(tmp_path: Path) -> None:
    """A fixed VHD shows what it is only at its end; as a raw disk it would be one sector too long."""
    iso = bytearray(MIB)
    iso[0x8001:0x8006] = b"CD001"
    error = refused(bytes(iso) + b"conectix".ljust(SECTOR, b"\0"), tmp_path / "out", "raw")
    assert error.code == "E_DISK_AMBIGUOUS"
    error = refused(bytes(MIB) + b"conectix".ljust(SECTOR, b"\0"), tmp_path / "fixed", "raw")
    assert error.code == "E_DISK_FORWARD"
