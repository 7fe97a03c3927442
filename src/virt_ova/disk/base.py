"""The seams of the disk engine.

A disk image is a row of equal *blocks* (grains of a VMDK, clusters of a qcow2). A `DiskReader` knows which blocks hold
data, where their stored bytes lie in the package's member, and how to decode them. A `DiskWriter` knows where each
block goes in the new image and what metadata surrounds it. A `Sink` takes bytes at offsets: a local file at any offset
and from any thread, a stream in rising order only. `virt_ova.disk.copy` connects the three, and hashes the member on
the way.

Blocks are numbered twice. Its *number* says where a block stands in the guest's disk; its *ordinal* says that it is the
n-th stored block of the member, in order of offset. Work goes by ordinal, because that is the order in which a member
is read and hashed, and in which a stream is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

Buffer = bytes | bytearray | memoryview

MAX_BLOCK_BYTES: Final = 2 << 20
"""Largest block of any reader: the largest cluster of a qcow2, the usual block of a VHD."""

_ZEROS: Final = bytes(MAX_BLOCK_BYTES)


def is_zero(block: Buffer) -> bool:
    """Whether `block`, of `MAX_BLOCK_BYTES` at most, holds nothing but zeros; a memcmp for every kind of buffer."""
    return _ZEROS.startswith(block)


class DiskFormat(StrEnum):
    """Formats that are told apart; the value is the word in JSON."""

    VMDK_STREAM = "vmdk-stream"
    VMDK_SPARSE = "vmdk-sparse"
    QCOW2 = "qcow2"
    VHD = "vhd"
    VHDX = "vhdx"
    VDI = "vdi"
    ISO = "iso"
    RAW = "raw"


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockMap:
    """The stored blocks of a disk, by ordinal.

    Attributes:
        capacity_bytes: size of the guest's disk; a multiple of 512.
        block_bytes: size of a block once decoded, a power of two; the guest's last block may be shorter.
        numbers: block number of each stored block; distinct.
        offsets: byte offset of each in the member; strictly rising, but for blocks that are cut from one stored piece.
        max_stored_bytes: no stored block is longer.
    """

    capacity_bytes: int
    block_bytes: int
    numbers: Sequence[int]
    offsets: Sequence[int]
    max_stored_bytes: int

    def __len__(self) -> int:
        return len(self.numbers)

    def block_size(self, ordinal: int) -> int:
        """Decoded size of a block: `block_bytes`, less for the guest's last one."""
        return min(self.block_bytes, self.capacity_bytes - self.numbers[ordinal] * self.block_bytes)


class DiskReader(Protocol):
    """Reads one disk image that lies in a member."""

    @property
    def format(self) -> DiskFormat:
        """What it is."""

    @property
    def block_map(self) -> BlockMap:
        """Which blocks are stored, and where; read once, when the image was opened."""

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """The decoded blocks of `ordinals`, each of `BlockMap.block_size` bytes.

        Args:
            stored: bytes of the member from `offset`; every block of `ordinals` lies in it.
            offset: where in the member `stored` begins.
            ordinals: consecutive.

        Raises:
            DiskError: a block is damaged (``E_DISK_GRAIN``).
        """

    def zero_ordinals(self) -> Iterator[int]:
        """Ordinals of stored blocks that hold nothing but zeros and can be told cheaply, in rising order.

        Asked only when the target is a stream, where the layout must be known before the first data byte.
        """


class DeltaReader(DiskReader, Protocol):
    """Reads an image that holds only the difference to another disk: what is in neither list is as it is there."""

    @property
    def zeroed_numbers(self) -> Sequence[int]:
        """Numbers of the blocks that hold zeros, and are not stored."""


class DiskWriter(Protocol):
    """The layout of one new image: pure arithmetic, writes nothing itself."""

    @property
    def size_bytes(self) -> int:
        """Length of the image file."""

    @property
    def maps_blocks(self) -> bool:
        """Whether its metadata says which blocks hold data."""

    @property
    def is_rising(self) -> bool:
        """Whether offsets rise with ordinals, as a sink that takes bytes in order needs."""

    def offset_of(self, ordinal: int) -> int:
        """Byte offset in the image at which the block goes."""

    def metadata(self, is_zero: bytearray) -> Iterator[tuple[int, Buffer]]:
        """Everything but the blocks, as (offset, bytes) in rising order.

        Args:
            is_zero: one byte per ordinal; non-zero where the block is left out because it holds only zeros.
        """


class Sink(Protocol):
    """Takes the bytes of a new image."""

    @property
    def in_order(self) -> bool:
        """Whether offsets must rise from call to call, and calls come from one thread. Gaps read as zeros."""

    def fileno(self) -> int | None:
        """Descriptor of the local file behind it, to share blocks with another file and to read back; else None."""

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """Write `buffers` one after the other from `offset`.

        Raises:
            SpaceError: no room (``E_SPACE``).
            TargetError: the write failed (``E_IO``).
        """

    def finish(self, size_bytes: int) -> None:
        """All is written: set the length and make it durable. Raises as `write_at`."""
