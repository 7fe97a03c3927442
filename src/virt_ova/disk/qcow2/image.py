"""What every qcow2 image that is made here has in common: its order, its header and its tables.

::

    header | refcount table | refcount blocks | L1 | L2 tables in use | data
    header | data | refcount table | refcount blocks | L1 | L2 tables in use

The place of everything follows from the block map and the size of the data. In the first order it is known before the
first data byte is read; the second is for images whose block map is only known at their end. What stands in the data,
and so what L2 entries and refcounts say of it, is left to the kind of image.

An image can lie on another, its backing file: what it does not hold is read from there.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from virt_ova.disk.base import BlockMap, Buffer
from virt_ova.disk.qcow2 import layout
from virt_ova.errors import DiskError
from virt_ova.units import SECTOR_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class BackingFile:
    """What an image lies on: its `name` as QEMU understands it, in UTF-8, and QEMU's word for its `format`."""

    name: bytes
    format: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """Where the parts of an image begin, and how long they are, in clusters."""

    cluster_bytes: int
    refcount_table_start: int
    refcount_table: int
    refcount_blocks_start: int
    refcount_blocks: int
    l1_start: int
    l2_start: int
    data_start: int
    data: int
    total: int

    @property
    def l2_entries(self) -> int:
        """Clusters that one L2 table maps."""
        return self.cluster_bytes // layout.ENTRY_BYTES


class ImageLayout:
    """Places the parts of a qcow2 version 3 image.

    Attributes:
        block_map: the blocks; each becomes a cluster.
        geometry: where everything goes.
    """

    def __init__(
        self,
        block_map: BlockMap,
        *,
        data_clusters: int,
        is_data_first: bool = False,
        backing_file: BackingFile | None = None,
    ) -> None:
        """Lay out an image.

        Args:
            block_map: the blocks; their size, 512 bytes to 2 MiB, becomes the size of a cluster.
            data_clusters: how many clusters the data takes.
            is_data_first: whether the data stands right behind the header, for images whose blocks are only known
                once they are written.
            backing_file: what it lies on; its name has at most 1023 bytes.

        Raises:
            DiskError: the disk is empty or too large (``E_DISK_SIZE``).
        """
        if not 0 < block_map.capacity_bytes <= layout.MAX_CAPACITY_BYTES:
            raise DiskError(
                f"the disk has {block_map.capacity_bytes} bytes, "
                f"expected {SECTOR_BYTES} to {layout.MAX_CAPACITY_BYTES}",
                code="E_DISK_SIZE",
            )
        self.block_map = block_map
        self._backing_file = backing_file
        entries = block_map.block_bytes // layout.ENTRY_BYTES
        self._tables = sorted({number // entries for number in block_map.numbers})
        self._l1_entries = -(-block_map.capacity_bytes // (block_map.block_bytes * entries))
        self.geometry = _geometry(
            block_map.block_bytes,
            l1_entries=self._l1_entries,
            l2=len(self._tables),
            data=data_clusters,
            is_data_first=is_data_first,
        )

    def tables(
        self, l2_entry: Callable[[int], int], count_data: Callable[[int, int], array[int]]
    ) -> Iterator[tuple[int, Buffer]]:
        """Header, refcounts, L1 and L2 tables as (offset, bytes), in this order.

        Args:
            l2_entry: the L2 entry of the block with this ordinal.
            count_data: refcounts of data clusters, from the first to before the second number.
        """
        geometry, cluster = self.geometry, self.geometry.cluster_bytes
        yield 0, self._header()
        yield geometry.refcount_table_start * cluster, self._refcount_table()
        for index in range(geometry.refcount_blocks):
            yield (geometry.refcount_blocks_start + index) * cluster, self._refcount_block(index, count_data)
        yield geometry.l1_start * cluster, self._l1_table()
        yield from self._l2_tables(l2_entry)

    def _header(self) -> bytes:
        geometry = self.geometry
        extensions, backing_name = _extensions(self._backing_file)
        backing_offset = layout.HEADER_BYTES + len(extensions) if backing_name else 0
        header = layout.HEADER.pack(
            layout.MAGIC, layout.VERSION, backing_offset, len(backing_name), geometry.cluster_bytes.bit_length() - 1,
            self.block_map.capacity_bytes, 0, self._l1_entries, geometry.l1_start * geometry.cluster_bytes,
            geometry.refcount_table_start * geometry.cluster_bytes, geometry.refcount_table, 0, 0, 0, 0, 0,
            layout.REFCOUNT_ORDER, layout.HEADER_BYTES,
        )  # fmt: skip
        return header + extensions + backing_name

    def _refcount_table(self) -> bytes:
        first = self.geometry.refcount_blocks_start
        clusters = range(first, first + self.geometry.refcount_blocks)
        return _big_endian(array("Q", (cluster * self.geometry.cluster_bytes for cluster in clusters)))

    def _refcount_block(self, index: int, count_data: Callable[[int, int], array[int]]) -> bytes:
        """One use for every cluster of metadata, and what `count_data` says of the others."""
        geometry = self.geometry
        counted = geometry.cluster_bytes // layout.REFCOUNT_BYTES
        first, end = index * counted, min((index + 1) * counted, geometry.total)
        counts = array("H", [1]) * (end - first)
        data_first, data_end = max(first, geometry.data_start), min(end, geometry.data_start + geometry.data)
        if data_first < data_end:
            counts[data_first - first : data_end - first] = count_data(
                data_first - geometry.data_start, data_end - geometry.data_start
            )
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


def full_size_bytes(block_map: BlockMap) -> int:
    """Length of the image whose data stands first and that maps every block of the guest's disk: there is no longer."""
    clusters = -(-block_map.capacity_bytes // block_map.block_bytes)
    tables = -(-clusters * layout.ENTRY_BYTES // block_map.block_bytes)
    geometry = _geometry(block_map.block_bytes, l1_entries=tables, l2=tables, data=clusters, is_data_first=True)
    return geometry.total * geometry.cluster_bytes


def _geometry(cluster_bytes: int, *, l1_entries: int, l2: int, data: int, is_data_first: bool) -> Geometry:
    """Add refcount blocks until they count every cluster, themselves included."""
    l1 = -(-l1_entries * layout.ENTRY_BYTES // cluster_bytes)
    blocks = table = -1
    needed = 0
    while needed != blocks:
        blocks = needed
        table = -(-blocks * layout.ENTRY_BYTES // cluster_bytes)
        total = 1 + table + blocks + l1 + l2 + data
        needed = -(-total * layout.REFCOUNT_BYTES // cluster_bytes)
    table_start = 1 + data if is_data_first else 1
    l1_start = table_start + table + blocks
    return Geometry(
        cluster_bytes=cluster_bytes,
        refcount_table_start=table_start,
        refcount_table=table,
        refcount_blocks_start=table_start + table,
        refcount_blocks=blocks,
        l1_start=l1_start,
        l2_start=l1_start + l1,
        data_start=1 if is_data_first else l1_start + l1 + l2,
        data=data,
        total=1 + table + blocks + l1 + l2 + data,
    )


def _extensions(backing_file: BackingFile | None) -> tuple[bytes, bytes]:
    """The header's extensions, and the name of the backing file that stands behind them."""
    if backing_file is None:
        return layout.EXTENSION_END, b""
    word = backing_file.format.encode()
    extension = layout.EXTENSION.pack(layout.BACKING_FORMAT_EXTENSION, len(word)) + word
    return extension + bytes(-len(word) % 8) + layout.EXTENSION_END, backing_file.name


def _by_number(numbers: Sequence[int]) -> Sequence[int]:
    """Ordinals in order of block number; they come so from writers that wrote in order."""
    if all(before < after for before, after in pairwise(numbers)):
        return range(len(numbers))
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()
