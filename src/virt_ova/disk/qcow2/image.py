"""What every qcow2 image that is made here has in common: its order, its header and its tables.

::

    header | refcount table | refcount blocks | L1 | L2 tables in use | data

The place of everything follows from the block map and the size of the data, so that it is known before the first data
byte is read. What stands in the data, and so what L2 entries and refcounts say of it, is left to the kind of image.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
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


class ImageLayout:
    """Places the parts of a qcow2 version 3 image.

    Attributes:
        block_map: the blocks; each becomes a cluster.
        geometry: where everything goes.
    """

    def __init__(self, block_map: BlockMap, *, data_clusters: int) -> None:
        """Lay out an image whose data takes `data_clusters`, in clusters of the block size: 512 bytes to 2 MiB."""
        self.block_map = block_map
        entries = block_map.block_bytes // layout.ENTRY_BYTES
        self._tables = sorted({number // entries for number in block_map.numbers})
        self._l1_entries = -(-block_map.capacity_bytes // (block_map.block_bytes * entries))
        self.geometry = _geometry(
            block_map.block_bytes, l1_entries=self._l1_entries, l2=len(self._tables), data=data_clusters
        )

    def tables(
        self, l2_entry: Callable[[int], int], count_data: Callable[[int, int], array[int]]
    ) -> Iterator[tuple[int, Buffer]]:
        """Header, refcounts, L1 and L2 tables as (offset, bytes), in this order.

        Args:
            l2_entry: the L2 entry of the block with this ordinal.
            count_data: refcounts of data clusters, from the first to before the second number.
        """
        cluster = self.geometry.cluster_bytes
        yield 0, self._header()
        yield cluster, self._refcount_table()
        first = 1 + self.geometry.refcount_table
        for index in range(self.geometry.refcount_blocks):
            yield (first + index) * cluster, self._refcount_block(index, count_data)
        yield self.geometry.l1_start * cluster, self._l1_table()
        yield from self._l2_tables(l2_entry)

    def _header(self) -> bytes:
        geometry = self.geometry
        header = layout.HEADER.pack(
            layout.MAGIC, layout.VERSION, 0, 0, geometry.cluster_bytes.bit_length() - 1,
            self.block_map.capacity_bytes, 0, self._l1_entries, geometry.l1_start * geometry.cluster_bytes,
            geometry.cluster_bytes, geometry.refcount_table, 0, 0, 0, 0, 0, layout.REFCOUNT_ORDER,
            layout.HEADER_BYTES,
        )  # fmt: skip
        return header + layout.EXTENSION_END

    def _refcount_table(self) -> bytes:
        first = 1 + self.geometry.refcount_table
        clusters = range(first, first + self.geometry.refcount_blocks)
        return _big_endian(array("Q", (cluster * self.geometry.cluster_bytes for cluster in clusters)))

    def _refcount_block(self, index: int, count_data: Callable[[int, int], array[int]]) -> bytes:
        """One use for every cluster of metadata, and what `count_data` says of the others."""
        counted = self.geometry.cluster_bytes // layout.REFCOUNT_BYTES
        data_start = self.geometry.data_start
        first, end = index * counted, min((index + 1) * counted, self.geometry.total)
        counts = array("H", [1]) * max(0, min(end, data_start) - first)
        if end > data_start:
            counts.extend(count_data(max(first - data_start, 0), end - data_start))
        return _big_endian(counts)

    def _l1_table(self) -> bytes:
        table = array("Q", bytes(self._l1_entries * layout.ENTRY_BYTES))
        for position, index in enumerate(self._tables):
            table[index] = ((self.geometry.l2_start + position) * self.geometry.cluster_bytes) | layout.COPIED
        return _big_endian(table)

    def _l2_tables(self, l2_entry: Callable[[int], int]) -> Iterator[tuple[int, bytes]]:
        entries, numbers = self.geometry.l2_entries, self.block_map.numbers
        by_table = groupby(_by_number(numbers), key=lambda ordinal: numbers[ordinal] // entries)
        for position, (_, ordinals) in enumerate(by_table):
            table = array("Q", bytes(self.geometry.cluster_bytes))
            for ordinal in ordinals:
                table[numbers[ordinal] % entries] = l2_entry(ordinal)
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
