"""Lays out a qcow2 image around the compressed grains of a stream-optimized VMDK.

A compressed cluster of a qcow2 is a raw deflate stream at any byte of the file; a grain is the same stream behind a
marker and a zlib header, before a checksum that QEMU ignores. So the run of the package that holds the grains becomes
the data of the image as it is, and only metadata is made: an L2 entry for each grain, pointing past its header, and
refcounts that count how many grains touch each cluster of the file.

The run stands in the image at the same place within a block of the file system as in the package, so that both can
share the blocks. Behind it is room for the few grains that cannot be taken as they are; they become plain clusters.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from itertools import chain, pairwise
from typing import Final

from virt_ova.disk.base import BlockMap, Buffer
from virt_ova.disk.qcow2 import layout
from virt_ova.disk.qcow2.image import ImageLayout
from virt_ova.disk.vmdk.layout import GRAIN_MARKER
from virt_ova.units import SECTOR_BYTES

FILE_BLOCK_BYTES: Final = 4096
"""Blocks of the file systems that can share them."""

MAX_EXPANDED: Final = 64
"""Most grains that become plain clusters; a disk with more is better expanded as a whole."""

ZLIB_HEADER_BYTES: Final = 2
_SKIP: Final = GRAIN_MARKER.size + ZLIB_HEADER_BYTES


class TransplantLayout:
    """Where everything goes.

    Attributes:
        geometry: of the image.
        run_start: byte of the member where the run of grains begins.
        run_bytes: its length.
        run_offset: byte of the image where it goes.
    """

    def __init__(self, block_map: BlockMap, *, member_offset: int, member_bytes: int) -> None:
        """Lay out the image of `block_map`, whose member stands at byte `member_offset` of the package."""
        offsets = block_map.offsets
        self._block_map, self._cluster = block_map, block_map.block_bytes
        self.run_start = offsets[0] if offsets else 0
        self._run_end = min(offsets[-1] + block_map.max_stored_bytes, member_bytes) if offsets else 0
        self.run_bytes = self._run_end - self.run_start
        phase = (member_offset + self.run_start) % FILE_BLOCK_BYTES
        self._run_clusters = -(-(phase + self.run_bytes) // self._cluster)
        self._image = ImageLayout(block_map, data_clusters=self._run_clusters + MAX_EXPANDED)
        self.geometry = self._image.geometry
        self.run_offset = self.geometry.data_start * self._cluster + phase

    @property
    def max_size_bytes(self) -> int:
        """Length of the image with as many plain clusters as there is room for."""
        return self.size_bytes(MAX_EXPANDED)

    def size_bytes(self, expanded: int) -> int:
        """Length of the image with so many plain clusters."""
        return self.expanded_offset(expanded)

    def expanded_offset(self, index: int) -> int:
        """Byte of the image where the plain cluster `index` goes."""
        return (self.geometry.data_start + self._run_clusters + index) * self._cluster

    def metadata(self, expanded: Mapping[int, int]) -> Iterator[tuple[int, Buffer]]:
        """Everything but the data, as (offset, bytes) in rising order.

        Args:
            expanded: index of the plain cluster of each ordinal that is not taken as it is.
        """
        entries, counts = self._place_streams(expanded)

        def l2_entry(ordinal: int) -> int:
            if (index := expanded.get(ordinal)) is not None:
                return self.expanded_offset(index) | layout.COPIED
            return entries[ordinal]

        return self._image.tables(l2_entry, lambda first, end: counts[first:end])

    def _place_streams(self, expanded: Mapping[int, int]) -> tuple[array[int], array[int]]:
        """The L2 entry of each grain's deflate stream, and the refcounts of the data clusters that streams touch.

        A stream is said to reach to the next grain, which is enough for QEMU and needs no look at its marker. See
        "Compressed Clusters Descriptor" in QEMU's ``docs/interop/qcow2.txt``.
        """
        offsets, longest = self._block_map.offsets, self._block_map.max_stored_bytes
        offset_bits = 62 - (self._cluster.bit_length() - 1 - 8)
        most_sectors = 2 * self._cluster // SECTOR_BYTES - 1
        shift = self.run_offset - self.run_start
        data_start, cluster_sectors = self.geometry.data_start, self._cluster // SECTOR_BYTES
        entries = array("Q")
        counts = array("H", [0]) * (self._run_clusters + MAX_EXPANDED)
        for ordinal, (start, following) in enumerate(pairwise(chain(offsets, (self._run_end,)))):
            first = start + _SKIP + shift
            first_sector = first // SECTOR_BYTES
            last_sector = (min(following, start + longest) + shift - 1) // SECTOR_BYTES
            sectors = min(last_sector - first_sector, most_sectors)
            entries.append(layout.COMPRESSED | sectors << offset_bits | first)
            if ordinal not in expanded:
                cluster, last = first_sector // cluster_sectors, (first_sector + sectors) // cluster_sectors
                counts[cluster - data_start] += 1
                for touched in range(cluster + 1, last + 1):
                    counts[touched - data_start] += 1
        for index in expanded.values():
            counts[self._run_clusters + index] = 1
        return entries, counts
