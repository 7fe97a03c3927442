"""What a disk that is read from front to back can make us write or remember has an end."""

import struct
import tracemalloc
from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, SECTOR, sparse_vmdk
from virt_ova.disk.base import BlockMap, DiskWriter
from virt_ova.disk.forward import copy_forward, open_forward
from virt_ova.disk.qcow2.image import full_size_bytes
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.sink import FileSink
from virt_ova.errors import DiskError

CAPACITY = 4 * MIB
GRAINS = {number: bytes([number + 1]) * 64 * KIB for number in range(CAPACITY // (64 * KIB))}
END_OF_STREAM = bytes(SECTOR)


class Endless:
    """The disk `data`, and after it `more` for ever."""

    name = "disk1.vmdk"

    def __init__(self, data: bytes, more: bytes) -> None:
        self._data, self._more = data, more

    def read(self, size: int) -> bytes:
        while len(self._data) < size:
            self._data += self._more
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def data_first(block_map: BlockMap) -> DiskWriter:
    return Qcow2Writer(block_map, is_data_first=True)


def refused(source: Endless, target: Path) -> DiskError:
    sink = FileSink.create(target)
    with pytest.raises(DiskError) as caught:
        copy_forward(open_forward(source, size_bytes=CAPACITY), sink, writer=data_first)
    sink.close()
    assert caught.value.where == "disk1.vmdk"
    return caught.value


def test_grains_that_come_again_and_again(tmp_path: Path) -> None:
    whole = sparse_vmdk(CAPACITY // SECTOR, GRAINS)
    marker = struct.pack("<QI", 0, len(whole))[:8]
    first = whole.index(marker, 64 * KIB)
    size = struct.unpack_from("<I", whole, first + 8)[0]
    grain = whole[first : first + -(-(size + 12) // SECTOR) * SECTOR]
    error = refused(Endless(whole[: first + len(grain)], grain), tmp_path / "out")
    assert error.code == "E_DISK_OVERLAP"
    place = first + len(GRAINS) * len(grain)
    assert error.message == f"found another grain at byte {place}, expected at most the {len(GRAINS)} that the disk has"
    assert error.hint == "No writer makes such a disk; a small file that claims to be a huge disk does."
    block_map = BlockMap(
        capacity_bytes=CAPACITY, block_bytes=64 * KIB, numbers=(), offsets=(), max_stored_bytes=64 * KIB
    )
    assert (tmp_path / "out").stat().st_size <= full_size_bytes(block_map)


def test_padding_that_is_none(tmp_path: Path) -> None:
    whole = sparse_vmdk(CAPACITY // SECTOR, GRAINS)
    tracemalloc.start()
    try:
        error = refused(Endless(whole, b"junk" * KIB), tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()
    most = MIB + len(GRAINS) * 16
    assert error.code == "E_DISK_FORWARD"
    expected = "expected no more for a disk that is read only once"
    assert error.message == f"what is no grain takes more than {most} bytes, {expected}"
    assert error.hint == "Save the package to a file and install from there."
