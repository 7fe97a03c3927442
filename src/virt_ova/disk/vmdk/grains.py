"""Grains, from stored bytes to blocks.

In a stream-optimized extent a grain is a marker, a zlib stream and padding; in a monolithic one it is the block itself.
The marker repeats which grain it is and must agree with the block map.
"""

from __future__ import annotations

from itertools import pairwise

from virt_ova.disk.base import BlockMap, Buffer
from virt_ova.disk.vmdk.layout import GRAIN_MARKER
from virt_ova.errors import DiskError
from virt_ova.text import printable
from virt_ova.units import SECTOR_BYTES


def max_stored_bytes(grain_bytes: int) -> int:
    """Most bytes that a deflated grain may take, marker included: what does not shrink grows by a few bytes a block."""
    return GRAIN_MARKER.size + grain_bytes + grain_bytes // 16 + 64


def decode_grains(
    block_map: BlockMap, stored: memoryview, offset: int, ordinals: range, *, is_compressed: bool, where: str
) -> list[Buffer]:
    """See `virt_ova.disk.base.DiskReader.decode`.

    Raises:
        DiskError: a grain is damaged (``E_DISK_GRAIN``).
    """
    decode = _inflate if is_compressed else _slice
    blocks = []
    for ordinal in ordinals:
        start = block_map.offsets[ordinal] - offset
        end = len(stored)
        if ordinal + 1 < len(block_map):
            end = min(end, block_map.offsets[ordinal + 1] - offset)
        try:
            blocks.append(decode(stored[start:end], block_map, ordinal))
        except DiskError as exc:
            exc.at(printable(where))
            raise
    return blocks


def bad_grain(block_map: BlockMap, ordinal: int, found: str, expected: str) -> DiskError:
    """The error for a grain that is not as it should be."""
    return DiskError(
        f"grain {block_map.numbers[ordinal]} at byte {block_map.offsets[ordinal]} is damaged: {found}, "
        f"expected {expected}",
        code="E_DISK_GRAIN",
        hint="Copy or download the package again; if its checksums are right, its producer wrote a bad disk.",
    )


def check_marker(data: memoryview | bytes, block_map: BlockMap, ordinal: int, room: int) -> int:
    """The size of the zlib stream behind the marker that `data` begins with.

    Args:
        data: at least the marker.
        block_map: says which grain it should be.
        ordinal: of the grain.
        room: bytes up to the next thing in the member.

    Raises:
        DiskError: the marker names another grain, or a size that cannot be (``E_DISK_GRAIN``).
    """
    lba, size = GRAIN_MARKER.unpack_from(data)
    wanted = block_map.numbers[ordinal] * block_map.block_bytes // SECTOR_BYTES
    if lba != wanted:
        raise bad_grain(block_map, ordinal, f"its marker names sector {lba}", f"sector {wanted}")
    most = min(room, block_map.max_stored_bytes) - GRAIN_MARKER.size
    if not 0 < size <= most:
        raise bad_grain(block_map, ordinal, f"its marker claims {size} bytes", f"1 to {most}")
    return int(size)


def check_markers(block_map: BlockMap, stored: bytes, offset: int, ordinals: range, member_bytes: int) -> None:
    """As `check_marker`, for the grains of `ordinals`, which lie in the bytes `stored` of the member from `offset`."""
    grain_sectors = block_map.block_bytes // SECTOR_BYTES
    places = [*block_map.offsets[ordinals.start : ordinals.stop + 1], member_bytes]
    for ordinal, (place, following) in zip(ordinals, pairwise(places), strict=False):
        lba, size = GRAIN_MARKER.unpack_from(stored, place - offset)
        room = min(following - place, block_map.max_stored_bytes) - GRAIN_MARKER.size
        if lba != block_map.numbers[ordinal] * grain_sectors or not 0 < size <= room:
            check_marker(memoryview(stored)[place - offset :], block_map, ordinal, following - place)


def _slice(stored: memoryview, block_map: BlockMap, ordinal: int) -> Buffer:
    size = block_map.block_size(ordinal)
    if len(stored) < size:
        raise bad_grain(block_map, ordinal, f"it ends after {len(stored)} bytes", f"{size}")
    return stored[:size]


def _inflate(stored: memoryview, block_map: BlockMap, ordinal: int) -> Buffer:
    from deflate import DeflateError, zlib_decompress  # noqa: PLC0415 - loaded by the first grain, not by --help

    size = block_map.block_size(ordinal)
    data_bytes = check_marker(stored, block_map, ordinal, len(stored))
    data = stored[GRAIN_MARKER.size : GRAIN_MARKER.size + data_bytes]
    try:
        block = zlib_decompress(data, block_map.block_bytes)
    except DeflateError as exc:
        expected = f"at most {block_map.block_bytes} bytes"
        raise bad_grain(block_map, ordinal, "its zlib stream is damaged", expected) from exc
    if len(block) < size:
        raise bad_grain(block_map, ordinal, f"it inflates to {len(block)} bytes", f"{size}")
    return block if len(block) == size else memoryview(block)[:size]
