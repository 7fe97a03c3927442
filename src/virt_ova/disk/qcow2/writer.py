"""Lays out a qcow2 image before its first data byte is read.

The clusters of the new image are the blocks of the old one, in the order in which they are stored there. So the place
of everything is known from the block map alone::

    header | refcount table | refcount blocks | L1 | L2 tables in use | clusters, by ordinal

and the image can be written strictly in order to a stream, or anywhere by many threads to a file. A block that turns
out to hold only zeros is left out: its place stays a hole that nothing refers to.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from virt_ova.disk.base import BlockMap, Buffer
from virt_ova.disk.qcow2 import layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """Sizes, in clusters, of the parts of an image; offsets follow by adding them up."""

    cluster_bytes: int
    refcount_table: int
    refcount_blocks: int
    l1: int
    l2: int
    data: int

    @property
    def l2_entries(self) -> int:
        """Clusters that one L2 table maps."""
        return self.cluster_bytes // layout.ENTRY_BYTES

    @property
    def l1_start(self) -> int:
        """Cluster where the L1 table begins."""
        return 1 + self.refcount_table + self.refcount_blocks

    @property
    def l2_start(self) -> int:
        """Cluster where the L2 tables begin."""
        return self.l1_start + self.l1

    @property
    def data_start(self) -> int:
        """Cluster where the guest's data begins."""
        return self.l2_start + self.l2

    @property
    def total(self) -> int:
        """Clusters in all."""
        return self.data_start + self.data


class Qcow2Writer:
    """A `virt_ova.disk.base.DiskWriter` for qcow2 version 3 images.

    Attributes:
        geometry: where everything goes.
    """

    def __init__(self, block_map: BlockMap) -> None:
        """Compute the layout; the cluster size is the block size of `block_map`, a power of two from 512 to 2 MiB."""
        self._block_map = block_map
        entries = block_map.block_bytes // layout.ENTRY_BYTES
        self._tables = sorted({number // entries for number in block_map.numbers})
        self._l1_entries = -(-block_map.capacity_bytes // (block_map.block_bytes * entries))
        self.geometry = _geometry(
            block_map.block_bytes, l1_entries=self._l1_entries, l2=len(self._tables), data=len(block_map)
        )

    @property
    def size_bytes(self) -> int:
        """All clusters."""
        return self.geometry.total * self.geometry.cluster_bytes

    @property
    def maps_blocks(self) -> bool:
        """L2 tables and refcounts do."""
        return True

    @property
    def is_rising(self) -> bool:
        """By construction."""
        return True

    def offset_of(self, ordinal: int) -> int:
        """Clusters of data follow each other in the order of their blocks."""
        return (self.geometry.data_start + ordinal) * self.geometry.cluster_bytes

    def metadata(self, is_zero: bytearray) -> Iterator[tuple[int, Buffer]]:
        """Header, refcounts, L1 and L2 tables, in this order."""
        cluster = self.geometry.cluster_bytes
        yield 0, self._header()
        yield cluster, self._refcount_table()
        first = 1 + self.geometry.refcount_table
        for index in range(self.geometry.refcount_blocks):
            yield (first + index) * cluster, self._refcount_block(index, is_zero)
        yield self.geometry.l1_start * cluster, self._l1_table()
        yield from self._l2_tables(is_zero)

    def _header(self) -> bytes:
        geometry = self.geometry
        header = layout.HEADER.pack(
            layout.MAGIC, layout.VERSION, 0, 0, geometry.cluster_bytes.bit_length() - 1,
            self._block_map.capacity_bytes, 0, self._l1_entries, geometry.l1_start * geometry.cluster_bytes,
            geometry.cluster_bytes, geometry.refcount_table, 0, 0, 0, 0, 0, layout.REFCOUNT_ORDER,
            layout.HEADER_BYTES,
        )  # fmt: skip
        return header + layout.EXTENSION_END

    def _refcount_table(self) -> bytes:
        first = 1 + self.geometry.refcount_table
        clusters = range(first, first + self.geometry.refcount_blocks)
        return _big_endian(array("Q", (cluster * self.geometry.cluster_bytes for cluster in clusters)))

    def _refcount_block(self, index: int, is_zero: bytearray) -> bytes:
        """One use for every cluster of the file that this block counts, none for zero blocks and past the end."""
        counted = self.geometry.cluster_bytes // layout.REFCOUNT_BYTES
        first = index * counted
        counts = array("H", b"\1\0" * min(counted, self.geometry.total - first))
        if sys.byteorder == "big":
            counts.byteswap()
        to_ordinal = first - self.geometry.data_start
        ordinal = is_zero.find(1, max(0, to_ordinal), to_ordinal + len(counts))
        while ordinal >= 0:
            counts[ordinal - to_ordinal] = 0
            ordinal = is_zero.find(1, ordinal + 1, to_ordinal + len(counts))
        return _big_endian(counts)

    def _l1_table(self) -> bytes:
        table = array("Q", bytes(self._l1_entries * layout.ENTRY_BYTES))
        for position, index in enumerate(self._tables):
            table[index] = ((self.geometry.l2_start + position) * self.geometry.cluster_bytes) | layout.COPIED
        return _big_endian(table)

    def _l2_tables(self, is_zero: bytearray) -> Iterator[tuple[int, bytes]]:
        entries = self.geometry.l2_entries
        numbers = self._block_map.numbers
        by_table = groupby(_by_number(numbers), key=lambda ordinal: numbers[ordinal] // entries)
        for position, (_, ordinals) in enumerate(by_table):
            table = array("Q", bytes(self.geometry.cluster_bytes))
            for ordinal in ordinals:
                if not is_zero[ordinal]:
                    table[numbers[ordinal] % entries] = self.offset_of(ordinal) | layout.COPIED
            yield (self.geometry.l2_start + position) * self.geometry.cluster_bytes, _big_endian(table)


def _geometry(cluster_bytes: int, *, l1_entries: int, l2: int, data: int) -> Geometry:
    """Add refcount blocks until they count every cluster, themselves included."""
    l1 = -(-l1_entries * layout.ENTRY_BYTES // cluster_bytes)
    blocks = table = 0
    while True:
        total = 1 + table + blocks + l1 + l2 + data
        needed = -(-total * layout.REFCOUNT_BYTES // cluster_bytes)
        if needed == blocks:
            return Geometry(
                cluster_bytes=cluster_bytes, refcount_table=table, refcount_blocks=blocks, l1=l1, l2=l2, data=data
            )
        blocks = needed
        table = -(-blocks * layout.ENTRY_BYTES // cluster_bytes)


def _by_number(numbers: Sequence[int]) -> Sequence[int]:
    """Ordinals in order of block number; they come so from writers that wrote in order."""
    if all(before < after for before, after in pairwise(numbers)):
        return range(len(numbers))
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()
