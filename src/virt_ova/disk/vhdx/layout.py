"""Byte layout of a VHDX, in the words of Microsoft's MS-VHDX.

In the first megabyte stand a file identifier, two headers of which the one with the higher sequence number counts, and
two copies of the region table. It names the metadata region (size of disk, blocks and sectors) and the block
allocation table (BAT), where a sector bitmap's entry follows those of each chunk of blocks. A log holds changes that
have not reached their place yet. All numbers are little-endian; checksums are CRC-32C.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from virt_ova.disk.plain import MAX_CAPACITY_BYTES
from virt_ova.errors import DiskError

HEADER_OFFSETS: Final = (64 << 10, 128 << 10)
HEADER_BYTES: Final = 4 << 10
HEADER: Final = struct.Struct("<4sIQ16s16s16sHHIQ")
"""Signature, checksum, sequence number, ids of file write, data write and log, log version, version, log length, log
offset."""

REGION_TABLE_OFFSET: Final = 192 << 10
REGION_TABLE_BYTES: Final = 64 << 10
REGION_TABLE: Final = struct.Struct("<4sIII")
"""Signature, checksum, entry count, reserved."""

REGION: Final = struct.Struct("<16sQII")
"""Id, file offset, length, required."""

METADATA_TABLE_BYTES: Final = 64 << 10
METADATA_TABLE: Final = struct.Struct("<8sHH20x")
"""Signature, reserved, entry count."""

METADATA_ENTRY: Final = struct.Struct("<16sIIII")
"""Id, offset in the region, length, flags, reserved."""

MAX_ENTRIES: Final = 2047
ITEM_REQUIRED: Final = 1 << 2

BAT_REGION: Final = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA_REGION: Final = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS: Final = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_DISK_SIZE: Final = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
LOGICAL_SECTOR_SIZE: Final = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_HARMLESS_ITEMS: Final = frozenset({
    UUID("beca12ab-b2e6-4523-93ef-c309e000c746"),  # page 83 data
    UUID("cda348c7-445d-4471-9cc9-e9885251c556"),  # physical sector size
    UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c"),  # parent locator: refused by the file parameters' flag
})  # fmt: skip

FILE_PARAMETERS_ITEM: Final = struct.Struct("<II")
"""Block size, flags."""

HAS_PARENT: Final = 1 << 1
VIRTUAL_DISK_SIZE_ITEM: Final = struct.Struct("<Q")
LOGICAL_SECTOR_SIZE_ITEM: Final = struct.Struct("<I")

SECTORS_PER_BITMAP: Final = 1 << 23
MIN_BLOCK_BYTES: Final = 1 << 20
MAX_BLOCK_BYTES: Final = 256 << 20
FIRST_REGION_OFFSET: Final = 1 << 20
BAT_ENTRY_BYTES: Final = 8
BAT_STATE_MASK: Final = 0x7
BAT_OFFSET_MASK: Final = 0xFFFF_FFFF_FFF0_0000
BLOCK_FULLY_PRESENT: Final = 6
BLOCK_STATES_ZERO: Final = frozenset({0, 1, 2, 3, 5})
"""Not present, undefined, zero, unmapped, and unmapped as version 0.95 wrote it."""

_POLYNOMIAL: Final = 0x82F6_3B78


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The VHDX header that counts."""

    sequence_number: int
    log_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A region of the file, or an item of the metadata region, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """What the metadata say about the disk. Sizes are in bytes."""

    capacity_bytes: int
    block_bytes: int
    sector_bytes: int

    @property
    def blocks(self) -> int:
        """Payload blocks of the disk."""
        return -(-self.capacity_bytes // self.block_bytes)

    @property
    def chunk_ratio(self) -> int:
        """Payload blocks between two sector bitmaps in the BAT."""
        return SECTORS_PER_BITMAP * self.sector_bytes // self.block_bytes

    @property
    def bat_entries(self) -> int:
        """Entries of the BAT."""
        return self.blocks + (self.blocks - 1) // self.chunk_ratio


def parse_header(data: bytes) -> Header | None:
    """Read one of the headers (4096 bytes); None when it is not valid, as while it was being written."""
    signature, checksum, sequence_number, _, _, log_id, log_version, version, _, _ = HEADER.unpack_from(data)
    if signature != b"head" or version != 1 or log_version != 0 or checksum != checksum_of(data):
        return None
    return Header(sequence_number=sequence_number, log_id=UUID(bytes_le=log_id))


def parse_regions(data: bytes) -> dict[UUID, Range]:
    """Read the region table (64 KiB).

    Raises:
        DiskError: it is damaged, or requires a region that is not understood (``E_DISK_STRUCT``).
    """
    signature, checksum, count, _ = REGION_TABLE.unpack_from(data)
    _require("region table", "signature", signature, signature == b"regi", repr(b"regi"))
    _require("region table", "checksum", hex(checksum), checksum == checksum_of(data), hex(checksum_of(data)))
    _require("region table", "entry count", count, count <= MAX_ENTRIES, f"at most {MAX_ENTRIES}")
    regions: dict[UUID, Range] = {}
    for index in range(count):
        raw_id, offset, size, required = REGION.unpack_from(data, REGION_TABLE.size + index * REGION.size)
        region = UUID(bytes_le=raw_id)
        is_known = region in {BAT_REGION, METADATA_REGION}
        _require("region table", "region", region, is_known or not required & 1, "none that is required and unknown")
        _require("region table", "region", region, region not in regions, "each region once")
        regions[region] = Range(offset=offset, size=size)
    for region, name in ((BAT_REGION, "BAT"), (METADATA_REGION, "metadata")):
        _require("region table", "no region for the", name, region in regions, "one")
    return regions


def parse_metadata(data: bytes) -> dict[UUID, Range]:
    """Read the metadata table (64 KiB); offsets are from the beginning of its region.

    Raises:
        DiskError: it is damaged, or requires an item that is not understood (``E_DISK_STRUCT``).
    """
    signature, _, count = METADATA_TABLE.unpack_from(data)
    _require("metadata table", "signature", signature, signature == b"metadata", repr(b"metadata"))
    _require("metadata table", "entry count", count, count <= MAX_ENTRIES, f"at most {MAX_ENTRIES}")
    needed = {FILE_PARAMETERS: "file parameters", VIRTUAL_DISK_SIZE: "disk size", LOGICAL_SECTOR_SIZE: "sector size"}
    items: dict[UUID, Range] = {}
    for index in range(count):
        raw_id, offset, size, flags, _ = METADATA_ENTRY.unpack_from(
            data, METADATA_TABLE.size + index * METADATA_ENTRY.size
        )
        item = UUID(bytes_le=raw_id)
        is_known = item in needed or item in _HARMLESS_ITEMS
        _require("metadata table", "item", item, is_known or not flags & ITEM_REQUIRED, "none required and unknown")
        _require("metadata table", "item", item, item not in items, "each item once")
        items[item] = Range(offset=offset, size=size)
    for item, name in needed.items():
        _require("metadata table", "no item for the", name, item in items, "one")
    return items


def parse_geometry(parameters: bytes, disk_size: bytes, sector_size: bytes) -> Geometry:
    """Read the three metadata items that matter.

    Raises:
        DiskError: the disk needs another one (``E_DISK_PARENT``), is empty or too large (``E_DISK_SIZE``), or a size
            has no meaning (``E_DISK_STRUCT``).
    """
    block_bytes, flags = FILE_PARAMETERS_ITEM.unpack(parameters)
    (capacity_bytes,) = VIRTUAL_DISK_SIZE_ITEM.unpack(disk_size)
    (sector_bytes,) = LOGICAL_SECTOR_SIZE_ITEM.unpack(sector_size)
    if flags & HAS_PARENT:
        raise DiskError(
            "the VHDX is a differencing disk, expected a disk that stands alone",
            code="E_DISK_PARENT",
            hint="Merge the checkpoints and export the machine again.",
        )
    is_power = block_bytes.bit_count() == 1
    _require("metadata", "block size", block_bytes, is_power and MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES,
             f"a power of two from {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes")  # fmt: skip
    _require("metadata", "logical sector size", sector_bytes, sector_bytes in {512, 4096}, "512 or 4096")
    if not 0 < capacity_bytes <= MAX_CAPACITY_BYTES:
        raise DiskError(
            f"the VHDX metadata say {capacity_bytes} bytes, expected 1 to {MAX_CAPACITY_BYTES}", code="E_DISK_SIZE"
        )
    is_whole = capacity_bytes % sector_bytes == 0
    _require("metadata", "disk size", capacity_bytes, is_whole, f"a multiple of {sector_bytes}")
    return Geometry(capacity_bytes=capacity_bytes, block_bytes=block_bytes, sector_bytes=sector_bytes)


def checksum_of(data: bytes) -> int:
    """CRC-32C of a header or region table, its own checksum (bytes 4 to 8) taken as zero."""
    crc = 0xFFFF_FFFF
    for byte in data[:4] + bytes(4) + data[8:]:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF


def _crc_entry(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc


_CRC_TABLE: Final = tuple(map(_crc_entry, range(256)))


def _require(part: str, field: str, found: object, is_met: bool, expected: str) -> None:  # noqa: FBT001 - a claim
    if not is_met:
        raise DiskError(f"VHDX {part}: found {field} {found}, expected {expected}", code="E_DISK_STRUCT")
