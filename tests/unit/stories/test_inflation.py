import gzip
from contextlib import closing
from pathlib import Path

import pytest

from tests.build.disks import OrderedSink, member_of
from tests.build.small import CAPACITY, small_disk, small_vmdk
from virt_ova.disk.gzipped import examine_gzipped
from virt_ova.errors import DiskError
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.stories.inflation import inflation


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "disk.gz"
    path.write_bytes(gzip.compress(small_vmdk()))
    return path


def test_room_is_asked_for_as_if_the_disk_were_full(packed: Path) -> None:
    with member_of(packed) as member:
        disk = examine_gzipped(member, declared_bytes=CAPACITY)
        raw, qcow2 = inflation(disk, ImageFormat.RAW), inflation(disk, ImageFormat.QCOW2)
    assert raw.mode is qcow2.mode is DiskMode.EXPAND
    assert raw.size_bytes == raw.needed_bytes == CAPACITY
    assert qcow2.size_bytes == qcow2.needed_bytes == CAPACITY + 5 * (64 << 10)


def test_a_stream_takes_raw(packed: Path, tmp_path: Path) -> None:
    with member_of(packed) as member, closing(OrderedSink(tmp_path / "out")) as sink:
        inflation(examine_gzipped(member, declared_bytes=None), ImageFormat.RAW).fill(sink, None, lambda _: None)
    assert (tmp_path / "out").read_bytes() == small_disk()


def test_a_stream_cannot_take_qcow2(packed: Path, tmp_path: Path) -> None:
    with member_of(packed) as member, closing(OrderedSink(tmp_path / "out")) as sink:
        way = inflation(examine_gzipped(member, declared_bytes=None), ImageFormat.QCOW2)
        with pytest.raises(DiskError) as caught:
            way.fill(sink, None, lambda _: None)
    assert (caught.value.code, caught.value.where, caught.value.hint) == (
        "E_DISK_ORDER",
        "disk.gz",
        "Use --format raw.",
    )
    assert caught.value.message == (
        "a gzip'd disk cannot be written as qcow2 to a stream, expected raw or a file: what is in it is only known at "
        "its end"
    )
    assert (tmp_path / "out").read_bytes() == b""
