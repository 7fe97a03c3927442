"""Copies the compressed grains of a stream-optimized VMDK into a qcow2 without inflating them.

To a file, the run of grains is shared with the package where the file system can (ioctl_ficlonerange(2)); what is
hashed is then read from the new image, whose blocks nobody else can change. Elsewhere it is copied, and hashed on the
way.

Every grain's marker is looked at as it passes. A grain that QEMU could not read in its new place is expanded into a
plain cluster: a zlib stream with a preset dictionary, or the guest's last grain when it is a partial one (QEMU wants a
whole cluster of output).
"""

from __future__ import annotations

import fcntl
import os
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from virt_ova.disk.base import DiskFormat, DiskReader, Sink
from virt_ova.disk.pump import PIECE_BYTES, Hasher, Piece, Run, Span, pump, read_spans, spans_between
from virt_ova.disk.qcow2.transplant import FILE_BLOCK_BYTES, MAX_EXPANDED, TransplantLayout
from virt_ova.disk.vmdk.grains import check_marker
from virt_ova.disk.vmdk.layout import GRAIN_MARKER
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.text import printable

_FICLONERANGE: Final = 0x4020940D
_CLONE_RANGE: Final = struct.Struct("=qQQQ")
"""src_fd, src_offset, src_length, dest_offset of ``struct file_clone_range``."""

_LOOK_BYTES: Final = GRAIN_MARKER.size + 2
"""A grain's marker and the header of its zlib stream (RFC 1950)."""

_DEFLATE: Final = 8
_DICTIONARY_FLAG: Final = 0x20


class TooManyExpandedError(DiskError):
    """The disk is better expanded as a whole; what was written so far is of no use."""


def can_transplant(reader: DiskReader) -> bool:
    """Whether the disk's blocks can be taken as they are."""
    return reader.format is DiskFormat.VMDK_STREAM and reader.block_map.block_bytes >= FILE_BLOCK_BYTES


def transplant_disk(
    member: Member,
    reader: DiskReader,
    layout: TransplantLayout,
    sink: Sink,
    *,
    hasher: Hasher | None = None,
    advance: Callable[[int], None] = lambda _: None,
    threads: int = 2,
) -> None:
    """Write the disk that `reader` finds in `member` to `sink`, its blocks still compressed, and make it durable.

    Args:
        member: where the image lies.
        reader: one that `can_transplant`.
        layout: of the new image.
        sink: takes the new image.
        hasher: is fed every byte of the member, in order; None when the digest is not asked for.
        advance: is told of every so many bytes of the member done, in this thread.
        threads: how many write.

    Raises:
        DiskError: a grain is damaged (``E_DISK_GRAIN``).
        TooManyExpandedError: too many grains cannot be taken (``E_DISK_TRANSPLANT``).
        SourceError: the member cannot be read.
        TargetError: the sink cannot be written.
    """
    work = _Transplant(member, reader, layout, sink)
    if sink.in_order:
        work.look_ahead()
        work.write_metadata()
    is_shared = work.share()
    if hasher or not is_shared:
        work.carry(hasher, advance, threads, is_shared=is_shared)
    work.write_expanded()
    if not sink.in_order:
        work.write_metadata()
    sink.finish(layout.size_bytes(work.expanded_count))


class _Transplant:
    """One run of `transplant_disk`."""

    def __init__(self, member: Member, reader: DiskReader, layout: TransplantLayout, sink: Sink) -> None:
        self._member, self._reader, self._layout, self._sink = member, reader, layout, sink
        self._map = reader.block_map
        self._expanded: dict[int, int] = {}
        self._is_fixed = False
        self._ahead: dict[int, bytes] = {}
        last = self._map.capacity_bytes // self._map.block_bytes
        if self._map.capacity_bytes % self._map.block_bytes and last in self._map.numbers:
            self._expand(self._map.numbers.index(last))

    @property
    def expanded_count(self) -> int:
        """Grains that became plain clusters."""
        return len(self._expanded)

    def look_ahead(self) -> None:
        """Look at all grains of a local package now, because metadata is about to be written."""
        if self._member.source.fileno() is not None:
            for ordinal, offset in enumerate(self._map.offsets):
                self._look(self._member.read_at(offset, _LOOK_BYTES), ordinal)
        self._ahead = {ordinal: self._stored(ordinal, self._member.read_at) for ordinal in self._expanded}
        self._is_fixed = True

    def share(self) -> bool:
        """Let the image share the run's blocks with the package; says whether that worked."""
        source, target = self._member.source.fileno(), self._sink.fileno()
        if source is None or target is None or not self._map.offsets:
            return False
        start = self._member.offset + self._layout.run_start
        phase = start % FILE_BLOCK_BYTES
        length = -(-(phase + self._layout.run_bytes) // FILE_BLOCK_BYTES) * FILE_BLOCK_BYTES
        if start - phase + length > os.fstat(source).st_size:
            length = 0  # to the end of the file, which need not end with a block
        request = _CLONE_RANGE.pack(source, start - phase, length, self._layout.run_offset - phase)
        try:
            fcntl.ioctl(target, _FICLONERANGE, request)
        except OSError:
            return False
        return True

    def carry(self, hasher: Hasher | None, advance: Callable[[int], None], threads: int, *, is_shared: bool) -> None:
        """Read the member, or only the run when nothing is hashed; look at its grains; write it unless it is shared."""

        def place(piece: Piece) -> list[Run]:
            for ordinal in piece.ordinals:
                start = self._map.offsets[ordinal] - piece.offset
                self._look(piece.data[start : start + _LOOK_BYTES], ordinal)
            in_run = 0 <= piece.offset - self._layout.run_start < self._layout.run_bytes
            return [Run(self._shifted(piece.offset), [piece.data])] if in_run and not is_shared else []

        spans = self._spans(every_byte=hasher is not None)
        pump(
            read_spans(spans, self._read_image if is_shared else self._member.read_at),
            self._sink,
            place=place,
            hasher=hasher,
            advance=advance,
            threads=threads,
        )

    def write_expanded(self) -> None:
        """Inflate the grains that could not be taken."""
        for ordinal, index in self._expanded.items():
            stored = self._ahead[ordinal] if self._is_fixed else self._stored(ordinal, self._read_image)
            blocks = self._reader.decode(memoryview(stored), self._map.offsets[ordinal], range(ordinal, ordinal + 1))
            self._sink.write_at(self._layout.expanded_offset(index), blocks)

    def write_metadata(self) -> None:
        """Write everything but the data."""
        for offset, data in self._layout.metadata(self._expanded):
            self._sink.write_at(offset, [data])

    def _spans(self, *, every_byte: bool) -> Iterator[Span]:
        """The run in spans that end on a block of the image's file, around it the rest of the member when asked."""
        start, end = self._layout.run_start, self._layout.run_start + self._layout.run_bytes
        if every_byte:
            yield from spans_between(0, start)
        while start < end:
            stop = min(end, start + PIECE_BYTES - self._shifted(start) % FILE_BLOCK_BYTES)
            offsets = self._map.offsets
            yield Span(
                offset=start, size=stop - start, ordinals=range(bisect_left(offsets, start), bisect_left(offsets, stop))
            )
            start = stop
        if every_byte:
            yield from spans_between(end, self._member.size)

    def _shifted(self, offset: int) -> int:
        """Where a byte of the run stands in the image."""
        return offset - self._layout.run_start + self._layout.run_offset

    def _stored(self, ordinal: int, read_at: Callable[[int, int], bytes]) -> bytes:
        """The stored bytes of a grain, and what follows them within the longest that a grain can be."""
        offset = self._map.offsets[ordinal]
        return read_at(
            offset, min(self._map.max_stored_bytes, self._layout.run_start + self._layout.run_bytes - offset)
        )

    def _read_image(self, offset: int, size: int) -> bytes:
        """The run as the image has it; the rest of the member from the package."""
        in_run = 0 <= offset - self._layout.run_start < self._layout.run_bytes
        target = self._sink.fileno()
        if target is None or not in_run:
            return self._member.read_at(offset, size)
        return os.pread(target, size, self._shifted(offset))

    def _look(self, data: bytes, ordinal: int) -> None:
        """Check a grain's marker, and note the grain when QEMU could not read its stream."""
        offset = self._map.offsets[ordinal]
        following = self._map.offsets[ordinal + 1] if ordinal + 1 < len(self._map) else self._member.size
        try:
            check_marker(data, self._map, ordinal, following - offset)
        except DiskError as exc:
            exc.at(printable(self._member.name))
            raise
        method, flags = data[GRAIN_MARKER.size : _LOOK_BYTES]
        if method & 0x0F != _DEFLATE or (method << 8 | flags) % 31 or flags & _DICTIONARY_FLAG:
            self._expand(ordinal)

    def _expand(self, ordinal: int) -> None:
        """Note that this grain becomes a plain cluster."""
        if ordinal in self._expanded:
            return
        if self._is_fixed or len(self._expanded) == MAX_EXPANDED:
            raise TooManyExpandedError(
                f"{len(self._expanded) + 1} grains cannot be taken as they are, "
                f"expected at most {len(self._expanded) if self._is_fixed else MAX_EXPANDED}",
                code="E_DISK_TRANSPLANT",
                where=self._member.name,
                hint="Use --disk-mode expand.",
            )
        self._expanded[ordinal] = len(self._expanded)
