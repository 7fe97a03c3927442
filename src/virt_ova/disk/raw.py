"""Raw images: a disk, CD or floppy byte for byte.

Reading, the guest's bytes are the member's bytes. Writing, blocks of zeros are left out, so that the file is sparse.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Final

from virt_ova.disk.base import BlockMap, Buffer, DiskFormat, is_zero
from virt_ova.source.base import Member
from virt_ova.units import SECTOR_BYTES

_BLOCK_BYTES: Final = 64 << 10


def raw_block_map(size_bytes: int) -> BlockMap:
    """The blocks of a raw image of `size_bytes`: every one is stored, in order."""
    count = -(-size_bytes // _BLOCK_BYTES)
    return BlockMap(
        capacity_bytes=-(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES,
        block_bytes=_BLOCK_BYTES,
        numbers=range(count),
        offsets=range(0, count * _BLOCK_BYTES, _BLOCK_BYTES),
        max_stored_bytes=_BLOCK_BYTES,
    )


def cut_raw(block_map: BlockMap, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
    """The blocks of `ordinals` in `stored`, which begins at byte `offset`; a last sector cut short ends with zeros."""
    blocks: list[Buffer] = []
    for ordinal in ordinals:
        start, size = block_map.offsets[ordinal] - offset, block_map.block_size(ordinal)
        block = stored[start : start + size]
        blocks.append(block if len(block) == size else bytes(block).ljust(size, b"\0"))
    return blocks


class RawReader:
    """A `virt_ova.disk.base.DiskReader` for raw disks, ISO images and floppies.

    A length that is no multiple of 512 is rounded up with zeros, as QEMU does.
    """

    def __init__(self, member: Member, *, disk_format: DiskFormat, size_bytes: int | None = None) -> None:
        """Read the first `size_bytes` of `member` (all of it when None) as the guest's disk."""
        self._member = member
        self._size = member.size if size_bytes is None else size_bytes
        self._format = disk_format

    @property
    def format(self) -> DiskFormat:
        """As told."""
        return self._format

    @cached_property
    def block_map(self) -> BlockMap:
        """Every block is stored, in order; which hold only zeros is found out by reading them."""
        return raw_block_map(self._size)

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        return cut_raw(self.block_map, stored[: max(0, self._size - offset)], offset, ordinals)

    def zero_ordinals(self) -> Iterator[int]:
        """Reads the whole image once: without a table there is no other way to know."""
        for ordinal, start in enumerate(self.block_map.offsets):
            if is_zero(self._member.read_at(start, min(_BLOCK_BYTES, self._size - start))):
                yield ordinal


class RawWriter:
    """A `virt_ova.disk.base.DiskWriter` for raw images."""

    def __init__(self, block_map: BlockMap) -> None:
        self._block_map = block_map

    @property
    def size_bytes(self) -> int:
        """The guest's capacity."""
        return self._block_map.capacity_bytes

    @property
    def maps_blocks(self) -> bool:
        """A raw image has no metadata."""
        return False

    @property
    def is_rising(self) -> bool:
        """Only when the member holds the blocks in the guest's order."""
        return all(before < after for before, after in pairwise(self._block_map.numbers))

    def offset_of(self, ordinal: int) -> int:
        """Where the guest sees it."""
        return self._block_map.numbers[ordinal] * self._block_map.block_bytes

    def metadata(self, is_zero: bytearray) -> Iterator[tuple[int, Buffer]]:  # noqa: ARG002 - a raw image has none
        """Nothing."""
        return iter(())
