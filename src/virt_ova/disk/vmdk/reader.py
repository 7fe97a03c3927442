"""Reads a VMDK sparse extent, stream-optimized or monolithic, where it lies in the package.

Grain tables say which grains exist and where. Each grain's own marker, which is among the bytes that are hashed, must
agree with them. No size or count of the file is believed before it is bounded: a file of a few kilobytes can claim
terabytes by naming one grain many times, so a grain named twice is refused (``E_DISK_OVERLAP``).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Final

from virt_ova.disk.base import BlockMap, Buffer, DiskFormat, is_zero
from virt_ova.disk.vmdk import descriptor, layout
from virt_ova.disk.vmdk.grains import decode_grains, max_stored_bytes
from virt_ova.disk.vmdk.layout import SparseHeader
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.units import SECTOR_BYTES

_TABLE_BYTES: Final = layout.ENTRIES_PER_TABLE * 4
_EMPTY_TABLE: Final = bytes(_TABLE_BYTES)
_FOOTER_MARKER: Final = layout.METADATA_MARKER.pack(1, 0, layout.MARKER_FOOTER)
_TAIL_BYTES: Final = 128 << 10
"""Some writers pad a finished stream with up to one grain of zeros; the footer is searched in so much of the end."""


class VmdkReader:
    """A `virt_ova.disk.base.DeltaReader` for sparse extents.

    Attributes:
        header: with the place of the grain directory.
        capacity_bytes: size of the guest's disk, told without reading the grain tables.
        end_bytes: how long the extent is without what pads it; readers that expect the footer at the very end need it.
    """

    def __init__(self, member: Member, *, is_delta: bool = False) -> None:
        """Read header and descriptor.

        Args:
            member: where the extent lies.
            is_delta: whether it is known to hold only the difference to another disk.

        Raises:
            DiskError: the extent is damaged, unsafe, or of a kind that is not read.
            SourceError: the member cannot be read.
        """
        self._member, self._is_delta = member, is_delta
        self._zeroed = array("Q")
        front = read_front(member, is_delta=is_delta)
        self.header, self.end_bytes = front, member.size
        if front.directory_offset == layout.GD_AT_END:
            self.header, self.end_bytes = _read_footer(member, front)
        self.capacity_bytes = self.header.capacity_sectors * SECTOR_BYTES
        self._first_data = max(1, self.header.descriptor_offset + self.header.descriptor_sectors)

    @property
    def format(self) -> DiskFormat:
        """Stream-optimized when its grains are compressed."""
        return DiskFormat.VMDK_STREAM if self.header.is_compressed else DiskFormat.VMDK_SPARSE

    @cached_property
    def block_map(self) -> BlockMap:
        """The grains, in the order of their place in the member."""
        grain_bytes = self.header.grain_sectors * SECTOR_BYTES
        numbers, sectors = self._read_tables()
        numbers, sectors = _by_place(numbers, sectors)
        self._check_distinct(sectors)
        return BlockMap(
            capacity_bytes=self.capacity_bytes,
            block_bytes=grain_bytes,
            numbers=numbers,
            offsets=array("Q", (sector * SECTOR_BYTES for sector in sectors)),
            max_stored_bytes=max_stored_bytes(grain_bytes) if self.header.is_compressed else grain_bytes,
        )

    @property
    def zeroed_numbers(self) -> Sequence[int]:
        """See `virt_ova.disk.base.DeltaReader.zeroed_numbers`; known once `block_map` was read, and of a delta only."""
        return self._zeroed

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        return decode_grains(
            self.block_map, stored, offset, ordinals, is_compressed=self.header.is_compressed, where=self._member.name
        )

    def zero_ordinals(self) -> Iterator[int]:
        """Grains that deflated into a single sector and hold only zeros; others are not worth a second read."""
        if not self.header.is_compressed:
            return
        offsets = self.block_map.offsets
        for ordinal, offset in enumerate(offsets):
            room = (offsets[ordinal + 1] if ordinal + 1 < len(offsets) else self._member.size) - offset
            if room <= SECTOR_BYTES:
                stored = memoryview(self._member.read_at(offset, room))
                (block,) = self.decode(stored, offset, range(ordinal, ordinal + 1))
                if is_zero(block):
                    yield ordinal

    def _read_tables(self) -> tuple[array[int], array[int]]:
        """Numbers and sectors of all grains, in order of number."""
        numbers = array("I" if self.header.capacity_sectors // self.header.grain_sectors < 1 << 32 else "Q")
        sectors = array("I")
        directory = self._read_directory()
        for index, table_sector in enumerate(directory):
            if table_sector == 0:
                continue
            table = self._read_sectors(table_sector, _TABLE_BYTES, f"grain table {index}")
            if table != _EMPTY_TABLE:
                self._add_table(index, _entries(table), numbers, sectors)
        return numbers, sectors

    def _read_directory(self) -> array[int]:
        size = self.header.directory_entries * 4
        directory = _entries(self._read_sectors(self.header.directory_offset, size, "grain directory"))
        tables = [sector for sector in directory if sector]
        if len(set(tables)) != len(tables):
            raise _overlap(self._member, "a grain table is named twice in the grain directory")
        return directory

    def _add_table(self, index: int, entries: array[int], numbers: array[int], sectors: array[int]) -> None:
        first = index * layout.ENTRIES_PER_TABLE
        end_sector = self._member.size // SECTOR_BYTES
        has_zeroed = bool(self.header.flags & layout.FLAG_ZEROED_GRAIN)
        grains = -(-self.header.capacity_sectors // self.header.grain_sectors)
        for number, sector in enumerate(entries, first):
            if sector == layout.GTE_UNALLOCATED:
                continue
            if has_zeroed and sector == layout.GTE_ZEROED:
                if self._is_delta:
                    self._zeroed.append(number)
                continue
            if not self._first_data <= sector < end_sector or number >= grains:
                raise DiskError(
                    f"grain {number} is said to lie at sector {sector}, "
                    f"expected one of {grains} grains at sectors {self._first_data} to {end_sector - 1}",
                    code="E_DISK_STRUCT",
                    where=self._member.name,
                )
            numbers.append(number)
            sectors.append(sector)

    def _read_sectors(self, sector: int, size: int, what: str) -> bytes:
        offset = sector * SECTOR_BYTES
        if sector < self._first_data or offset + size > self._member.size:
            raise DiskError(
                f"the {what} is said to lie at sector {sector}, "
                f"expected {size} bytes between sector {self._first_data} and the end at byte {self._member.size}",
                code="E_DISK_STRUCT",
                where=self._member.name,
                hint="The disk is damaged or cut short: copy or download the package again.",
            )
        return self._member.read_at(offset, size)

    def _check_distinct(self, sectors: array[int]) -> None:
        """Refuse two grains in one place; `sectors` is sorted."""
        apart = 1 if self.header.is_compressed else self.header.grain_sectors
        if any(after - before < apart for before, after in pairwise(sectors)):
            raise _overlap(self._member, "two grains share one place")


def read_front(member: Member, *, is_delta: bool = False) -> SparseHeader:
    """The header, with the descriptor checked, which may tell of a parent when `is_delta` is set.

    Raises:
        DiskError: the extent is unsafe, or of a kind that is not read.
        SourceError: the member cannot be read.
    """
    header = layout.parse_header(member.read_at(0, layout.SPARSE_HEADER.size))
    size = header.descriptor_sectors * SECTOR_BYTES
    if size:
        if header.descriptor_offset == 0 or size > descriptor.MAX_BYTES:
            raise DiskError(
                f"VMDK header: found a descriptor of {size} bytes at sector {header.descriptor_offset}, "
                f"expected at most {descriptor.MAX_BYTES} bytes behind the header",
                code="E_DISK_DESCRIPTOR",
            )
        text = member.read_at(header.descriptor_offset * SECTOR_BYTES, size)
        descriptor.check_descriptor(text, is_delta=is_delta)
    return header


def _read_footer(member: Member, header: SparseHeader) -> tuple[SparseHeader, int]:
    """The footer, and where the extent ends: behind the end-of-stream marker that follows it."""
    tail_bytes = min(_TAIL_BYTES, member.size // SECTOR_BYTES * SECTOR_BYTES)
    tail_offset = member.size - member.size % SECTOR_BYTES - tail_bytes
    tail = member.read_at(tail_offset, tail_bytes).rstrip(b"\0")
    start = max(0, len(tail) - 1) // SECTOR_BYTES * SECTOR_BYTES
    data = tail[start:].ljust(layout.SPARSE_HEADER.size, b"\0")
    if not data.startswith(layout.MAGIC):
        raise _bad_footer(member, "none", "a copy of the header at the end, because the header's directory is not set")
    end = tail_offset + start + 2 * SECTOR_BYTES
    if not tail.startswith(_FOOTER_MARKER, max(0, start - SECTOR_BYTES)):
        raise _bad_footer(member, "one without a marker of its own", "one that announces a footer of one sector")
    if end > member.size:
        raise _bad_footer(member, "one at the very end", "the marker of the stream's end behind it")
    footer = layout.parse_header(data)
    if footer.directory_offset == layout.GD_AT_END:
        raise _bad_footer(member, "one that names another footer", "the place of the grain directory")
    if replace(footer, directory_offset=header.directory_offset, overhead_sectors=header.overhead_sectors) != header:
        raise _bad_footer(member, "one that differs from the header", "the same version, geometry and descriptor")
    return footer, end


def _bad_footer(member: Member, found: str, expected: str) -> DiskError:
    return DiskError(
        f"VMDK footer: found {found}, expected {expected}",
        code="E_DISK_FOOTER",
        where=member.name,
        hint="The disk is damaged or cut short: copy or download the package again.",
    )


def _overlap(member: Member, found: str) -> DiskError:
    return DiskError(
        f"{found}, expected every grain to have its own",
        code="E_DISK_OVERLAP",
        where=member.name,
        hint="No writer makes such a disk; a small file that claims to be a huge disk does.",
    )


def _entries(table: bytes) -> array[int]:
    entries = array("I", table)
    if sys.byteorder == "big":
        entries.byteswap()
    return entries


def _by_place(numbers: array[int], sectors: array[int]) -> tuple[array[int], array[int]]:
    """Both arrays sorted by sector; they come sorted already from writers that wrote in order."""
    if all(before < after for before, after in pairwise(sectors)):
        return numbers, sectors
    order = sorted(range(len(sectors)), key=sectors.__getitem__)
    return array(numbers.typecode, (numbers[i] for i in order)), array("I", (sectors[i] for i in order))
