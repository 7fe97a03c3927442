"""Copies a disk that can only be read from front to back: out of a pipe, or out of a decompressor.

How many blocks there are, and which, is only known at the end. So a qcow2 is written with its data first and its
metadata behind, header last, which needs a target that can be written in places; a raw image needs that only when the
blocks do not come in the guest's order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from virt_ova.disk.base import BlockMap, Buffer, DiskFormat, DiskWriter, Sink
from virt_ova.disk.copy import join_blocks
from virt_ova.disk.probe import HEAD_BYTES, TAIL_BYTES, judge
from virt_ova.disk.pump import Hasher, Piece, Run, pump
from virt_ova.disk.raw import cut_raw, raw_block_map
from virt_ova.disk.vmdk.forward import ForwardVmdk
from virt_ova.errors import DiskError
from virt_ova.source.base import ForwardReader, truncated
from virt_ova.text import printable

_RAW_PIECE_BYTES: Final = 1 << 20


class ForwardDisk(Protocol):
    """A disk that is read once."""

    @property
    def block_map(self) -> BlockMap:
        """The blocks so far."""

    def pieces(self) -> Iterator[Piece]:
        """Every byte of the member, in pieces of whole blocks."""

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""

    def finish(self) -> None:
        """All was read: raise `DiskError` when it was not the whole disk."""


def open_forward(source: ForwardReader, *, size_bytes: int) -> ForwardDisk:
    """Read the head of a disk and choose how to read the rest.

    Args:
        source: the member, at its first byte.
        size_bytes: length that a raw disk must have; other formats tell their own.

    Raises:
        DiskError: the image is unsafe, or of a kind that must be read in places (``E_DISK_FORWARD``).
        SourceError: the source cannot be read.
    """
    name = printable(source.name)
    head = source.read(HEAD_BYTES)
    match disk_format := judge(head, b"", where=name):
        case DiskFormat.VMDK_STREAM:
            return ForwardVmdk(source, head)
        case DiskFormat.RAW | DiskFormat.ISO:
            return ForwardRaw(source, head, size_bytes=size_bytes)
        case _:
            raise _not_forward(disk_format, name)


def _not_forward(disk_format: DiskFormat, where: str) -> DiskError:
    return DiskError(
        f"found a {disk_format} disk, expected one that can be read from front to back (vmdk-stream, raw, iso)",
        code="E_DISK_FORWARD",
        where=where,
        hint="Save the package to a file and install from there.",
    )


def _no_order(what: str, instead: str) -> DiskError:
    return DiskError(
        f"{what} from a pipe cannot be written in order, expected {instead}",
        code="E_DISK_ORDER",
        hint="Save the package to a file and install from there, or use --format raw.",
    )


def copy_forward(
    disk: ForwardDisk,
    sink: Sink,
    *,
    writer: Callable[[BlockMap], DiskWriter],
    hasher: Hasher | None = None,
    advance: Callable[[int], None] = lambda _: None,
    threads: int | None = None,
) -> None:
    """Write `disk` to `sink`, and make it durable.

    Args:
        disk: at its first byte.
        sink: takes the new image.
        writer: makes the layout from the blocks, once all are known; a qcow2 one has its data first.
        hasher: is fed every byte of the member, in order; None when the digest is not asked for.
        advance: is told of every so many bytes of the member done, in this thread.
        threads: how many decode; the processors of this process when None.

    Raises:
        DiskError: the image is damaged, or cannot be written in order (``E_DISK_ORDER``).
        SourceError: the source ends early, or cannot be read.
        TargetError: the sink cannot be written.
    """
    layout, zeros = writer(disk.block_map), bytearray()
    if sink.in_order and layout.maps_blocks:
        raise _no_order("a qcow2 image", "a file")

    def admitted() -> Iterator[Piece]:
        """The pieces, with room for what will be known of their blocks."""
        last = -1
        for piece in disk.pieces():
            zeros.extend(bytes(len(piece.ordinals)))
            for ordinal in piece.ordinals if sink.in_order else ():
                last, before = disk.block_map.numbers[ordinal], last
                if last < before:
                    raise _no_order("a disk whose blocks are out of order", "qcow2 to a file")
            yield piece

    def place(piece: Piece) -> list[Run]:
        blocks = disk.decode(memoryview(piece.data), piece.offset, piece.ordinals)
        return join_blocks(piece.ordinals, blocks, layout.offset_of, zeros)

    pump(admitted(), sink, place=place, hasher=hasher, advance=advance, threads=threads or len(os.sched_getaffinity(0)))
    disk.finish()
    layout = writer(disk.block_map)
    for offset, data in layout.metadata(zeros):
        sink.write_at(offset, [data])
    sink.finish(layout.size_bytes)


class ForwardRaw:
    """A raw disk, CD or floppy.

    Attributes:
        block_map: every block, in order.
    """

    def __init__(self, source: ForwardReader, head: bytes, *, size_bytes: int) -> None:
        """Stand behind `head`; `size_bytes` is the length that the disk must have."""
        self._source, self._head, self._size = source, head, size_bytes
        self._tail = b""
        self.block_map = raw_block_map(size_bytes)

    def pieces(self) -> Iterator[Piece]:
        """See `ForwardDisk.pieces`.

        Raises:
            SourceError: the source is shorter or longer than it should be (``E_SOURCE_TRUNCATED``, ``E_DISK_SIZE``).
        """
        block, position = self.block_map.block_bytes, 0
        data = self._head + self._source.read(_RAW_PIECE_BYTES - len(self._head))
        while data:
            start, position = position, position + len(data)
            if position > self._size:
                raise DiskError(
                    f"it goes on after {self._size} bytes, where it should end",
                    code="E_DISK_SIZE",
                    where=printable(self._source.name),
                )
            self._tail = (self._tail + data)[-TAIL_BYTES:]
            yield Piece(offset=start, data=data, ordinals=range(start // block, -(-position // block)))
            data = self._source.read(_RAW_PIECE_BYTES)
        if position < self._size:
            raise truncated(self._source.name, self._size, position)

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        return cut_raw(self.block_map, stored, offset, ordinals)

    def finish(self) -> None:
        """The end must not show another format."""
        name = printable(self._source.name)
        if (found := judge(self._head, self._tail, where=name)) is DiskFormat.VHD:
            raise _not_forward(found, name)
