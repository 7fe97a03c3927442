"""EFI variables in a file: whether it is what EDK II's firmware (OVMF) keeps in its flash. Pure.

Such a file is a firmware volume (UEFI PI 1.8, volume 3, 3.2.1) with a store of authenticated variables in it (EDK II,
``MdeModulePkg/Include/Guid/VariableFormat.h``), one after another up to the first that does not begin like one. It
comes from a package, so every length in it is checked before it is followed; other formats are known by name only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

MAX_BYTES: Final = 1 << 20
"""Longest file that is looked at; OVMF's have 128 KiB or 528 KiB."""

VOLUME_HEADER: Final = struct.Struct("<16s16sQ4sIHHHBB")
"""Zeros, file system, length, signature, attributes, length of header, checksum, extension, reserved, revision."""

STORE_HEADER: Final = struct.Struct("<16sIBB6x")
"""Kind, size, format, state."""

VARIABLE_HEADER: Final = struct.Struct("<HBxI28xII16s")
"""Mark, state, attributes; count, time and key of who may change it; bytes of name and data, vendor."""

VOLUME_KIND: Final = UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le
STORE_KIND: Final = UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
VARIABLE_MARK: Final = 0x55AA
VALID_STATES: Final = frozenset({0x3F, 0x3E})
"""Of a variable that counts: it was added, and perhaps was being replaced."""

GLOBAL_VENDOR: Final = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
"""Vendor of the variables that UEFI itself defines."""

_SIGNATURE: Final = b"_FVH"
_FORMATTED, _HEALTHY = 0x5A, 0xFE
_ALIGNMENT: Final = 4
_BOOT_ENTRY: Final = re.compile("Boot[0-9A-F]{4}")
_PLATFORM_KEY: Final = "PK"
_OTHERS: Final = (
    (0, b"MRVN", "they are in VMware's format, which no other firmware reads"),
    (257, b"ustar", "they are in VirtualBox's format (a tar), which no other firmware reads"),
    (0, b"QFI\xfb", "they are in a qcow2 image, expected them as they are"),
)
"""Where what stands in a file of another format, and what that is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VariableStore:
    """What a file holds of EFI variables.

    Attributes:
        size_bytes: its length.
        problem: why OVMF cannot use it, a sentence about "they"; empty when it can.
        boot_entries: how many entries its boot menu has.
        has_platform_key: whether it says which loaders secure boot lets start.
    """

    size_bytes: int
    problem: str = ""
    boot_entries: int = 0
    has_platform_key: bool = False


class _DamagedError(Exception):
    """Why a store cannot be used."""


def examine(data: bytes) -> VariableStore:
    """What a file with the bytes `data` is; of `MAX_BYTES` at most."""
    try:
        start, end = _variables_in(data)
        names = {name for name, vendor in _variables(data, start, end) if vendor == GLOBAL_VENDOR}
    except _DamagedError as exc:
        return VariableStore(size_bytes=len(data), problem=str(exc))
    return VariableStore(
        size_bytes=len(data),
        boot_entries=sum(_BOOT_ENTRY.fullmatch(name) is not None for name in names),
        has_platform_key=_PLATFORM_KEY in names,
    )


def _variables_in(data: bytes) -> tuple[int, int]:
    """Where the variables begin, and where they end at the latest. Raises `_DamagedError`."""
    for offset, magic, problem in _OTHERS:
        if data[offset:].startswith(magic):
            raise _DamagedError(problem)
    if len(data) < VOLUME_HEADER.size:
        raise _DamagedError(f"their file has {len(data)} bytes, too few for what OVMF keeps")
    zeros, kind, length, signature, _, header_bytes, *_ = VOLUME_HEADER.unpack_from(data)
    if any(zeros) or signature != _SIGNATURE or kind != VOLUME_KIND:
        raise _DamagedError("their file is of no format that is known here, expected what OVMF keeps (EDK II's)")
    if length != len(data):
        raise _DamagedError(f"they are damaged: their file has {len(data)} bytes, and says {length}")
    start = header_bytes + STORE_HEADER.size
    if header_bytes < VOLUME_HEADER.size or header_bytes % 2 or start > len(data):
        raise _DamagedError(f"they are damaged: they have a header of {header_bytes} bytes")
    if sum(struct.unpack_from(f"<{header_bytes // 2}H", data)) & 0xFFFF:
        raise _DamagedError("they are damaged: the checksum of their header is wrong")
    store_kind, size, form, state = STORE_HEADER.unpack_from(data, header_bytes)
    if store_kind != STORE_KIND or (form, state) != (_FORMATTED, _HEALTHY):
        raise _DamagedError("their file holds no authenticated variables, which is what OVMF keeps")
    end = header_bytes + size
    if not start <= end <= len(data):
        raise _DamagedError(f"they are damaged: they have {size} bytes in a file of {len(data)}")
    return start, end


def _variables(data: bytes, start: int, end: int) -> Iterator[tuple[str, bytes]]:
    """Name and vendor of every variable that counts. Raises `_DamagedError`."""
    place = start
    while place + VARIABLE_HEADER.size <= end:
        mark, state, _, name_bytes, data_bytes, vendor = VARIABLE_HEADER.unpack_from(data, place)
        if mark != VARIABLE_MARK:
            return
        name_at = place + VARIABLE_HEADER.size
        after = name_at + name_bytes + data_bytes
        if after > end:
            raise _DamagedError(f"they are damaged: the variable at byte {place} goes beyond their end")
        if state in VALID_STATES:
            yield data[name_at : name_at + name_bytes].decode("utf-16-le", "replace").rstrip("\0"), vendor
        place = after + -after % _ALIGNMENT
