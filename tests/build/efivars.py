"""EFI variables as OVMF keeps them: the host's fresh ones, with more in them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from virt_ova.plan.efivars import (
    GLOBAL_VENDOR,
    STORE_HEADER,
    STORE_KIND,
    VARIABLE_HEADER,
    VARIABLE_MARK,
    VOLUME_HEADER,
    VOLUME_KIND,
)

FRESH: Final = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
FRESH_2M: Final = Path("/usr/share/OVMF/OVMF_VARS.fd")
ENROLLED: Final = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")

_ADDED: Final = 0x3F
_KEPT: Final = 0x7
"""Not volatile, for the firmware and the system."""

_ACTIVE: Final = 1
_SECTOR_BYTES: Final = 512


def empty_store(size_bytes: int) -> bytes:
    """A firmware volume of `size_bytes` without variables, as EDK II makes it; OVMF's are of other sizes."""
    rest = struct.pack("<IIII", size_bytes // 4096, 4096, 0, 0)
    header_bytes = VOLUME_HEADER.size + len(rest)

    def header(checksum: int) -> bytes:
        numbers = (size_bytes, b"_FVH", 0x4FEFF, header_bytes, checksum, 0, 0, 2)
        return VOLUME_HEADER.pack(bytes(16), VOLUME_KIND, *numbers) + rest

    total = sum(struct.unpack(f"<{header_bytes // 2}H", header(0)))
    store = STORE_HEADER.pack(STORE_KIND, size_bytes - header_bytes, 0x5A, 0xFE)
    return (header(-total & 0xFFFF) + store).ljust(size_bytes, b"\xff")


def with_variables(store: bytes, variables: dict[str, bytes]) -> bytes:
    """`store`, which has none yet, with variables of UEFI's own."""
    added = b""
    for name, data in variables.items():
        words = f"{name}\0".encode("utf-16-le")
        header = VARIABLE_HEADER.pack(VARIABLE_MARK, _ADDED, _KEPT, len(words), len(data), GLOBAL_VENDOR)
        added += header + words + data
        added += b"\xff" * (-len(added) % 4)
    start = VOLUME_HEADER.unpack_from(store)[5] + STORE_HEADER.size
    assert store[start] == 0xFF
    return store[:start] + added + store[start + len(added) :]


def with_boot_entry(store: bytes, path: str, *, signature: bytes, start_mib: int, size_mib: int) -> bytes:
    """`store`, which has no variables yet, with a boot menu of one entry: the loader `path` in a first MBR partition.

    Args:
        store: fresh variables.
        path: of the loader (``\\EFI\\debian\\grubx64.efi``).
        signature: the disk's.
        start_mib: where the partition begins.
        size_mib: its size.
    """
    sectors = (mib * (1 << 20) // _SECTOR_BYTES for mib in (start_mib, size_mib))
    partition = struct.pack("<BBHIQQ16sBB", 4, 1, 42, 1, *sectors, signature.ljust(16, b"\0"), 1, 1)
    words = f"{path}\0".encode("utf-16-le")
    file = struct.pack("<BBH", 4, 4, 4 + len(words)) + words
    device = partition + file + b"\x7f\xff\x04\0"
    entry = struct.pack("<IH", _ACTIVE, len(device)) + "its own\0".encode("utf-16-le") + device
    return with_variables(store, {"Boot0000": entry, "BootOrder": struct.pack("<H", 0)})
