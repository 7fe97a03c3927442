"""Lays out a qcow2 image of plain clusters before its first data byte is read.

The clusters of the new image are the blocks of the old one, in the order in which they are stored there, so the image
can be written strictly in order to a stream, or anywhere by many threads to a file. A block that turns out to hold only
zeros is left out: its place stays a hole that nothing refers to.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from virt_ova.disk.base import BlockMap, Buffer
from virt_ova.disk.qcow2 import layout
from virt_ova.disk.qcow2.image import BackingFile, ImageLayout


class Qcow2Writer:
    """A `virt_ova.disk.base.DiskWriter` for qcow2 version 3 images.

    Attributes:
        geometry: where everything goes.
    """

    def __init__(
        self, block_map: BlockMap, *, is_data_first: bool = False, backing_file: BackingFile | None = None
    ) -> None:
        """Compute the layout; the cluster size is the block size of `block_map`. See `ImageLayout`."""
        self._image = ImageLayout(
            block_map, data_clusters=len(block_map), is_data_first=is_data_first, backing_file=backing_file
        )
        self.geometry = self._image.geometry

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

        def l2_entry(ordinal: int) -> int:
            return 0 if is_zero[ordinal] else self.offset_of(ordinal) | layout.COPIED

        def count_data(first: int, end: int) -> array[int]:
            counts = array("H", [1]) * (end - first)
            ordinal = is_zero.find(1, first, end)
            while ordinal >= 0:
                counts[ordinal - first] = 0
                ordinal = is_zero.find(1, ordinal + 1, end)
            return counts

        return self._image.tables(l2_entry, count_data)
