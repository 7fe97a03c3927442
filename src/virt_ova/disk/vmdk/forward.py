"""Walks a stream-optimized VMDK from front to back, for sources that cannot be read in places.

Grains are taken as their markers announce them. What is not a grain, tables above all, is kept as it passes (without
its zeros, so that an empty terabyte costs nothing); at the end the ordinary reader reads the tables from there, and
must find the very grains that were taken. So a package gives the same disk by a pipe and from a file, or an error.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import Final

from virt_ova.disk.base import BlockMap, Buffer
from virt_ova.disk.pump import PIECE_BYTES, Piece
from virt_ova.disk.vmdk import descriptor, layout
from virt_ova.disk.vmdk.grains import bad_grain, decode_grains, max_stored_bytes
from virt_ova.disk.vmdk.reader import VmdkReader, read_front
from virt_ova.errors import DiskError
from virt_ova.source.base import ForwardReader, Member, MemberName, truncated
from virt_ova.text import printable
from virt_ova.units import SECTOR_BYTES

_HEAD_BYTES: Final = SECTOR_BYTES + descriptor.MAX_BYTES
"""Header and descriptor lie within so much."""

_KEPT_BYTES: Final = 1 << 20
_KEPT_BYTES_PER_GRAIN: Final = 16
_MAX_KEPT_BYTES: Final = 256 << 20
"""Header, descriptor, and for each grain an entry in two tables and what is around them: an end to what a hostile
package can make us remember. The last is reached by a full disk of more than a terabyte."""

_READ_BYTES: Final = 1 << 20
_ZERO_SECTOR: Final = bytes(SECTOR_BYTES)


class ForwardVmdk:
    """A `virt_ova.disk.forward.ForwardDisk`.

    Attributes:
        block_map: the grains taken so far.
    """

    def __init__(self, source: ForwardReader, head: bytes) -> None:
        """Read header and descriptor.

        Args:
            source: stands behind `head`.
            head: the first bytes, already read; at least a sector.

        Raises:
            DiskError: the extent is of a kind that is not read, or not from front to back (``E_DISK_FORWARD``).
            SourceError: the source cannot be read.
        """
        self._source, self._name, self._unread = source, printable(source.name), head
        self._unread = self._take(_HEAD_BYTES)
        self._kept = _KeptBytes(source.name)
        self._kept.keep(0, self._unread)
        self._header = read_front(self._kept.member(len(self._unread)))
        if not self._header.is_compressed or not self._header.flags & layout.FLAG_MARKERS:
            raise DiskError(
                "the VMDK has no markers, expected a stream-optimized one",
                code="E_DISK_FORWARD",
                where=self._name,
                hint="Save the package to a file and install from there.",
            )
        grain_bytes = self._header.grain_sectors * SECTOR_BYTES
        self._kept.limit_bytes += self._header.capacity_sectors // self._header.grain_sectors * _KEPT_BYTES_PER_GRAIN
        self._numbers, self._offsets = array("I"), array("Q")
        self.block_map = BlockMap(
            capacity_bytes=self._header.capacity_sectors * SECTOR_BYTES,
            block_bytes=grain_bytes,
            numbers=self._numbers,
            offsets=self._offsets,
            max_stored_bytes=max_stored_bytes(grain_bytes),
        )
        self._piece, self._piece_offset, self._piece_first = bytearray(), 0, 0

    def pieces(self) -> Iterator[Piece]:
        """Every byte of the extent, in pieces of whole grains.

        Raises:
            DiskError: the stream is damaged (``E_DISK_GRAIN``, ``E_DISK_STRUCT``).
            SourceError: the source ends within a grain (``E_SOURCE_TRUNCATED``), or cannot be read.
        """
        yield from self._pass_over(self._header.overhead_sectors * SECTOR_BYTES)
        while sector := self._take(SECTOR_BYTES):
            lba, size = layout.GRAIN_MARKER.unpack_from(sector.ljust(SECTOR_BYTES, b"\0"))
            if size:
                self._add_grain(lba, size, sector)
            else:
                yield from self._add_metadata(sector)
            if self._is_piece_full():
                yield self._cut()
        yield self._cut()

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        return decode_grains(self.block_map, stored, offset, ordinals, is_compressed=True, where=self._name)

    def finish(self) -> None:
        """All was read: compare with the tables.

        Raises:
            DiskError: they name other grains than those that passed (``E_DISK_STRUCT``), or are damaged.
        """
        tables = VmdkReader(self._kept.member(self._end)).block_map
        if list(tables.numbers) != list(self._numbers) or tables.offsets != self._offsets:
            raise DiskError(
                f"the grain tables name {len(tables)} grains, expected the {len(self._numbers)} that stand in the disk",
                code="E_DISK_STRUCT",
                where=self._name,
                hint="Save the package to a file and install from there.",
            )

    @property
    def _end(self) -> int:
        """Bytes taken so far."""
        return self._piece_offset + len(self._piece)

    def _take(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken + self._source.read(size - len(taken)) if len(taken) < size else taken

    def _add(self, data: bytes) -> None:
        self._piece += data

    def _is_piece_full(self) -> bool:
        grains = len(self._numbers) - self._piece_first
        return len(self._piece) >= PIECE_BYTES or grains * self.block_map.block_bytes >= PIECE_BYTES

    def _cut(self) -> Piece:
        """What was added since the last piece."""
        ordinals = range(self._piece_first, len(self._numbers))
        piece = Piece(offset=self._piece_offset, data=bytes(self._piece), ordinals=ordinals)
        self._piece_offset, self._piece_first = self._end, ordinals.stop
        self._piece.clear()
        return piece

    def _pass_over(self, end: int) -> Iterator[Piece]:
        """Keep everything up to byte `end`: tables, padding."""
        while self._end < end:
            data = self._take(min(_READ_BYTES, end - self._end))
            if not data:
                return
            self._kept.keep(self._end, data)
            self._add(data)
            yield self._cut()

    def _add_grain(self, lba: int, size: int, sector: bytes) -> None:
        stored_bytes = layout.GRAIN_MARKER.size + size
        number, remainder = divmod(lba, self._header.grain_sectors)
        if len(self._numbers) * self.block_map.block_bytes >= self.block_map.capacity_bytes:
            raise DiskError(
                f"found another grain at byte {self._end}, expected at most the {len(self._numbers)} that the disk has",
                code="E_DISK_OVERLAP",
                where=self._name,
                hint="No writer makes such a disk; a small file that claims to be a huge disk does.",
            )
        self._numbers.append(min(number, 0xFFFF_FFFF))
        self._offsets.append(self._end)
        if remainder or number * self.block_map.block_bytes >= self.block_map.capacity_bytes:
            found = f"its marker names sector {lba} of {self._header.capacity_sectors}"
            expected = f"a multiple of {self._header.grain_sectors}"
            raise bad_grain(self.block_map, len(self._numbers) - 1, found, expected).at(self._name)
        if stored_bytes > self.block_map.max_stored_bytes:
            most = self.block_map.max_stored_bytes - layout.GRAIN_MARKER.size
            found = f"its marker claims {size} bytes"
            raise bad_grain(self.block_map, len(self._numbers) - 1, found, f"1 to {most}").at(self._name)
        padded = -(-stored_bytes // SECTOR_BYTES) * SECTOR_BYTES
        data = sector + self._take(padded - SECTOR_BYTES)
        if len(data) < stored_bytes:
            raise truncated(self._name, self._end + stored_bytes, self._end + len(data))
        self._add(data)

    def _add_metadata(self, sector: bytes) -> Iterator[Piece]:
        """A table, the footer, or the end of the stream and what pads it."""
        count, _, kind = layout.METADATA_MARKER.unpack_from(sector.ljust(SECTOR_BYTES, b"\0"))
        most = self._header.directory_entries * 4 // SECTOR_BYTES + 128
        if count > most or kind > layout.MAX_MARKER_TYPE:
            raise DiskError(
                f"the marker at byte {self._end} is of type {kind} and announces {count} sectors, "
                f"expected a type up to {layout.MAX_MARKER_TYPE} and at most {most} sectors",
                code="E_DISK_STRUCT",
                where=self._name,
            )
        self._kept.keep(self._end, sector)
        self._add(sector)
        yield from self._pass_over(self._end + count * SECTOR_BYTES)
        if kind == layout.MARKER_END_OF_STREAM and not count:
            yield from self._pass_over(sys.maxsize)


class _KeptBytes:
    """A `virt_ova.source.base.ByteSource` of what was kept; everything else reads as zeros.

    Attributes:
        name: of the disk.
        size: bytes that passed.
        limit_bytes: most to keep.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.limit_bytes = _KEPT_BYTES
        self._sectors: dict[int, bytes] = {}

    def keep(self, offset: int, data: bytes) -> None:
        """Keep `data`, which stands at the multiple `offset` of a sector.

        Raises:
            DiskError: it is more than any disk needs (``E_DISK_FORWARD``).
        """
        for start in range(0, len(data), SECTOR_BYTES):
            sector = data[start : start + SECTOR_BYTES]
            if any(sector):
                self._sectors[(offset + start) // SECTOR_BYTES] = sector.ljust(SECTOR_BYTES, b"\0")
        most = min(self.limit_bytes, _MAX_KEPT_BYTES)
        if len(self._sectors) * SECTOR_BYTES > most:
            raise DiskError(
                f"what is no grain takes more than {most} bytes, expected no more for a disk that is read only once",
                code="E_DISK_FORWARD",
                where=printable(self.name),
                hint="Save the package to a file and install from there.",
            )

    def member(self, size: int) -> Member:
        """What was kept, as a member of `size` bytes."""
        self.size = size
        return Member(name=MemberName(self.name), source=self, offset=0, size=size)

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`."""
        first, end = offset // SECTOR_BYTES, -(-(offset + size) // SECTOR_BYTES)
        data = b"".join(self._sectors.get(sector, _ZERO_SECTOR) for sector in range(first, end))
        start = offset - first * SECTOR_BYTES
        return data[start : start + size]

    def fileno(self) -> None:
        """There is no file."""

    def check_unchanged(self) -> None:
        """What was kept cannot change."""

    def close(self) -> None:
        """There is nothing to release."""
