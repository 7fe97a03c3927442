"""Reads a qcow2 image, version 2 or 3, where it lies in the package.

Clusters are stored as they are, left out because they hold only zeros, or compressed. Everything that would make a
reader open another file is refused by the header's parser (`virt_ova.disk.qcow2.layout.parse_header`). A cluster keeps
its size as a block, so that the new image has the clusters of the old one.

Compressed clusters lie at any byte, packed one behind the other. None may use bytes of the next: each is decoded from
what lies between its place and the next one's, so that a small file cannot claim to be a huge disk.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import pairwise
from typing import Final

from virt_ova.disk.base import BlockMap, Buffer, DiskFormat
from virt_ova.disk.plain import rising
from virt_ova.disk.qcow2 import layout
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.units import SECTOR_BYTES

_DAMAGED: Final = "The disk is damaged or cut short: copy or download the package again."
_AS_IT_IS: Final = 0
_MAX_RATIO: Final = {layout.COMPRESSION_ZLIB: 1032, layout.COMPRESSION_ZSTD: 1 << 13}
"""No stream decodes to so many times its size or more (zstd: of a cluster up to 128 KiB)."""


class Qcow2Reader:
    """A `virt_ova.disk.base.DiskReader` for qcow2 images."""

    def __init__(self, member: Member) -> None:
        """Read the header and all tables.

        Raises:
            DiskError: the image is damaged, unsafe, or has a feature that is not read.
            SourceError: the member cannot be read.
        """
        self._member = member
        head = member.read_at(0, min(layout.HEADER_BYTES, member.size))
        self.header = layout.parse_header(head.ljust(layout.HEADER_BYTES, b"\0"))
        clusters = _Clusters(member, self.header)
        clusters.read()
        self._block_map, self._compressed_bytes = clusters.by_place()
        self._decompress: Callable[[Buffer, int], bytes | bytearray] | None = None
        if any(self._compressed_bytes):
            self._decompress = _decompressor(self.header.compression)

    @property
    def format(self) -> DiskFormat:
        """Always qcow2."""
        return DiskFormat.QCOW2

    @property
    def block_map(self) -> BlockMap:
        """The clusters that hold data, in the order of their place in the member."""
        return self._block_map

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        offsets = self._block_map.offsets
        return [self._block(stored[offsets[ordinal] - offset :], ordinal) for ordinal in ordinals]

    def zero_ordinals(self) -> Iterator[int]:
        """None: the L2 tables name clusters of zeros already."""
        return iter(())

    def _block(self, stored: memoryview, ordinal: int) -> Buffer:
        size = self._block_map.block_size(ordinal)
        if self._decompress is None or self._compressed_bytes[ordinal] == _AS_IT_IS:
            return stored[:size]
        offsets = self._block_map.offsets
        room = offsets[ordinal + 1] - offsets[ordinal] if ordinal + 1 < len(offsets) else len(stored)
        try:
            block = self._decompress(stored[: min(room, self._compressed_bytes[ordinal])], self.header.cluster_bytes)
        except _DecompressionError as exc:
            raise self._bad_cluster(ordinal, str(exc)) from exc
        if len(block) < size:
            raise self._bad_cluster(ordinal, f"it inflates to {len(block)} bytes")
        return block if len(block) == size else memoryview(block)[:size]

    def _bad_cluster(self, ordinal: int, found: str) -> DiskError:
        number, offset = self._block_map.numbers[ordinal], self._block_map.offsets[ordinal]
        return DiskError(
            f"cluster {number} at byte {offset} is damaged: {found}, "
            f"expected a stream of {self.header.cluster_bytes} bytes that ends before the next cluster",
            code="E_DISK_GRAIN",
            where=self._member.name,
            hint="Copy or download the package again; if its checksums are right, its producer wrote a bad disk.",
        )


class _Clusters:
    """The clusters that hold data, as the tables name them."""

    def __init__(self, member: Member, header: layout.Header) -> None:
        self._member, self._header = member, header
        self._numbers, self._offsets = array("I"), array("Q")
        self._compressed_bytes = array("I")
        self._count = -(-header.capacity_bytes // header.cluster_bytes)
        self._least_bytes = 0

    def read(self) -> None:
        """Read the L1 table and the L2 tables that it names."""
        header = self._header
        entries = -(-self._count // header.l2_entries)
        l1 = _entries(self._table(header.l1_offset, entries * layout.ENTRY_BYTES, "L1 table"))
        offsets = array("Q", (entry & layout.TABLE_OFFSET_MASK for entry in l1))
        if any(entry & ~(layout.TABLE_OFFSET_MASK | layout.COPIED) for entry in l1):
            raise _bad_entry("L1")
        if any(before == after != 0 for before, after in pairwise(sorted(offsets))):
            raise _overlap("an L2 table that is named twice")
        empty = bytes(header.cluster_bytes)
        for index, offset in enumerate(offsets):
            if offset:
                table = self._table(offset, header.cluster_bytes, f"L2 table {index}")
                if table != empty:
                    self._add_table(index * header.l2_entries, _entries(table))

    def by_place(self) -> tuple[BlockMap, array[int]]:
        """The map, and for each block the most bytes of its compressed stream, or `_AS_IT_IS`."""
        cluster_bytes = self._header.cluster_bytes
        order = rising(self._offsets)
        offsets = array("Q", (self._offsets[i] for i in order))
        compressed_bytes = array("I", (self._compressed_bytes[i] for i in order))
        for i, (before, after) in enumerate(pairwise(offsets)):
            if after - before < (1 if compressed_bytes[i] else cluster_bytes):
                raise _overlap("two clusters that share bytes")
        block_map = BlockMap(
            capacity_bytes=self._header.capacity_bytes,
            block_bytes=cluster_bytes,
            numbers=array("I", (self._numbers[i] for i in order)),
            offsets=offsets,
            max_stored_bytes=max(cluster_bytes, max(compressed_bytes, default=0)),
        )
        return block_map, compressed_bytes

    def _table(self, offset: int, size: int, what: str) -> bytes:
        if offset % self._header.cluster_bytes or offset + size > self._member.size:
            raise DiskError(
                f"the {what} is said to lie at byte {offset}, expected {size} bytes "
                f"at a whole cluster before the end at byte {self._member.size}",
                code="E_DISK_STRUCT",
                hint=_DAMAGED,
            )
        return self._member.read_at(offset, size)

    def _add_table(self, first: int, entries: array[int]) -> None:
        """Add what one L2 table names; entries behind the guest's end count for nothing, as in QEMU."""
        for number, entry in enumerate(entries[: self._count - first], first):
            if entry & layout.COMPRESSED:
                self._add_compressed(number, entry)
            elif entry & layout.ALL_ZEROS:
                self._check_zero_cluster()
            elif entry:
                self._add_standard(number, entry)

    def _check_zero_cluster(self) -> None:
        if self._header.version < layout.VERSION:
            raise _bad_entry("L2")

    def _add_standard(self, number: int, entry: int) -> None:
        offset = entry & layout.TABLE_OFFSET_MASK
        if entry != offset | entry & layout.COPIED or offset == 0:
            raise _bad_entry("L2")
        size = min(self._header.cluster_bytes, self._header.capacity_bytes - number * self._header.cluster_bytes)
        if offset % self._header.cluster_bytes:
            raise self._misplaced(number, offset, size)
        self._add(number, offset, size, compressed_bytes=_AS_IT_IS)

    def _add_compressed(self, number: int, entry: int) -> None:
        bits = self._header.compressed_offset_bits
        offset = entry & (1 << bits) - 1
        further_sectors = (entry & layout.COMPRESSED - 1) >> bits
        size = (further_sectors + 1) * SECTOR_BYTES - offset % SECTOR_BYTES
        self._add(number, offset, 1, compressed_bytes=size)

    def _add(self, number: int, offset: int, size: int, *, compressed_bytes: int) -> None:
        if offset + size > self._member.size:
            raise self._misplaced(number, offset, size)
        ratio = _MAX_RATIO[self._header.compression] if compressed_bytes else 1
        self._least_bytes += self._header.cluster_bytes // ratio
        if self._least_bytes > self._member.size + self._header.cluster_bytes:
            raise _overlap(f"more clusters than {self._member.size} bytes can hold")
        self._numbers.append(number)
        self._offsets.append(offset)
        self._compressed_bytes.append(compressed_bytes)

    def _misplaced(self, number: int, offset: int, size: int) -> DiskError:
        return DiskError(
            f"cluster {number} is said to lie at byte {offset}, expected {size} bytes "
            f"at a whole cluster before the end at byte {self._member.size}",
            code="E_DISK_STRUCT",
            hint=_DAMAGED,
        )


class _DecompressionError(Exception):
    """A compressed stream is damaged."""


def _decompressor(compression: int) -> Callable[[Buffer, int], bytes | bytearray]:
    """A function from a stream, with padding behind it, and the size of a cluster to the decoded bytes.

    Raises:
        DiskError: the library for it is not there (``E_NOT_SUPPORTED``).
    """
    return _inflater() if compression == layout.COMPRESSION_ZLIB else _unzstd()


def _inflater() -> Callable[[Buffer, int], bytes | bytearray]:
    from deflate import DeflateError, deflate_decompress  # noqa: PLC0415 - loaded by the first disk, not by --help

    def inflate(stream: Buffer, size: int) -> bytearray:
        try:
            return deflate_decompress(stream, size)
        except DeflateError as exc:
            raise _DecompressionError("its deflate stream is damaged") from exc

    return inflate


def _unzstd() -> Callable[[Buffer, int], bytes | bytearray]:
    try:
        zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError as exc:
        raise DiskError(
            "the qcow2 is compressed with zstd, expected zlib where no zstd library is installed",
            code="E_NOT_SUPPORTED",
            hint="Install virt-ova[zstd], or convert the disk to a qcow2 that is compressed with zlib.",
        ) from exc

    def decompress(stream: Buffer, size: int) -> bytes:
        try:
            block: bytes = zstd.ZstdDecompressor().decompress(stream, max_length=size)
        except zstd.ZstdError as exc:
            raise _DecompressionError("its zstd stream is damaged") from exc
        return block

    return decompress


def _entries(table: bytes) -> array[int]:
    entries = array("Q", table)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


def _bad_entry(table: str) -> DiskError:
    return DiskError(
        f"an entry of an {table} table of the qcow2 sets bits that have no meaning, expected an offset and known flags",
        code="E_DISK_STRUCT",
        hint=_DAMAGED,
    )


def _overlap(found: str) -> DiskError:
    return DiskError(
        f"found {found}, expected every cluster to have its own place",
        code="E_DISK_OVERLAP",
        hint="No writer makes such a disk; a small file that claims to be a huge disk does.",
    )
