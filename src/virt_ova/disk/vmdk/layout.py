"""Byte layout of a VMDK sparse extent, in the words of VMware's Virtual Disk Format 5.0.

The header names a grain directory; each of its entries names a grain table of 512 entries; each of those names a grain.
All offsets are in sectors of 512 bytes; all numbers are little-endian. In a stream-optimized extent every grain stands
behind a marker and is a zlib stream, and the directory may be named by a footer (a copy of the header near the end)
because the writer could not go back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from virt_ova.errors import DiskError

MAGIC: Final = b"KDMV"
SPARSE_HEADER: Final = struct.Struct("<4sIIQQQQIQQQB4sH433x")
"""magicNumber, version, flags, capacity, grainSize, descriptorOffset, descriptorSize, numGTEsPerGT, rgdOffset,
gdOffset, overHead, uncleanShutdown, the four characters of the newline test, compressAlgorithm."""

GRAIN_MARKER: Final = struct.Struct("<QI")
"""LBA in sectors, size of the compressed data in bytes."""

METADATA_MARKER: Final = struct.Struct("<QII")
"""Number of sectors that follow, zero, type."""

MARKER_END_OF_STREAM: Final = 0
MARKER_FOOTER: Final = 3
MAX_MARKER_TYPE: Final = 4
"""Grain table, grain directory, footer, progress are 1 to 4."""

GD_AT_END: Final = 0xFFFF_FFFF_FFFF_FFFF
"""gdOffset of a header whose grain directory is named by the footer."""


FLAG_NEWLINE_TEST: Final = 1 << 0
FLAG_REDUNDANT_TABLE: Final = 1 << 1
FLAG_ZEROED_GRAIN: Final = 1 << 2
FLAG_COMPRESSED: Final = 1 << 16
FLAG_MARKERS: Final = 1 << 17
KNOWN_FLAGS: Final = FLAG_NEWLINE_TEST | FLAG_REDUNDANT_TABLE | FLAG_ZEROED_GRAIN | FLAG_COMPRESSED | FLAG_MARKERS

COMPRESSION_NONE: Final = 0
COMPRESSION_DEFLATE: Final = 1

ENTRIES_PER_TABLE: Final = 512
GTE_UNALLOCATED: Final = 0
GTE_ZEROED: Final = 1

MAX_CAPACITY_SECTORS: Final = 1 << 37
"""64 TiB, the largest disk that any of the hypervisors takes."""

MIN_GRAIN_SECTORS: Final = 8
MAX_GRAIN_SECTORS: Final = 4096
NEWLINES: Final = b"\n \r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseHeader:
    """SparseExtentHeader. Fields are in sectors unless their names say otherwise."""

    version: int
    flags: int
    capacity_sectors: int
    grain_sectors: int
    descriptor_offset: int
    descriptor_sectors: int
    directory_offset: int
    overhead_sectors: int

    @property
    def is_compressed(self) -> bool:
        """Whether grains are zlib streams behind markers."""
        return bool(self.flags & FLAG_COMPRESSED)

    @property
    def directory_entries(self) -> int:
        """Entries of the grain directory."""
        return -(-self.capacity_sectors // (self.grain_sectors * ENTRIES_PER_TABLE))


def parse_header(data: bytes) -> SparseHeader:
    """Read a SparseExtentHeader (512 bytes) and refuse what this reader does not understand.

    Raises:
        DiskError: a field has no meaning here (``E_DISK_STRUCT``), or the disk is empty or too large (``E_DISK_SIZE``).
    """
    (magic, version, flags, capacity, grain, descriptor_offset, descriptor_sectors, entries, _redundant, directory,
     overhead, _unclean, newlines, compression) = SPARSE_HEADER.unpack(data)  # fmt: skip
    _require("magic number", magic, magic == MAGIC, repr(MAGIC))
    _require("version", version, version in {1, 2, 3}, "1, 2 or 3")
    _require("flags", hex(flags), not flags & ~KNOWN_FLAGS, f"none but {KNOWN_FLAGS:#x}")
    if flags & FLAG_NEWLINE_TEST:
        _require("newline test", newlines, newlines == NEWLINES, f"{NEWLINES!r}: was it transferred as text?")
    is_power = grain.bit_count() == 1
    _require("grain size", grain, is_power and MIN_GRAIN_SECTORS <= grain <= MAX_GRAIN_SECTORS,
             f"a power of two from {MIN_GRAIN_SECTORS} to {MAX_GRAIN_SECTORS} sectors")  # fmt: skip
    _require("entries per grain table", entries, entries == ENTRIES_PER_TABLE, str(ENTRIES_PER_TABLE))
    is_compressed = bool(flags & FLAG_COMPRESSED)
    _require("compression", compression, compression == (COMPRESSION_DEFLATE if is_compressed else COMPRESSION_NONE),
             "deflate for a compressed extent, none otherwise")  # fmt: skip
    if not 0 < capacity <= MAX_CAPACITY_SECTORS:
        raise DiskError(
            f"the VMDK header says {capacity} sectors, expected 1 to {MAX_CAPACITY_SECTORS}", code="E_DISK_SIZE"
        )
    return SparseHeader(
        flags=flags,
        capacity_sectors=capacity,
        grain_sectors=grain,
        descriptor_offset=descriptor_offset,
        descriptor_sectors=descriptor_sectors,
        directory_offset=directory,
        overhead_sectors=overhead,
        version=version,
    )


def _require(field: str, found: object, is_met: bool, expected: str) -> None:  # noqa: FBT001 - a claim, read aloud
    if not is_met:
        raise DiskError(f"VMDK header: found {field} {found}, expected {expected}", code="E_DISK_STRUCT")
