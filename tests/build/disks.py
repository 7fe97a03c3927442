"""Disk images for tests: written by qemu-img where it knows the format, else by code."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import get_ident
from typing import Final

import pytest

from virt_ova.disk.base import Buffer, DiskReader
from virt_ova.disk.copy import copy_disk
from virt_ova.disk.opener import open_disk
from virt_ova.disk.pump import Hasher
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.disk.sink import FileSink
from virt_ova.disk.vmdk import layout as vmdk
from virt_ova.errors import DiskError
from virt_ova.source.base import Member, MemberName
from virt_ova.source.file import LocalFile

SECTOR: Final = 512
KIB: Final = 1 << 10
MIB: Final = 1 << 20


@contextmanager
def member_of(path: Path, *, offset: int = 0) -> Iterator[Member]:
    """The file at `path`, from `offset`, as the member of a package."""
    source = LocalFile.open(str(path))
    try:
        yield Member(name=MemberName(path.name), source=source, offset=offset, size=source.size - offset)
    finally:
        source.close()


def random_disk(path: Path, size: int, used: Iterable[int], *, block: int = 64 * KIB, seed: int = 0) -> Path:
    """A sparse raw disk of `size` bytes whose blocks `used` hold half random, half repeating bytes."""
    rng = random.Random(seed)  # noqa: S311 - test data
    with path.open("wb") as file:
        file.truncate(size)
        for number in used:
            length = min(block, size - number * block)
            if length > 0:
                file.seek(number * block)
                file.write((rng.randbytes(block // 2) + bytes([1 + number % 255]) * (block - block // 2))[:length])
    return path


def qemu_img(*arguments: str | Path) -> str:
    """Run qemu-img; its output."""
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def convert(raw: Path, target: Path, driver: str, *options: str) -> Path:
    """Write `raw` as another format with qemu-img; `options` are those of ``-o``, or ``-c``."""
    switches = [word for option in options for word in (["-c"] if option == "-c" else ["-o", option])]
    qemu_img("convert", "-f", "raw", "-O", driver, *switches, raw, target)
    return target


def bytes_by_qemu(path: Path, driver: str, target: Path, **options: str) -> bytes | None:
    """The guest's disk as qemu-img reads it, or None when it refuses."""
    image = json.dumps({"driver": driver, "file": {"driver": "file", "filename": str(path)}, **options})
    done = subprocess.run(
        ["qemu-img", "convert", "-O", "raw", f"json:{image}", str(target)], capture_output=True, check=False, timeout=60
    )
    return target.read_bytes() if done.returncode == 0 else None


def sparse_vmdk(
    capacity_sectors: int,
    grains: Mapping[int, bytes],
    *,
    grain_sectors: int = 128,
    order: Callable[[list[int]], list[int]] = sorted,
    footer: bool = True,
    compressed: bool = True,
    padding: int = 0,
    descriptor: str | None = None,
    zeroed: Sequence[int] = (),
    level: int = 1,
) -> bytes:
    """A VMDK sparse extent; stream-optimized with markers and footer as VMware writes it, unless told otherwise.

    Args:
        capacity_sectors: size of the guest's disk.
        grains: the guest's bytes by grain number; the last one may be short.
        grain_sectors: size of a grain.
        order: in which the grains are stored.
        footer: whether the directory is named by a footer, not by the header.
        compressed: stream-optimized, or monolithic sparse.
        padding: zero bytes behind the end.
        descriptor: its text, instead of a plain one.
        zeroed: numbers of grains whose table entry says that they hold zeros.
        level: how well grains are compressed; 0 for those that are to be large, or made fast.
    """
    text = descriptor if descriptor is not None else vmdk_descriptor(capacity_sectors, compressed=compressed)
    described = text.encode().ljust(-(-max(len(text.encode()), 20 * SECTOR) // SECTOR) * SECTOR, b"\0")
    body = bytearray(SECTOR) + described
    body += bytes(-len(body) % (grain_sectors * SECTOR))
    overhead = len(body) // SECTOR
    places: dict[int, int] = {}
    for number in order(list(grains)):
        places[number] = len(body) // SECTOR
        body += _grain(number, grains[number], grain_sectors, compressed=compressed, level=level)
    places |= dict.fromkeys(zeroed, vmdk.GTE_ZEROED)
    directory = _vmdk_tables(body, capacity_sectors, grain_sectors, places, markers=compressed)
    flags = vmdk.FLAG_NEWLINE_TEST | (vmdk.FLAG_COMPRESSED | vmdk.FLAG_MARKERS if compressed else 0)
    flags |= vmdk.FLAG_ZEROED_GRAIN if zeroed else 0
    version = 3 if compressed else 2 if zeroed else 1

    def header(directory_sector: int) -> bytes:
        return vmdk.SPARSE_HEADER.pack(
            vmdk.MAGIC, version, flags, capacity_sectors, grain_sectors, 1, len(described) // SECTOR,
            vmdk.ENTRIES_PER_TABLE, 0, directory_sector, overhead, 0, vmdk.NEWLINES, int(compressed),
        )  # fmt: skip

    body[:SECTOR] = header(vmdk.GD_AT_END if footer else directory)
    if footer:
        body += _marker(1, 3) + header(directory)
    if compressed:
        body += _marker(0, 0)
    return bytes(body + bytes(padding))


def vmdk_descriptor(capacity_sectors: int, *, compressed: bool = True, parent: str = "") -> str:
    """A plain descriptor as VMware writes it; with a `parent`, that of a disk of differences."""
    kind = "streamOptimized" if compressed else "monolithicSparse"
    lineage = f'parentCID=0123abcd\nparentFileNameHint="{parent}"' if parent else "parentCID=ffffffff"
    return (
        f'# Disk DescriptorFile\nversion=1\nCID=0123abcd\n{lineage}\ncreateType="{kind}"\n\n'
        f'# Extent description\nRW {capacity_sectors} SPARSE "disk.vmdk"\n\n'
        '# The Disk Data Base\n#DDB\n\nddb.adapterType = "lsilogic"\n'
    )


def _grain(number: int, data: bytes, grain_sectors: int, *, compressed: bool, level: int) -> bytes:
    full = data.ljust(grain_sectors * SECTOR, b"\0")
    if not compressed:
        return full
    packed = zlib.compress(full, level)
    stored = vmdk.GRAIN_MARKER.pack(number * grain_sectors, len(packed)) + packed
    return stored + bytes(-len(stored) % SECTOR)


def _vmdk_tables(
    body: bytearray, capacity_sectors: int, grain_sectors: int, places: Mapping[int, int], *, markers: bool
) -> int:
    """Append grain tables and directory to `body`; the sector of the directory."""
    per_table = vmdk.ENTRIES_PER_TABLE
    tables = -(-capacity_sectors // (grain_sectors * per_table))
    directory = [0] * tables
    for index in sorted({number // per_table for number in places}):
        if markers:
            body += _marker(4, 1)
        directory[index] = len(body) // SECTOR
        numbers = range(index * per_table, (index + 1) * per_table)
        body += struct.pack(f"<{per_table}I", *(places.get(number, 0) for number in numbers))
    if markers:
        body += _marker(-(-tables * 4 // SECTOR), 2)
    sector = len(body) // SECTOR
    body += struct.pack(f"<{tables}I", *directory)
    body += bytes(-len(body) % SECTOR)
    return sector


def _marker(sectors: int, kind: int) -> bytes:
    """A metadata marker: 0 end of stream, 1 grain table, 2 grain directory, 3 footer."""
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


class OrderedSink:
    """A sink to a file that insists on rising offsets and one thread, as a stream does."""

    in_order = True

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._end = 0
        self._thread = get_ident()

    def fileno(self) -> None:
        """A stream has none."""

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """Append, with a hole before it."""
        assert offset >= self._end, f"byte {offset} after byte {self._end}"
        assert get_ident() == self._thread
        self._file.seek(offset)
        for buffer in buffers:
            self._end = offset = offset + self._file.write(buffer)

    def finish(self, size_bytes: int) -> None:
        """Set the length."""
        assert size_bytes >= self._end
        self._file.truncate(size_bytes)
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def copy_to(member: Member, target: Path, driver: str, *, in_order: bool = False, hasher: Hasher | None = None) -> None:
    """Copy the disk in `member` to a new qcow2 or raw file."""
    reader = open_disk(member)
    writer = Qcow2Writer(reader.block_map) if driver == "qcow2" else RawWriter(reader.block_map)
    with closing(OrderedSink(target) if in_order else FileSink.create(target)) as sink:
        copy_disk(member, reader, writer, sink, hasher=hasher, threads=2)


def guest_bytes(path: Path) -> bytes:
    """The guest's disk as our readers see it, block by block."""
    with member_of(path) as member:
        return decoded(member, open_disk(member))


def decoded(member: Member, reader: DiskReader) -> bytes:
    """The guest's disk, block by block."""
    block_map = reader.block_map
    disk = bytearray(block_map.capacity_bytes)
    for ordinal, (number, offset) in enumerate(zip(block_map.numbers, block_map.offsets, strict=True)):
        stored = member.read_at(offset, min(block_map.max_stored_bytes, member.size - offset))
        (block,) = reader.decode(memoryview(stored), offset, range(ordinal, ordinal + 1))
        start = number * block_map.block_bytes
        disk[start : start + len(block)] = block
    assert len(disk) == block_map.capacity_bytes
    return bytes(disk)


def refusal(path: Path) -> tuple[str, str]:
    """Code and message of the error with which the disk at `path` is refused; it names the file."""
    with member_of(path) as member, pytest.raises(DiskError) as caught:
        open_disk(member).block_map  # noqa: B018 - some readers read their tables only now
    return caught.value.code, caught.value.message
