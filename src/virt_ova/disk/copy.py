"""Copies a disk from its place in the package into a new image.

One pass over the member, front to back, in pieces of whole blocks that are small on both sides of the decoder, which
bounds memory whatever the disk claims to be.

To a file, the decoding threads also write, each block where it belongs, and the metadata comes last, when it is known
which blocks hold only zeros. To a stream, metadata comes first and the blocks follow in order.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator

from virt_ova.disk.base import BlockMap, Buffer, DiskReader, DiskWriter, Sink, is_zero
from virt_ova.disk.pump import PIECE_BYTES, Hasher, Piece, Run, Span, pump, read_spans, spans_between
from virt_ova.errors import DiskError, SourceError
from virt_ova.source.base import Member


def copy_disk(
    member: Member,
    reader: DiskReader,
    writer: DiskWriter,
    sink: Sink,
    *,
    hasher: Hasher | None = None,
    advance: Callable[[int], None] = lambda _: None,
    threads: int | None = None,
) -> None:
    """Write the disk that `reader` finds in `member` to `sink`, laid out by `writer`, and make it durable.

    Args:
        member: where the image lies.
        reader: knows its blocks.
        writer: knows their places in the new image.
        sink: takes the new image.
        hasher: is fed every byte of the member, in order; None when the digest is not asked for.
        advance: is told of every so many bytes of the member done, in this thread.
        threads: how many decode; the processors of this process when None.

    Raises:
        DiskError: the image is damaged, or cannot be written in order (``E_DISK_ORDER``).
        SourceError: the member cannot be read, or changed meanwhile (``E_CHANGED``).
        TargetError: the sink cannot be written.
    """
    copy = _Copy(member, reader, writer, sink)
    if sink.in_order:
        _check_rising(member, writer)
        copy.mark_zeros()
        copy.write_metadata()
    copy.run(hasher, advance, threads or len(os.sched_getaffinity(0)))
    if not sink.in_order:
        copy.write_metadata()
    sink.finish(writer.size_bytes)


def write_blank(writer: DiskWriter, sink: Sink) -> None:
    """Write a disk without a single stored block to `sink`, and make it durable. Raises `TargetError`."""
    for offset, data in writer.metadata(bytearray()):
        sink.write_at(offset, [data])
    sink.finish(writer.size_bytes)


class _Copy:
    """One run of `copy_disk`."""

    def __init__(self, member: Member, reader: DiskReader, writer: DiskWriter, sink: Sink) -> None:
        self._member, self._reader, self._writer, self._sink = member, reader, writer, sink
        self._is_zero = bytearray(len(reader.block_map))

    def mark_zeros(self) -> None:
        """Find blocks of zeros beforehand."""
        if self._writer.maps_blocks:
            for ordinal in self._reader.zero_ordinals():
                self._is_zero[ordinal] = 1

    def write_metadata(self) -> None:
        """Write everything but the blocks."""
        for offset, data in self._writer.metadata(self._is_zero):
            self._sink.write_at(offset, [data])

    def run(self, hasher: Hasher | None, advance: Callable[[int], None], threads: int) -> None:
        """Read, hash, decode and write every piece."""
        spans = cut(self._reader.block_map, self._member.size, every_byte=hasher is not None)
        pump(
            read_spans(spans, self._member.read_at),
            self._sink,
            place=self._place,
            hasher=hasher,
            advance=advance,
            threads=threads,
        )

    def _place(self, piece: Piece) -> list[Run]:
        """The blocks of a piece that hold data, decoded."""
        blocks = self._reader.decode(memoryview(piece.data), piece.offset, piece.ordinals)
        for ordinal, block in zip(piece.ordinals, blocks, strict=True):
            if self._is_zero[ordinal] and not is_zero(block):
                raise _changed(self._member)
        return join_blocks(piece.ordinals, blocks, self._writer.offset_of, self._is_zero)


def join_blocks(ordinals: range, blocks: list[Buffer], offset_of: Callable[[int], int], zeros: bytearray) -> list[Run]:
    """The blocks that hold data, joined where they follow each other in the image; marks the others in `zeros`."""
    runs: list[Run] = []
    end = -1
    for ordinal, block in zip(ordinals, blocks, strict=True):
        if is_zero(block):
            zeros[ordinal] = 1
            continue
        offset = offset_of(ordinal)
        if offset == end:
            runs[-1].buffers.append(block)
        else:
            runs.append(Run(offset, [block]))
        end = offset + len(block)
    return runs


def _check_rising(member: Member, writer: DiskWriter) -> None:
    if not writer.is_rising:
        raise DiskError(
            "its blocks are not stored in the guest's order, expected so for a raw image that is sent as a stream",
            code="E_DISK_ORDER",
            where=member.name,
            hint="Use --format qcow2, which can hold blocks in any order.",
        )


def _changed(member: Member) -> SourceError:
    return SourceError(
        "a block that held zeros now holds data, expected a file that nobody changes",
        code="E_CHANGED",
        where=member.name,
        hint="Another program is writing to the package; wait for it and install again.",
    )


def cut(block_map: BlockMap, member_bytes: int, *, every_byte: bool) -> Iterator[Span]:
    """The spans of a member, front to back.

    Args:
        block_map: the blocks; none of them is cut in two.
        member_bytes: size of the member.
        every_byte: whether the spans cover the whole member, as hashing needs, or only its blocks.
    """
    position = first = 0
    while first < len(block_map):
        span = _span(block_map, member_bytes, first)
        if every_byte:
            yield from spans_between(position, span.offset)
        yield span
        position, first = span.offset + span.size, span.ordinals.stop
    if every_byte:
        yield from spans_between(position, member_bytes)


def _span(block_map: BlockMap, member_bytes: int, first: int) -> Span:
    """The longest span that begins with block `first`."""
    offsets, longest = block_map.offsets, block_map.max_stored_bytes
    start = offsets[first]
    most = min(len(block_map), first + max(1, PIECE_BYTES // block_map.block_bytes))
    stop = max(first + 1, bisect_right(offsets, start + PIECE_BYTES - longest, first, most))
    stop = bisect_right(offsets, offsets[stop - 1], stop)
    end = min(offsets[stop - 1] + longest, member_bytes)
    if stop < len(block_map):
        end = min(end, offsets[stop])
    return Span(offset=start, size=end - start, ordinals=range(first, stop))
