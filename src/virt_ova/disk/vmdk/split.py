"""Reads a disk in several sparse extents, each a file of its own (``twoGbMaxExtentSparse``), joined to one member.

Every extent has header and grain tables of its own, for its own part of the disk. Its grains are numbered on from those
of the extents before it, so each of these must hold a whole number of grains.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import accumulate

from virt_ova.disk.base import BlockMap, Buffer, DiskFormat
from virt_ova.disk.vmdk.grains import decode_grains
from virt_ova.disk.vmdk.reader import VmdkReader
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.units import SECTOR_BYTES


class SplitReader:
    """A `virt_ova.disk.base.DiskReader` for sparse extents in a row."""

    def __init__(self, member: Member) -> None:
        """Read the headers; `Member.extents` says where each extent ends.

        Raises:
            DiskError: an extent is damaged or unsafe, or they do not fit each other (``E_DISK_STRUCT``).
            SourceError: the member cannot be read.
        """
        self._member = member
        self._starts = tuple(accumulate(member.extents, initial=0))[:-1]
        self._parts = [
            VmdkReader(replace(member, offset=member.offset + start, size=size, extents=()))
            for start, size in zip(self._starts, member.extents, strict=True)
        ]
        grain_sectors = self._parts[0].header.grain_sectors
        for number, part in enumerate(self._parts, start=1):
            is_last = number == len(self._parts)
            is_whole = is_last or part.header.capacity_sectors % grain_sectors == 0
            if part.header.is_compressed or part.header.grain_sectors != grain_sectors or not is_whole:
                raise DiskError(
                    f"extent {number} has {part.header.capacity_sectors} sectors in "
                    f"{'compressed ' if part.header.is_compressed else ''}grains of {part.header.grain_sectors}, "
                    f"expected a whole number of plain grains of {grain_sectors}",
                    code="E_DISK_STRUCT",
                )

    @property
    def format(self) -> DiskFormat:
        """Sparse."""
        return DiskFormat.VMDK_SPARSE

    @cached_property
    def block_map(self) -> BlockMap:
        """The grains of all extents."""
        grain_bytes = self._parts[0].header.grain_sectors * SECTOR_BYTES
        numbers, offsets = array("Q"), array("Q")
        first = 0
        for start, part in zip(self._starts, self._parts, strict=True):
            numbers.extend(first + number for number in part.block_map.numbers)
            offsets.extend(start + offset for offset in part.block_map.offsets)
            first += part.capacity_bytes // grain_bytes
        return BlockMap(
            capacity_bytes=sum(part.capacity_bytes for part in self._parts),
            block_bytes=grain_bytes,
            numbers=numbers,
            offsets=offsets,
            max_stored_bytes=grain_bytes,
        )

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        return decode_grains(self.block_map, stored, offset, ordinals, is_compressed=False, where=self._member.name)

    def zero_ordinals(self) -> Iterator[int]:
        """None: only reading them would tell."""
        return iter(())
