"""Byte layout of a qcow2 image, in the words of QEMU's ``docs/interop/qcow2.txt``.

The image is a row of clusters. The header names the L1 table, whose entries name L2 tables, whose entries name the
clusters of the guest; a refcount table names refcount blocks that count the uses of each cluster of the file. Numbers
are big-endian, offsets are in bytes.
"""

from __future__ import annotations

import struct
from typing import Final

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
EXTENSION_END: Final = struct.pack(">II", 0, 0)
