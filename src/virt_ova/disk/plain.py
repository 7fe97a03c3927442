"""Images that keep the guest's blocks as they are: VHD, VDI and VHDX.

The three differ in their headers only. Each has a table from block number to place, and large blocks (1 MiB and more)
that are stored neither compressed nor in order. Here the table is read piece by piece, every place is checked, and the
blocks are cut into small ones, so that a new image allocates no more than the guest's data needs.

A table may claim far more than its file holds. What is kept in memory grows with the blocks that really lie in the
file: one place given to two blocks is refused (``E_DISK_OVERLAP``), as soon as there are more blocks than could fit.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, Literal

from virt_ova.disk.base import BlockMap, Buffer, DiskFormat
from virt_ova.errors import DiskError
from virt_ova.source.base import Member

BLOCK_BYTES: Final = 64 << 10
"""Size of the blocks that larger ones are cut into, QEMU's usual cluster."""

MAX_STORED_BLOCK_BYTES: Final = 256 << 20
"""Largest block of any of these formats (VHDX), before it is cut."""

MAX_CAPACITY_BYTES: Final = 64 << 40
"""64 TiB, the largest disk that any of the hypervisors takes."""

_CHUNK_BYTES: Final = 256 << 10


class BlockPlaces:
    """Collects where the blocks of one image lie, and checks each place."""

    def __init__(self, member: Member, *, capacity_bytes: int, block_bytes: int, first_byte: int) -> None:
        """Begin without blocks.

        Args:
            member: where the image lies.
            capacity_bytes: size of the guest's disk.
            block_bytes: size of a stored block, a power of two and at least `BLOCK_BYTES`.
            first_byte: no block lies before it.
        """
        self._member, self._first_byte = member, first_byte
        self._capacity, self._block_bytes = capacity_bytes, block_bytes
        self._numbers, self._offsets = array("I"), array("Q")

    def add(self, number: int, offset: int) -> None:
        """Block `number` lies at byte `offset`; the guest's last block may lack the bytes behind the disk's end.

        Raises:
            DiskError: it does not lie in the file (``E_DISK_STRUCT``), or not all of them can (``E_DISK_OVERLAP``).
        """
        size = self._size(number)
        if offset < self._first_byte or offset + size > self._member.size:
            raise DiskError(
                f"block {number} is said to lie at byte {offset}, "
                f"expected {size} bytes between byte {self._first_byte} and the end at byte {self._member.size}",
                code="E_DISK_STRUCT",
                hint="The disk is damaged or cut short: copy or download the package again.",
            )
        if len(self._numbers) > self._member.size // self._block_bytes:
            raise _overlap(f"more blocks of {self._block_bytes} bytes than {self._member.size} bytes can hold")
        self._numbers.append(number)
        self._offsets.append(offset)

    def block_map(self) -> BlockMap:
        """The blocks in the order of their places, cut into blocks of `BLOCK_BYTES`.

        Raises:
            DiskError: two of them share bytes (``E_DISK_OVERLAP``).
        """
        order = rising(self._offsets)
        if any(self._offsets[j] - self._offsets[i] < self._block_bytes for i, j in pairwise(order)):
            raise _overlap("two blocks that share bytes")
        numbers, offsets = array("I"), array("Q")
        for i in order:
            number, offset = self._numbers[i], self._offsets[i]
            pieces = range(-(-self._size(number) // BLOCK_BYTES))
            first = number * (self._block_bytes // BLOCK_BYTES)
            numbers.extend(range(first, first + len(pieces)))
            offsets.extend(range(offset, offset + len(pieces) * BLOCK_BYTES, BLOCK_BYTES))
        return BlockMap(
            capacity_bytes=self._capacity,
            block_bytes=BLOCK_BYTES,
            numbers=numbers,
            offsets=offsets,
            max_stored_bytes=BLOCK_BYTES,
        )

    def _size(self, number: int) -> int:
        """Bytes of a block that the guest can see."""
        return min(self._block_bytes, self._capacity - number * self._block_bytes)


class PlainReader:
    """A `virt_ova.disk.base.DiskReader` for blocks that are stored as they are."""

    def __init__(self, disk_format: DiskFormat, block_map: BlockMap) -> None:
        self._format = disk_format
        self._block_map = block_map

    @property
    def format(self) -> DiskFormat:
        """As told."""
        return self._format

    @property
    def block_map(self) -> BlockMap:
        """The blocks, in the order of their place in the member."""
        return self._block_map

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`; nothing can be damaged that a reader would notice."""
        starts = (self._block_map.offsets[ordinal] - offset for ordinal in ordinals)
        sizes = map(self._block_map.block_size, ordinals)
        return [stored[start : start + size] for start, size in zip(starts, sizes, strict=True)]

    def zero_ordinals(self) -> Iterator[int]:
        """None: only reading them would tell."""
        return iter(())


def read_table(
    member: Member, offset: int, count: int, *, typecode: Literal["I", "Q"], byteorder: str, unused: int
) -> Iterator[tuple[int, int]]:
    """The used entries of a block table, each with its index; in memory is only a piece of the table.

    Args:
        member: where the table lies.
        offset: of its first entry.
        count: how many entries it has.
        typecode: of `array.array`: 32 or 64 bits an entry.
        byteorder: ``little`` or ``big``.
        unused: the entry that is left out.

    Raises:
        DiskError: the table leaves the member (``E_DISK_STRUCT``).
    """
    entry_bytes = array(typecode).itemsize
    if offset + count * entry_bytes > member.size:
        raise DiskError(
            f"the block table is said to lie at byte {offset}, "
            f"expected {count * entry_bytes} bytes before the end at byte {member.size}",
            code="E_DISK_STRUCT",
            hint="The disk is damaged or cut short: copy or download the package again.",
        )
    step = _CHUNK_BYTES // entry_bytes
    all_unused = unused.to_bytes(entry_bytes, "little" if byteorder == "little" else "big") * step
    for first in range(0, count, step):
        chunk = member.read_at(offset + first * entry_bytes, min(step, count - first) * entry_bytes)
        if all_unused.startswith(chunk):
            continue
        entries = array(typecode, chunk)
        if byteorder != sys.byteorder:
            entries.byteswap()
        yield from ((index, entry) for index, entry in enumerate(entries, first) if entry != unused)


def rising(offsets: Sequence[int]) -> Sequence[int]:
    """Indices of `offsets` in the order of their values; they come so from writers that wrote in order."""
    if all(before < after for before, after in pairwise(offsets)):
        return range(len(offsets))
    return sorted(range(len(offsets)), key=offsets.__getitem__)


def _overlap(found: str) -> DiskError:
    return DiskError(
        f"found {found}, expected every block to have its own place",
        code="E_DISK_OVERLAP",
        hint="No writer makes such a disk; a small file that claims to be a huge disk does.",
    )
