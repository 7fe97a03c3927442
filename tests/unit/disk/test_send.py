"""A stream-optimized VMDK passed on as it is."""

import hashlib
import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.build.disks import KIB, SECTOR, OrderedSink, convert, member_of, patch, random_disk, sparse_vmdk
from virt_ova.disk.opener import open_disk
from virt_ova.disk.send import can_send, send_disk
from virt_ova.errors import DiskError

GRAINS = {number: os.urandom(64 * KIB) for number in (0, 3, 4, 99)}


@pytest.fixture
def vmdk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.vmdk"
    path.write_bytes(sparse_vmdk(100 * 64 * KIB // SECTOR, GRAINS))
    return path


def test_every_byte_arrives_in_order_and_is_hashed(vmdk: Path, tmp_path: Path) -> None:
    hasher, done = hashlib.sha256(), list[int]()
    with member_of(vmdk) as member:
        send_disk(member, open_disk(member), OrderedSink(tmp_path / "sent"), hasher=hasher, advance=done.append)
    assert (tmp_path / "sent").read_bytes() == vmdk.read_bytes()
    assert hasher.digest() == hashlib.sha256(vmdk.read_bytes()).digest()
    assert sum(done) == vmdk.stat().st_size


def test_a_marker_that_disagrees_with_the_tables_is_told(vmdk: Path, tmp_path: Path) -> None:
    with member_of(vmdk) as member, closing(OrderedSink(tmp_path / "sent")) as sink:
        reader = open_disk(member)
        patch(vmdk, reader.block_map.offsets[2], b"\x07")
        with pytest.raises(
            DiskError,
            match=r"^disk.vmdk: grain 4 at byte \d+ is damaged: its marker names sector 519, expected sector 512$",
        ) as caught:
            send_disk(member, reader, sink)
    assert caught.value.code == "E_DISK_GRAIN"


@pytest.mark.parametrize(("subformat", "is_sent"), [("streamOptimized", True), ("monolithicSparse", False)])
def test_only_what_was_checked_to_the_end_is_sent(tmp_path: Path, subformat: str, *, is_sent: bool) -> None:
    raw = random_disk(tmp_path / "disk.raw", 1 << 20, (0, 3))
    with member_of(convert(raw, tmp_path / "disk.vmdk", "vmdk", f"subformat={subformat}")) as member:
        assert can_send(open_disk(member)) is is_sent
