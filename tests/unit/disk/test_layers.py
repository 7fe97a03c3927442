"""Disks of differences; tests/property has them at random, with qemu-img as the oracle."""

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.build.disks import KIB, MIB, SECTOR, convert, decoded, member_of, patch, qemu_img, random_disk, sparse_vmdk
from tests.build.layers import Layer, flatten, layered
from virt_ova.disk import copy, layers
from virt_ova.disk.base import DiskFormat
from virt_ova.disk.opener import open_delta, open_disk
from virt_ova.errors import DiskError

BASE = Layer(grains=("data",) * 8, seed=1)
DELTA = Layer(grains=("none", "data", "zeroed", "zeros") * 2, seed=2)
MERGE = "Merge the disks where they were made, and export the machine again."


def write(folder: Path, *stack: Layer, parents: Sequence[str] = ()) -> list[Path]:
    """The images of `stack`, the topmost first; `parents` are the hints in them."""
    hints = [*parents, *[""] * len(stack)]
    return [layer.write(folder / f"{n}.vmdk", parent=hints[n]) for n, layer in enumerate(stack)]


def merged(*stack: Layer) -> bytes:
    """What the guest should see."""
    disk = b""
    for layer in reversed(stack):
        disk = layer.over(disk)
    return disk


def refused(paths: Sequence[Path]) -> DiskError:
    """The error with which the chain is refused."""
    with pytest.raises(DiskError) as caught, layered(paths) as (member, reader):
        decoded(member, reader)
    return caught.value


def test_what_a_delta_lacks_is_read_from_its_parent_and_its_zeros_hide_it(tmp_path: Path) -> None:
    with layered(write(tmp_path, DELTA, BASE)) as (member, reader):
        assert decoded(member, reader) == merged(DELTA, BASE)
        assert reader.format is DiskFormat.VMDK_STREAM
        assert list(reader.block_map.numbers) == [1, 3, 5, 7, 0, 4]


@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
def test_what_qemu_wrote_over_a_disk(tmp_path: Path, subformat: str) -> None:
    """Of the second child the first one is the parent; qemu-img reads the chain, by the names in the images."""
    raw = random_disk(tmp_path / "raw", 4 * MIB + 5 * SECTOR, [0, 1, 2, 20, 21, 40, 64])
    base = convert(raw, tmp_path / "base.vmdk", "vmdk", f"subformat={subformat}")
    writes = (
        ["write -P 7 4k 8k", "write -P 8 1300k 200k", "write -z 128k 64k"],
        ["write -P 9 100k 40k", "write -z 1M 1M"],
    )
    paths = [base]
    for number, commands in enumerate(writes):
        child = tmp_path / f"{number}.vmdk"
        qemu_img("create", "-f", "vmdk", "-o", "zeroed_grain=on", "-b", paths[0], "-F", "vmdk", child)
        words = [word for command in commands for word in ("-c", command)]
        subprocess.run(["qemu-io", "-f", "vmdk", *words, child], check=True, capture_output=True)
        paths.insert(0, child)
    qemu_img("convert", "-f", "vmdk", "-O", "raw", paths[0], tmp_path / "expected")
    flatten(paths, tmp_path / "out", "raw", hasher=None)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "expected").read_bytes()
    with layered(paths) as (_, reader):
        assert reader.format is DiskFormat.VMDK_SPARSE
        assert {20, 21}.isdisjoint(reader.block_map.numbers)


def test_the_parent_is_the_declared_one_whatever_the_image_says(tmp_path: Path) -> None:
    hinted = write(tmp_path, DELTA, BASE, parents=["/etc/passwd"])
    with layered(hinted) as (member, reader):
        assert decoded(member, reader) == merged(DELTA, BASE)
    error = refused(write(tmp_path, DELTA, BASE, parents=["1.vmdk", "2.vmdk"]))
    assert (error.code, error.where) == ("E_DISK_PARENT", "1.vmdk")
    assert error.message == "the VMDK descriptor sets parentFileNameHint, expected a disk that names no other file"
    with member_of(hinted[0]) as member, pytest.raises(DiskError, match="sets parentFileNameHint"):
        open_disk(member)


def test_a_delta_may_have_no_other_file_besides(tmp_path: Path) -> None:
    path = DELTA.write(tmp_path / "0.vmdk", parent='1.vmdk"\nchangeTrackPath="/etc/passwd')
    error = refused([path, BASE.write(tmp_path / "1.vmdk")])
    assert (error.code, error.where) == ("E_DISK_PARENT", "0.vmdk")
    assert error.message == "the VMDK descriptor sets changeTrackPath, expected a disk that names no other file"


def test_a_layer_hides_what_is_behind_its_end(tmp_path: Path) -> None:
    """The layer in the middle ends within a block, which only the lowest one has."""
    short = Layer(grains=("none",) * 3, tail_sectors=3)
    wide = Layer(grains=("none",) * 12)
    stack = (wide, short, BASE)
    with layered(write(tmp_path, *stack)) as (member, reader):
        found = decoded(member, reader)
    assert found == merged(*stack)
    end = short.capacity
    assert found[end - 1] == 1
    assert not any(found[end:])


@pytest.mark.parametrize("verify", [False, True])
def test_blocks_of_one_place_are_never_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, verify: bool) -> None:
    """Small blocks above, large ones below, and pieces that would end within a large one."""
    small = Layer(grains=("data", "none", "none", "none", "none") * 40, grain_sectors=8)
    large = Layer(grains=("data",) * 5, grain_sectors=512, compressed=False)
    monkeypatch.setattr(copy, "PIECE_BYTES", 64 * KIB)
    paths = write(tmp_path, small, large)
    flatten(paths, tmp_path / "out", "raw", hasher=Silent() if verify else None)
    assert (tmp_path / "out").read_bytes() == merged(small, large)


class Silent:
    """A hasher that does nothing."""

    def update(self, data: object, /) -> None:
        """Take the next bytes."""


@pytest.mark.parametrize("driver", ["qcow2", "vdi", "vpc", "vhdx", "raw"])
def test_differences_in_other_formats_are_refused(tmp_path: Path, driver: str) -> None:
    raw = random_disk(tmp_path / "raw", MIB, [0])
    path = raw if driver == "raw" else convert(raw, tmp_path / "0.img", driver)
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        open_delta(member)
    word = {"vpc": "vhd"}.get(driver, driver)
    assert (caught.value.code, caught.value.hint, caught.value.where) == ("E_NOT_SUPPORTED", MERGE, path.name)
    assert caught.value.message == (
        f"the disk is declared as the difference to another one, and its image is {word}, expected a VMDK file"
    )


def test_a_difference_in_several_files_is_refused(tmp_path: Path) -> None:
    (path,) = write(tmp_path, DELTA)
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        open_delta(replace(member, extents=(1000, member.size - 1000)))
    assert (caught.value.code, caught.value.hint) == ("E_NOT_SUPPORTED", MERGE)
    assert caught.value.message == (
        "the disk is declared as the difference to another one, and its image is 2 files, expected a VMDK file"
    )


def test_a_grain_does_not_reach_into_the_next_image(tmp_path: Path) -> None:
    """A grain that begins in the last sector of its image could take the bytes of the parent."""
    top, base = write(tmp_path, replace(DELTA, grains=("data",), compressed=False), BASE)
    data = top.read_bytes()
    (directory,) = struct.unpack_from("<Q", data, 56)
    (table,) = struct.unpack_from("<I", data, directory * SECTOR)
    last = len(data) // SECTOR - 1
    patch(top, table * SECTOR, struct.pack("<I", last))
    error = refused([top, base])
    assert (error.code, error.where) == ("E_DISK_GRAIN", "0.vmdk")
    assert error.message == (
        f"grain 0 at byte {last * SECTOR} is damaged: it ends after {SECTOR} bytes, expected 65536"
    )


def test_errors_name_the_image_that_is_wrong(tmp_path: Path) -> None:
    top, base = write(tmp_path, DELTA, BASE)
    with member_of(base) as member:
        place = open_disk(member).block_map.offsets[4]
    patch(base, place + 12, b"\xff" * 4)
    error = refused([top, base])
    assert (error.code, error.where) == ("E_DISK_GRAIN", "1.vmdk")
    assert error.message.startswith(f"grain 4 at byte {place} is damaged: its zlib stream is damaged")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, DELTA, BASE)
    monkeypatch.setattr(layers, "MAX_BLOCKS", 11)
    error = refused(paths)
    assert (error.code, error.hint) == ("E_DISK_LIMIT", MERGE)
    assert error.message == "found disks that lie on each other with more blocks of 65536 bytes, expected at most 11"
    error = refused([paths[0]] * 64 + [paths[1]])
    assert (error.code, error.message) == (
        "E_DISK_LIMIT", "found 65 disks that lie on each other, expected at most 64"
    )  # fmt: skip


def test_a_huge_claim_costs_nothing(tmp_path: Path) -> None:
    """64 TiB of which nothing is stored, with small grains: no table grows with the capacity alone."""
    sectors = 1 << 37
    huge = tmp_path / "huge.vmdk"
    huge.write_bytes(sparse_vmdk(sectors, {sectors // 4096 - 1: b"end"}, grain_sectors=4096))
    with layered([huge, BASE.write(tmp_path / "1.vmdk")]) as (_, reader):
        assert reader.block_map.capacity_bytes == sectors * SECTOR
        assert len(reader.block_map) == 2 * MIB // (64 * KIB) + 8


def test_zeros_are_known_before_a_stream_begins(tmp_path: Path) -> None:
    with layered(write(tmp_path, DELTA, BASE)) as (_, reader):
        zeros = [reader.block_map.numbers[ordinal] for ordinal in reader.zero_ordinals()]
    assert zeros == [3]
