"""Byte layout of a VHD, in the words of Microsoft's Virtual Hard Disk Image Format Specification 1.0.

A fixed disk is the guest's bytes and a footer. A dynamic disk begins with a copy of the footer and a header, which
names the block allocation table (BAT); each entry of the BAT names a block by sector: first a bitmap with one bit for
each sector of the block, rounded up to whole sectors, then the data. All numbers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from virt_ova.errors import DiskError
from virt_ova.units import SECTOR_BYTES

FOOTER: Final = struct.Struct(">8sIIQI4sI4sQQHBBIi16sB427x")
"""Cookie, features, file format version, data offset, time stamp, creator application, version and host OS, original
size, current size, cylinders, heads, sectors per track, disk type, checksum, unique id, saved state."""

HEADER: Final = struct.Struct(">8sQQIIIi984x")
"""Cookie, data offset, table offset, header version, max table entries, block size, checksum; then the parent."""

FOOTER_COOKIE: Final = b"conectix"
HEADER_COOKIE: Final = b"cxsparse"
CHECKSUM_OFFSETS: Final = {FOOTER_COOKIE: 64, HEADER_COOKIE: 36}
VERSION_MAJOR: Final = 1

TYPE_FIXED: Final = 2
TYPE_DYNAMIC: Final = 3
TYPE_DIFFERENCING: Final = 4

BAT_UNUSED: Final = 0xFFFF_FFFF
MIN_BLOCK_BYTES: Final = 512 << 10
MAX_BLOCK_BYTES: Final = 256 << 20
MAX_SECTORS: Final = 0xFF00_0000
"""2040 GiB."""

MAX_GEOMETRY_SECTORS: Final = 65535 * 16 * 255
CREATORS_BY_GEOMETRY: Final = frozenset({b"vpc ", b"qemu"})
"""Virtual PC and old QEMU show the guest as many sectors as the geometry has, all others the current size; the current
size counts too where the geometry is the largest there is (QEMU's ``block/vpc.c``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """Hard Disk Footer. Offsets and sizes are in bytes."""

    header_offset: int
    disk_type: int
    capacity_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicHeader:
    """Dynamic Disk Header. Offsets and sizes are in bytes."""

    table_offset: int
    table_entries: int
    block_bytes: int

    @property
    def bitmap_bytes(self) -> int:
        """Size of the bitmap in front of each block's data."""
        return -(-self.block_bytes // (SECTOR_BYTES * 8 * SECTOR_BYTES)) * SECTOR_BYTES


def parse_footer(data: bytes) -> Footer:
    """Read a footer (512 bytes).

    Raises:
        DiskError: it has no meaning here (``E_DISK_STRUCT``), needs another disk (``E_DISK_PARENT``), or the disk is
            empty or too large (``E_DISK_SIZE``).
    """
    (cookie, _, version, data_offset, _, creator, _, _, _, current_size, cylinders, heads, sectors_per_track,
     disk_type, checksum, _, _) = FOOTER.unpack(data)  # fmt: skip
    _require("footer", "cookie", cookie, cookie == FOOTER_COOKIE, repr(FOOTER_COOKIE))
    _require_checksum("footer", data, checksum)
    _require("footer", "version", version >> 16, version >> 16 == VERSION_MAJOR, str(VERSION_MAJOR))
    if disk_type == TYPE_DIFFERENCING:
        raise DiskError(
            "the VHD is a differencing disk, expected a disk that stands alone",
            code="E_DISK_PARENT",
            hint="Merge the checkpoints and export the machine again.",
        )
    _require("footer", "disk type", disk_type, disk_type in {TYPE_FIXED, TYPE_DYNAMIC}, "2 (fixed) or 3 (dynamic)")
    sectors = cylinders * heads * sectors_per_track
    if creator not in CREATORS_BY_GEOMETRY or sectors == MAX_GEOMETRY_SECTORS:
        sectors = current_size // SECTOR_BYTES
    if not 0 < sectors <= MAX_SECTORS:
        raise DiskError(f"the VHD footer says {sectors} sectors, expected 1 to {MAX_SECTORS}", code="E_DISK_SIZE")
    return Footer(header_offset=data_offset, disk_type=disk_type, capacity_bytes=sectors * SECTOR_BYTES)


def parse_header(data: bytes) -> DynamicHeader:
    """Read the header of a dynamic disk (1024 bytes).

    Raises:
        DiskError: it has no meaning here (``E_DISK_STRUCT``).
    """
    cookie, _, table_offset, version, entries, block_bytes, checksum = HEADER.unpack(data)
    _require("header", "cookie", cookie, cookie == HEADER_COOKIE, repr(HEADER_COOKIE))
    _require_checksum("header", data, checksum)
    _require("header", "version", version >> 16, version >> 16 == VERSION_MAJOR, str(VERSION_MAJOR))
    is_power = block_bytes.bit_count() == 1
    _require("header", "block size", block_bytes, is_power and MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES,
             f"a power of two from {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes")  # fmt: skip
    return DynamicHeader(table_offset=table_offset, table_entries=entries, block_bytes=block_bytes)


def checksum_of(data: bytes) -> int:
    """One's complement of the sum of all bytes but the checksum's own, as a signed 32-bit number."""
    at = CHECKSUM_OFFSETS[data[:8]]
    return ~(sum(data) - sum(data[at : at + 4]))


def _require_checksum(part: str, data: bytes, checksum: int) -> None:
    _require(part, "checksum", checksum, checksum == checksum_of(data), str(checksum_of(data)))


def _require(part: str, field: str, found: object, is_met: bool, expected: str) -> None:  # noqa: FBT001 - a claim
    if not is_met:
        raise DiskError(f"VHD {part}: found {field} {found}, expected {expected}", code="E_DISK_STRUCT")
