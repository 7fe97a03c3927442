"""Byte layout of a qcow2 image, in the words of QEMU's ``docs/interop/qcow2.txt``.

The image is a row of clusters. The header names the L1 table, whose entries name L2 tables, whose entries name the
clusters of the guest; a refcount table names refcount blocks that count the uses of each cluster of the file. Numbers
are big-endian, offsets are in bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from virt_ova.errors import DiskError
from virt_ova.units import SECTOR_BYTES

MAGIC: Final = b"QFI\xfb"
VERSION: Final = 3
HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQQQQII8x")
"""magic, version, backing_file_offset, backing_file_size, cluster_bits, size, crypt_method, l1_size, l1_table_offset,
refcount_table_offset, refcount_table_clusters, nb_snapshots, snapshots_offset, incompatible_features,
compatible_features, autoclear_features, refcount_order, header_length, compression_type and padding."""

HEADER_BYTES: Final = 112
REFCOUNT_ORDER: Final = 4
"""Refcounts of 1 << 4 bits."""

REFCOUNT_BYTES: Final = 2
ENTRY_BYTES: Final = 8
"""Of L1, L2 and refcount tables."""

COPIED: Final = 1 << 63
"""The cluster is used exactly once and may be written in place."""

COMPRESSED: Final = 1 << 62

MIN_CLUSTER_BYTES: Final = 512
MAX_CLUSTER_BYTES: Final = 2 << 20
EXTENSION: Final = struct.Struct(">II")
"""type, length; the data follow, padded to a multiple of 8."""

EXTENSION_END: Final = EXTENSION.pack(0, 0)
BACKING_FORMAT_EXTENSION: Final = 0xE2792ACA
MAX_BACKING_NAME_BYTES: Final = 1023

HEADER_BYTES_V2: Final = 72
MIN_HEADER_BYTES_V3: Final = 104
COMPRESSION_TYPE_END: Final = 105
"""A header that is shorter has no compression type: zlib."""

DIRTY_BIT: Final = 1 << 0
CORRUPT_BIT: Final = 1 << 1
DATA_FILE_BIT: Final = 1 << 2
COMPRESSION_TYPE_BIT: Final = 1 << 3
EXTENDED_L2_BIT: Final = 1 << 4
COMPRESSION_ZLIB: Final = 0
COMPRESSION_ZSTD: Final = 1

TABLE_OFFSET_MASK: Final = 0x00FF_FFFF_FFFF_FE00
"""Of an L1 entry, and of the L2 entry of a standard cluster."""

ALL_ZEROS: Final = 1 << 0
"""The L2 entry of a version 3 image says that the cluster reads as zeros, allocated or not."""

MAX_CAPACITY_BYTES: Final = 64 << 40
MAX_L1_BYTES: Final = 4 << 20
"""Enough for 64 TiB in clusters of 64 KiB; QEMU allows 32 MiB."""

_EXPORT_AGAIN: Final = "Convert it to a plain qcow2 where it was made, and pack it again."


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a reader needs of a header. Offsets and sizes are in bytes."""

    version: int
    cluster_bytes: int
    capacity_bytes: int
    l1_offset: int
    l1_entries: int
    compression: int

    @property
    def l2_entries(self) -> int:
        """Clusters that one L2 table maps."""
        return self.cluster_bytes // ENTRY_BYTES

    @property
    def compressed_offset_bits(self) -> int:
        """Bits of the offset in the L2 entry of a compressed cluster; the number of further sectors stands above."""
        return 62 - (self.cluster_bytes.bit_length() - 1 - 8)


def parse_header(data: bytes) -> Header:
    """Read a header (112 bytes, zero-padded) and refuse what this reader does not understand.

    Raises:
        DiskError: it names another file (``E_DISK_BACKING``), has a feature that is not read (``E_DISK_FEATURE``), a
            field without meaning (``E_DISK_STRUCT``), or the disk is empty or too large (``E_DISK_SIZE``).
    """
    (magic, version, backing_offset, backing_size, cluster_bits, capacity, crypt, l1_entries, l1_offset, _, _,
     snapshots, _, incompatible, _, _, _, header_bytes) = HEADER.unpack(data)  # fmt: skip
    _require("magic number", magic, is_met=magic == MAGIC, expected=repr(MAGIC))
    _refuse("version", version, is_met=version in {2, 3}, expected="2 or 3")
    if version < VERSION:
        incompatible, header_bytes = 0, HEADER_BYTES_V2
    if backing_offset or backing_size:
        raise DiskError(
            "the qcow2 names a backing file, expected an image that stands alone",
            code="E_DISK_BACKING",
            hint=_EXPORT_AGAIN,
        )
    _check_features(incompatible, crypt, snapshots)
    compression = data[COMPRESSION_TYPE_END - 1] if header_bytes >= COMPRESSION_TYPE_END else COMPRESSION_ZLIB
    _refuse(
        "compression type",
        compression,
        is_met=compression in {COMPRESSION_ZLIB, COMPRESSION_ZSTD},
        expected="0 (zlib) or 1 (zstd)",
    )
    return _checked(
        Header(
            version=version,
            cluster_bytes=1 << min(cluster_bits, 32),
            capacity_bytes=capacity,
            l1_offset=l1_offset,
            l1_entries=l1_entries,
            compression=compression,
        ),
        header_bytes,
        has_compression_bit=bool(incompatible & COMPRESSION_TYPE_BIT),
    )


def _check_features(incompatible: int, crypt: int, snapshots: int) -> None:
    refused = (
        (CORRUPT_BIT, "the mark of a corrupt image"),
        (DATA_FILE_BIT, "an external data file"),
        (EXTENDED_L2_BIT, "extended L2 entries"),
    )
    for bit, name in refused:
        _refuse("incompatible feature", name, is_met=not incompatible & bit, expected="an image without it")
    unknown = incompatible & ~(DIRTY_BIT | COMPRESSION_TYPE_BIT)
    _refuse("incompatible features", hex(unknown), is_met=not unknown, expected="none that is unknown")
    _refuse("encryption method", crypt, is_met=crypt == 0, expected="0 (none)")
    _refuse("internal snapshots", snapshots, is_met=snapshots == 0, expected="none")


def _checked(header: Header, header_bytes: int, *, has_compression_bit: bool) -> Header:
    is_met = header_bytes == HEADER_BYTES_V2 or (header_bytes >= MIN_HEADER_BYTES_V3 and header_bytes % 8 == 0)
    _require("header length", header_bytes, is_met=is_met, expected=f"a multiple of 8 from {MIN_HEADER_BYTES_V3}")
    is_met = MIN_CLUSTER_BYTES <= header.cluster_bytes <= MAX_CLUSTER_BYTES
    _require("cluster size", header.cluster_bytes, is_met=is_met, expected="512 bytes to 2 MiB")
    is_met = has_compression_bit == (header.compression != COMPRESSION_ZLIB)
    _require("compression type", header.compression, is_met=is_met, expected="one that the feature bits announce")
    if not 0 < header.capacity_bytes <= MAX_CAPACITY_BYTES or header.capacity_bytes % SECTOR_BYTES:
        raise DiskError(
            f"the qcow2 header says {header.capacity_bytes} bytes, "
            f"expected a multiple of {SECTOR_BYTES} up to {MAX_CAPACITY_BYTES}",
            code="E_DISK_SIZE",
        )
    needed = -(-header.capacity_bytes // (header.cluster_bytes * header.l2_entries))
    _require("L1 entries", header.l1_entries, is_met=header.l1_entries >= needed, expected=f"at least {needed}")
    if needed * ENTRY_BYTES > MAX_L1_BYTES:
        raise DiskError(
            f"the qcow2 needs an L1 table of {needed * ENTRY_BYTES} bytes, expected at most {MAX_L1_BYTES}",
            code="E_DISK_LIMIT",
            hint="Convert it to a qcow2 with larger clusters where it was made, and pack it again.",
        )
    return header


def _refuse(field: str, found: object, *, is_met: bool, expected: str) -> None:
    if not is_met:
        raise DiskError(
            f"qcow2 header: found {field} {found}, expected {expected}", code="E_DISK_FEATURE", hint=_EXPORT_AGAIN
        )


def _require(field: str, found: object, *, is_met: bool, expected: str) -> None:
    if not is_met:
        raise DiskError(f"qcow2 header: found {field} {found}, expected {expected}", code="E_DISK_STRUCT")
