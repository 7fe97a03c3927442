"""Byte layout of a VDI, in the words of VirtualBox's ``VDICore.h`` (version 1.1).

The header names the block map; each of its entries names a block by its place among the blocks, or says that it is
free (never written) or zero. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from virt_ova.disk.plain import BLOCK_BYTES, MAX_CAPACITY_BYTES, MAX_STORED_BLOCK_BYTES
from virt_ova.errors import DiskError
from virt_ova.units import SECTOR_BYTES

HEADER: Final = struct.Struct("<64sIIIII256sIIIIII4xQIIII16s16s16s16s56x")
"""Text, signature, version, header size, image type, image flags, comment, offset of the block map and of the data,
cylinders, heads, sectors, sector size, disk size, block size, extra bytes of a block, blocks, allocated blocks, and the
ids of image, last modification, linked image and parent."""

SIGNATURE: Final = 0xBEDA_107F
VERSION: Final = 0x0001_0001
TYPE_NORMAL: Final = 1
TYPE_FIXED: Final = 2
TYPE_UNDO: Final = 3
TYPE_DIFF: Final = 4

BLOCK_FREE: Final = 0xFFFF_FFFF
BLOCK_ZERO: Final = 0xFFFF_FFFE
_NO_ID: Final = bytes(16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """VDIHEADER1. Offsets and sizes are in bytes."""

    map_offset: int
    data_offset: int
    capacity_bytes: int
    block_bytes: int
    blocks: int


def parse_header(data: bytes) -> Header:
    """Read a header (512 bytes) and refuse what this reader does not understand.

    A size that is no multiple of 512 is rounded up, as QEMU does; VirtualBox can write such disks.

    Raises:
        DiskError: a field has no meaning here (``E_DISK_STRUCT``), the image needs another one (``E_DISK_PARENT``), or
            the disk is empty or too large (``E_DISK_SIZE``).
    """
    (_, signature, version, _, image_type, _, _, map_offset, data_offset, _, _, _, sector_bytes, disk_bytes,
     block_bytes, extra_bytes, blocks, _, _, _, link_id, parent_id) = HEADER.unpack(data)  # fmt: skip
    _require("signature", hex(signature), signature == SIGNATURE, hex(SIGNATURE))
    _require("version", hex(version), version == VERSION, hex(VERSION))
    if image_type in {TYPE_UNDO, TYPE_DIFF} or link_id != _NO_ID or parent_id != _NO_ID:
        raise DiskError(
            "the VDI holds the changes to another image, expected a disk that stands alone",
            code="E_DISK_PARENT",
            hint="Merge the snapshots and export the machine again.",
        )
    _require("image type", image_type, image_type in {TYPE_NORMAL, TYPE_FIXED}, "1 (normal) or 2 (fixed)")
    _require("sector size", sector_bytes, sector_bytes in {0, SECTOR_BYTES}, str(SECTOR_BYTES))
    is_power = block_bytes.bit_count() == 1
    _require("block size", block_bytes, is_power and BLOCK_BYTES <= block_bytes <= MAX_STORED_BLOCK_BYTES,
             f"a power of two from {BLOCK_BYTES} to {MAX_STORED_BLOCK_BYTES} bytes")  # fmt: skip
    _require("extra bytes of a block", extra_bytes, extra_bytes == 0, "0")
    if not 0 < disk_bytes <= MAX_CAPACITY_BYTES:
        raise DiskError(
            f"the VDI header says {disk_bytes} bytes, expected 1 to {MAX_CAPACITY_BYTES}", code="E_DISK_SIZE"
        )
    needed = -(-disk_bytes // block_bytes)
    _require("block count", blocks, blocks >= needed, f"{needed} for a disk of {disk_bytes} bytes")
    return Header(
        map_offset=map_offset,
        data_offset=data_offset,
        capacity_bytes=-(-disk_bytes // SECTOR_BYTES) * SECTOR_BYTES,
        block_bytes=block_bytes,
        blocks=needed,
    )


def _require(field: str, found: object, is_met: bool, expected: str) -> None:  # noqa: FBT001 - a claim, read aloud
    if not is_met:
        raise DiskError(f"VDI header: found {field} {found}, expected {expected}", code="E_DISK_STRUCT")
